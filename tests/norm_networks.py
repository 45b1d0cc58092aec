"""Small networks, samples and matrices written out, for the tests of what is measured of norms."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from prunecert.data import in_memory, take


def sample(inputs, labels=None):
    labels = np.zeros(len(inputs), np.int64) if labels is None else labels
    return take(in_memory((np.asarray(inputs, np.float32), labels)), "train", "bound")


def linear(*rows, bias=None):
    layer = nn.Linear(len(rows[0]), len(rows), bias=bias is not None)
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    if bias is not None:
        layer.bias.data = torch.tensor(bias, dtype=torch.float32)
    return layer


def randomised(net, seed):
    g = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=g)
            tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
    return net.eval()


def explicit(layer, shape):
    """The matrix of a layer without bias, one column per input."""
    size = math.prod(shape)
    columns = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    layer = layer.double()
    return (
        nn.functional.conv2d(
            columns, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
        )
        .flatten(1)
        .T.detach()
        .numpy()
    )
