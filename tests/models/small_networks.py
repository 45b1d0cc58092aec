"""Small networks in many spellings, shared by the tests of the layer view and of simplifying."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Net(nn.Module):
    """`forward(self, x)` given as a function; parts by keyword."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3)
    )


class FunctionalMlp(nn.Module):
    """Scaled input, functional spelling, `len(x)`; the hidden constant is sigmoid(b)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(12, 9), nn.Linear(9, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x / 255 * 0.0039 - 0.5
        x = torch.sigmoid(self.fc1(x.reshape(len(x), -1)))
        x = F.dropout(F.leaky_relu(self.fc2(x), 0.1), 0.5, training=self.training)
        return F.log_softmax(self.fc3(x), dim=1)


class CaffeLeNet(nn.Module):
    """No activation between convolution and pooling, `view(-1, K)`, statistics in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 1, 1, 1), 0.3))
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 3)
        self.fc1, self.fc2 = nn.Linear(8 * 2 * 2, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x - self.mean), 2)
        x = F.max_pool2d(self.conv2(x), 2, 2)
        return self.fc2(F.relu(self.fc1(x.view(-1, 8 * 2 * 2)), inplace=True))


def padded() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 6, 3, padding="same"), nn.GELU(),
        nn.AvgPool2d(2, padding=1), nn.Conv2d(6, 4, 1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def unpadded() -> nn.Module:
    """Every convolution and pool here keeps a constant constant."""
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, stride=2, dilation=2), nn.Tanh(), nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(5, 6, 3, padding=1, padding_mode="circular"), nn.Softplus(),
        nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(6, 4, 1), nn.Hardtanh(-0.5, 0.5),
        nn.AvgPool2d(2, padding=1, count_include_pad=False), nn.Flatten(1), nn.Linear(16, 3),
    )  # fmt: skip


def one_dimensional() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.AvgPool1d(2), nn.Conv1d(6, 5, 2),
        nn.SiLU(), nn.AdaptiveMaxPool1d(3), nn.Flatten(), nn.BatchNorm1d(15), nn.Linear(15, 3),
    )  # fmt: skip


def normalised_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(12, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 7, bias=False),
        nn.BatchNorm1d(7, affine=False), nn.ELU(), nn.Linear(7, 3),
    )  # fmt: skip


def normalised_convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 3),
        nn.MaxPool2d(2), nn.BatchNorm2d(5), nn.LeakyReLU(), nn.Flatten(), nn.Linear(20, 3),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.conv1, self.bn1 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.down, self.conv3 = nn.Conv2d(6, 8, 1, 2), nn.Conv2d(6, 8, 3, 2, padding=1)
        self.bn3, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x
        y = torch.relu(y)
        z = torch.add(self.bn3(self.conv3(y)), self.down(y)).relu_()
        return self.fc(z.mean((2, 3)))


class Gated(nn.Module):
    """Products join groups as sums do."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(12, 8), nn.Linear(12, 8)
        self.mid, self.out = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(x, 1)
        x = self.mid(self.value(x) * torch.sigmoid(self.gate(x)))
        return self.out(torch.mul(x, x.sigmoid()))


class TwoReaders(nn.Module):
    """One group read by two layers along different paths."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(12, 8), nn.Linear(8, 5), nn.Linear(8, 5)
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        return self.out(F.relu(self.left(1 - 2 * x) - self.right(x.tanh())))


class WrittenInPlace(nn.Module):
    """`kept` changes behind its name: `h += 1` writes into the tensor that it names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(12, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        kept = h
        h += 1.0
        return self.left(kept) + self.right(h.relu_())


class Attention(nn.Module):
    """A transformer block: only the hidden units of its feed-forward part may move."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm1, self.norm2 = nn.Linear(4, 8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.down, self.head = nn.Linear(8, 10), nn.Linear(10, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


class Tied(nn.Module):
    """`mid` runs twice, `out` shares its weight with `twin`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mid, self.last = nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.twin, self.out = nn.Linear(6, 6), nn.Linear(6, 6)
        self.out.weight = self.twin.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(F.relu(self.mid(F.relu(self.first(x.flatten(1))))))
        return self.out(F.relu(self.twin(F.relu(self.last(x)))))


class Grouped(nn.Module):
    """Grouped convolution, concatenation and group norm freeze; the rest still moves."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.depthwise = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=4)
        self.left, self.right, self.norm = (
            nn.Conv2d(4, 3, 1),
            nn.Conv2d(4, 3, 1),
            nn.GroupNorm(2, 6),
        )
        self.mix, self.fc = nn.Conv2d(6, 5, 1), nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.depthwise(self.conv1(x)))
        x = self.norm(torch.cat([self.left(x), self.right(x)], 1))
        x = F.adaptive_avg_pool2d(F.relu(self.mix(x)), 2)
        return self.fc(x.view(x.size(0), -1))


class Patches(nn.Module):
    """Cuts each image into four and puts it together again: `view(-1, K)` is not a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv(x.view(-1, 1, 4, 4))).view(-1, 64))


class HalfRows(nn.Module):
    """Two rows per sample between two views."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(1, 4, 3), nn.Linear(72, 5), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.fc1(F.relu(self.conv(x)).view(-1, 72)))
        return self.fc2(y.view(x.shape[0], -1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (12,)),
    "functional mlp": (FunctionalMlp, (3, 4)),
    "caffe lenet": (CaffeLeNet, (1, 14, 14)),
    "padded": (padded, (2, 8, 8)),
    "unpadded": (unpadded, (2, 19, 19)),
    "one-dimensional": (one_dimensional, (2, 14)),
    "normalised mlp": (normalised_mlp, (12,)),
    "normalised convolutions": (normalised_convolutions, (2, 8, 8)),
    "residual": (Residual, (2, 8, 8)),
    "gated": (Gated, (12,)),
    "two readers": (TwoReaders, (12,)),
    "written in place": (WrittenInPlace, (12,)),
    "attention": (Attention, (5, 4)),
    "tied": (Tied, (12,)),
    "grouped": (Grouped, (2, 8, 8)),
    "patches": (Patches, (1, 8, 8)),
    "half rows": (HalfRows, (1, 8, 8)),
}


def randomised(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """In float64 and evaluation mode, every parameter and statistic away from 0 and 1."""
    torch.manual_seed(seed)
    net = build().double().eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point() and name != "mean":
                tensor.normal_()
    return net
