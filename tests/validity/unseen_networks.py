"""Networks as other projects write them: none of their parts is known to the zoo."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune


class CaffeLeNet(nn.Module):
    """As in Caffe: no ReLU after the convolutions, bytes scaled in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.ip1, self.ip2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, img: Tensor) -> Tensor:
        x = F.max_pool2d(self.c1(img * 0.00390625), 2, 2)
        x = F.max_pool2d(self.c2(x), 2, 2).view(-1, 800)
        return self.ip2(F.relu(self.ip1(x)))


def published_lenet(seed: int = 0) -> CaffeLeNet:
    """Like a published pruned network: 1.2 % dense, 12 levels, most hidden units dead, biases."""
    rng = np.random.default_rng(seed)
    levels = np.array([*np.arange(-6, 0), *np.arange(1, 7)]) * 0.03125
    network = CaffeLeNet()
    for name, tensor in network.named_parameters():
        size, dense = tensor.numel(), 0.4 if tensor.numel() < 1000 else 0.012
        values = np.where(rng.random(size) < dense, rng.choice(levels[:3], size), 0.0)
        if tensor.dim() > 1:
            values = np.where(values != 0, rng.choice(levels, size), 0.0)
        tensor.data = torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape)
        if name == "ip1.weight":
            tensor.data[rng.permutation(500)[:240]] = 0  # constant units, some of them read
        if name == "ip2.weight":
            tensor.data[:, rng.permutation(500)[:200]] = 0  # unread units
    return network


class Scaled(nn.Module):
    """Standardises its inputs by buffers, which are paid like weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
        self.register_buffer("mean", torch.tensor(0.3))
        self.register_buffer("deviation", torch.tensor(0.37))

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x - self.mean) / self.deviation)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.inner, self.inner_norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.inner_norm(self.inner(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Grouped(nn.Module):
    """Grouped, depthwise and transposed convolutions, group norm, a part that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(4, 8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 1, groups=4)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.head, self.unused = nn.Linear(6, 10), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.a(x)))
        x = torch.relu(self.grouped(F.silu(self.depthwise(x))))
        return self.head(self.up(x).mean((2, 3)))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 12), nn.Linear(12, 12)
        self.again, self.head = nn.Linear(12, 12), nn.Linear(12, 10)
        self.again.weight = self.b.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x.flatten(1)))
        return self.head(F.relu(self.again(F.relu(self.b(x)))))


class Buffered(nn.Module):
    """Buffers of every kind: bytes, truth values, counts, empty, not persistent."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(64, 12), nn.Linear(12, 10)
        self.register_buffer("shift", torch.arange(-6, 6, dtype=torch.int8))
        self.register_buffer("keep", torch.tensor([True] * 11 + [False]))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("nothing", torch.zeros(0))
        self.register_buffer("scale", torch.full((), 0.01), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x.flatten(1))) + self.shift * self.scale
        return self.head(x * self.keep)


class Answering(nn.Linear):
    """Returns an object with `.logits`, as transformers do."""

    def forward(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=super().forward(x.flatten(1)), loss=None)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 10, batch_first=True), nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.flatten(1).view(-1, 8, 8))[0][:, -1])


class Attending(nn.Module):
    """A small transformer that takes its inputs as keywords."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(17, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(8, 10)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        hidden = self.encoder(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0)
        return SimpleNamespace(logits=self.head(hidden.mean(1)))


class Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5


def plain_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


def pruned() -> nn.Module:
    module = plain_mlp()
    prune.l1_unstructured(module[1], "weight", 0.8)
    return module


def parametrized() -> nn.Module:
    module = plain_mlp()
    parametrize.register_parametrization(module[1], "weight", Halved())
    return parametrizations.weight_norm(module[3]) and module


IMAGES = {
    "scaled": Scaled,
    "residual": Residual,
    "residual in half precision": lambda: Residual().half(),
    "grouped": Grouped,
    "tied": Tied,
    "buffered": Buffered,
    "answering": lambda: Answering(64, 10),
    "recurrent": Recurrent,
    "pruned": pruned,
    "parametrized": parametrized,
    "double": lambda: plain_mlp().double(),
    "bfloat16": lambda: plain_mlp().bfloat16(),
    "data parallel": lambda: nn.DataParallel(plain_mlp()),
}
