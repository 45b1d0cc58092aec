"""What a module computes, as a list of operations in one spelling.

`torch.fx` records the calls of `forward`; here `nn.ReLU()`, `F.relu(x)`, `torch.relu(x)` and
`x.relu_()` become one kind. Whatever is not recognised is "unknown": later stages freeze what
it touches. Nothing here depends on the values of weights or on data.
"""

from __future__ import annotations

import builtins
import copy
import inspect
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from prunecert.models.fixed_parts import FixedPart


class Untraceable(Exception):
    """`forward` cannot be written as a list of operations; the message says why."""


@dataclass(frozen=True)
class Operation:
    """One step of `forward`; `inputs` are names of earlier operations, in order of appearance."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    text: str  # how a reason names it: "LayerNorm blocks.0.norm", "cat"
    module: str = ""  # qualified name of the module called, where one is
    options: Mapping[str, Any] = field(default_factory=dict)
    function: Callable[[Tensor], Tensor] | None = None  # of an element-wise operation
    in_place: bool = False  # may write into its first input


# --------------------------------------------------------------------------- tables of spellings

CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2}  # → spatial axes
BATCH_NORMS: dict[type[nn.Module], int] = {nn.BatchNorm1d: 1, nn.BatchNorm2d: 2}

_ELEMENTWISE_MODULES: tuple[type[nn.Module], ...] = (
    nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid, nn.LogSigmoid,
)  # fmt: skip
_IDENTITY_MODULES: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)  # fmt: skip
_POOL_MODULES: dict[type[nn.Module], int] = {
    nn.MaxPool1d: 1, nn.AvgPool1d: 1, nn.AdaptiveMaxPool1d: 1, nn.AdaptiveAvgPool1d: 1,
    nn.MaxPool2d: 2, nn.AvgPool2d: 2, nn.AdaptiveMaxPool2d: 2, nn.AdaptiveAvgPool2d: 2,
}  # fmt: skip

# finite at every finite input, so that a unit set to zero stays harmless
_ELEMENTWISE_NAMES = (
    "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid",
    "softplus", "softsign", "tanhshrink", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid",
    "abs", "neg", "square", "clamp", "sin", "cos",
)  # fmt: skip
_DROPOUT_NAMES = (
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
)  # fmt: skip
_COPY_NAMES = ("contiguous", "clone", "detach", "float", "double")
_ARITHMETIC_NAMES = ("add", "sub", "mul", "div")
_MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG_POOL = (
    "input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
    "divisor_override",
)  # fmt: skip
_POOL_ARGUMENTS = {
    "max_pool": _MAX_POOL,
    "avg_pool": _AVG_POOL,
    "adaptive_max_pool": ("input", "output_size", "return_indices"),
    "adaptive_avg_pool": ("input", "output_size"),
}


def _function_names() -> dict[Any, str]:
    """Every function that is recognised → its one name."""
    pools = [f"{pool}{axes}d" for pool in _POOL_ARGUMENTS for axes in (1, 2)]
    plain = (*_ELEMENTWISE_NAMES, *_DROPOUT_NAMES, *_COPY_NAMES, *_ARITHMETIC_NAMES, *pools)
    found = {
        getattr(space, spelling, None): name
        for name in (*plain, "relu", "flatten", "reshape", "mean")
        for space in (F, torch)
        for spelling in (name, name + "_")
    }
    operators = {
        operator.add: "add", operator.iadd: "add", operator.sub: "sub", operator.isub: "sub",
        operator.mul: "mul", operator.imul: "mul", operator.truediv: "div",
        operator.itruediv: "div", operator.getitem: "getitem", builtins.getattr: "getattr",
    }  # fmt: skip
    return {function: name for function, name in found.items() if callable(function)} | operators


_FUNCTION_NAMES = _function_names()
_METHOD_NAMES = {
    *_ELEMENTWISE_NAMES, *_COPY_NAMES, *_ARITHMETIC_NAMES,
    "relu", "flatten", "reshape", "view", "mean", "size", "dim",
}  # fmt: skip


# --------------------------------------------------------------------------- tracing


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # a buffer is an input of the graph, never a number baked in

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """A fixed part is one operation, and one that nothing is known about."""
        return isinstance(module, FixedPart) or super().is_leaf_module(module, name)


def trace(module: nn.Module) -> tuple[Operation, ...]:
    """The operations of `module` in evaluation mode, in order; Untraceable where there are none.

    The first argument of `forward` and those without default are inputs; the others keep their
    defaults. The module is left as it was found.
    """
    if not is_plain(module):
        raise Untraceable("the model has hooks or a replaced forward")
    # forward may assign to attributes and buffers: what it leaves there would be symbols
    found = [(vars(p), dict(vars(p)), p._buffers, dict(p._buffers)) for p in module.modules()]
    try:
        module.eval()
        root = copy.copy(module)  # fx hangs constants on the root: on a copy, not on the user's
        with _symbolic_len(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = _Tracer().trace(root, concrete_args=_defaults(root))
    except Exception as error:  # whatever a user's forward raises when run on symbols
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Untraceable(f"torch.fx cannot trace forward: {line}") from error
    finally:
        for attributes, own, buffers, held in found:
            buffers.clear()
            buffers.update(held)
            attributes.clear()
            attributes.update(own)
    modules = dict(module.named_modules())
    return tuple(_operation(node, modules) for node in graph.nodes)


def _defaults(root: nn.Module) -> dict[str, Any]:
    parameters = list(inspect.signature(type(root).forward).parameters.values())[2:]
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


@contextmanager
def _symbolic_len() -> Iterator[None]:
    """While tracing, `len(x)` is `x.size(0)`: Python itself insists on a number."""
    plain_len = builtins.len

    def symbolic_len(x: Any) -> Any:
        return x.size(0) if isinstance(x, fx.Proxy) else plain_len(x)

    builtins.len = symbolic_len
    try:
        yield
    finally:
        builtins.len = plain_len


# --------------------------------------------------------------------------- one spelling

Found = dict[str, Any]  # kind, and what else of an Operation is not its default


def is_plain(module: nn.Module) -> bool:
    """Calling it runs the forward of its class and nothing else."""
    hooked = module._forward_hooks or module._forward_pre_hooks
    return not hooked and "forward" not in vars(module)


def _operation(node: fx.Node, modules: Mapping[str, nn.Module]) -> Operation:
    found = _recognise(node, modules) or {"kind": "unknown"}
    inputs = found.pop("inputs", tuple(argument.name for argument in node.all_input_nodes))
    module, text = "", getattr(node.target, "__name__", str(node.target))
    if node.op == "call_module":
        module = str(node.target)
        text = f"{type(modules[module]).__name__} {module}"
    return Operation(node.name, inputs=inputs, text=text, module=module, **found)


def _recognise(node: fx.Node, modules: Mapping[str, nn.Module]) -> Found | None:
    if node.op == "placeholder":
        return {"kind": "input"}
    if node.op == "output":
        return {"kind": "output"}
    if node.op == "get_attr":
        return {"kind": "constant", "options": {"tensor": str(node.target)}}
    if node.op == "call_module":
        return _module_call(node, modules[str(node.target)])
    if node.op == "call_method":
        name = str(node.target).removesuffix("_")
        return _call(node, name) if name in _METHOD_NAMES else None
    name = _FUNCTION_NAMES.get(node.target, "")
    return _call(node, name) if name else None


def _module_call(node: fx.Node, module: Any) -> Found | None:
    kind = type(module)  # exact types only: a subclass may compute anything
    one_tensor = len(node.args) == 1 and isinstance(node.args[0], fx.Node) and not node.kwargs
    if not is_plain(module) or not one_tensor:
        return None
    if kind is nn.ReLU or kind in _ELEMENTWISE_MODULES:
        return {
            "kind": "relu" if kind is nn.ReLU else "elementwise",
            "function": lambda c: module(c.clone()),
            "in_place": bool(getattr(module, "inplace", False)),
        }
    if kind in _IDENTITY_MODULES:
        return {"kind": "identity"}
    if kind in _POOL_MODULES:
        return _pool(_POOL_MODULES[kind], kind in (nn.AvgPool1d, nn.AvgPool2d), vars(module))
    if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return {"kind": "flatten"}
    if kind is nn.Linear or kind in CONVOLUTIONS:
        own_weight = module._parameters.get("weight") is not None  # not computed from others
        return {"kind": "linear" if kind is nn.Linear else "conv"} if own_weight else None
    if kind in BATCH_NORMS:
        running = module._buffers.get("running_var") is not None and module.eps > 0
        return {"kind": "batch_norm"} if running else None
    return None


def _call(node: fx.Node, name: str) -> Found | None:
    """A function or method, its first argument being the tensor it is about."""
    if name in _ARITHMETIC_NAMES:
        return _arithmetic(node, name)
    if not node.args or not isinstance(node.args[0], fx.Node):
        return None
    if name == "relu" or name in _ELEMENTWISE_NAMES:
        return _elementwise(node, "relu" if name == "relu" else "elementwise")
    if name in _DROPOUT_NAMES:
        asleep = _named(node, "input", "p", "training").get("training") is False
        return {"kind": "identity"} if asleep else None
    if name in _COPY_NAMES:
        return {"kind": "identity"} if len(node.args) == 1 else None
    if name[:-2] in _POOL_ARGUMENTS:
        options = _named(node, *_POOL_ARGUMENTS[name[:-2]])
        return _pool(int(name[-2]), name.startswith("avg"), options)
    return _shape_call(node, name)


def _named(node: fx.Node, *names: str) -> dict[str, Any]:
    return dict(zip(names, node.args, strict=False)) | node.kwargs


def _elementwise(node: fx.Node, kind: str) -> Found | None:
    if len(node.all_input_nodes) != 1:
        return None
    return {"kind": kind, "function": _applied(node), "in_place": _writes(node)}


def _arithmetic(node: fx.Node, name: str) -> Found | None:
    if len(node.args) != 2 or node.kwargs:
        return None
    left, right = node.args
    if isinstance(left, fx.Node) and isinstance(right, fx.Node):
        kind = "quotient" if name == "div" else "pair"
        return {"kind": kind, "inputs": (left.name, right.name), "in_place": _writes(node)}
    number = right if isinstance(left, fx.Node) else left
    if not isinstance(number, int | float) or not math.isfinite(number):
        return None
    if name == "div" and (number is left or number == 0):
        return None
    return _elementwise(node, "elementwise")


def _applied(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """The call of an element-wise node, as a function of its one tensor (which it leaves alone)."""
    target, args, kwargs = node.target, node.args, node.kwargs

    def apply(values: Tensor) -> Tensor:
        first, *rest = [values.clone() if isinstance(a, fx.Node) else a for a in args]
        call = getattr(first, target) if isinstance(target, str) else partial(target, first)
        result: Tensor = call(*rest, **kwargs)
        return result

    return apply


def _writes(node: fx.Node) -> bool:
    """The call may change its first argument (fx shows `x += y` as `x + y`)."""
    name = getattr(node.target, "__name__", str(node.target))
    by_operator = getattr(node.target, "__module__", "") == "_operator"
    flagged = any(argument is True for argument in (*node.args, *node.kwargs.values()))
    return name.endswith("_") or flagged or (by_operator and isinstance(node.args[0], fx.Node))


def _pool(axes: int, average: bool, options: Mapping[str, Any]) -> Found | None:
    """`padded`: a constant that is not zero does not stay constant (zeros count in the mean)."""
    if options.get("return_indices"):
        return None
    padding = options.get("padding", 0)
    zeros = padding not in (0, (0,), (0, 0)) and options.get("count_include_pad", True)
    padded = average and bool(zeros or options.get("divisor_override") is not None)
    return {"kind": "pool", "options": {"axes": axes, "padded": padded}}


def _shape_call(node: fx.Node, name: str) -> Found | None:
    if name == "flatten":
        named = _named(node, "input", "start_dim", "end_dim")
        plain = (named.get("start_dim"), named.get("end_dim", -1)) == (1, -1)
        return {"kind": "flatten"} if plain else None
    if name in ("view", "reshape"):
        shape: Any = node.args[1:] or (node.kwargs.get("shape"),)
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape
        if not shape or not all(isinstance(length, int | fx.Node) for length in shape):
            return None
        lengths = tuple(s.name if isinstance(s, fx.Node) else s for s in shape)
        return {"kind": "reshape", "options": {"shape": lengths}}
    if name == "mean":
        named = _named(node, "input", "dim", "keepdim")
        dims = named.get("dim")
        dims = dims if isinstance(dims, list | tuple) else (dims,)
        if not all(isinstance(dim, int) for dim in dims) or "dtype" in named:
            return None
        return {"kind": "mean", "options": {"dims": dims, "keep": named.get("keepdim") is True}}
    if name == "size":
        dim = _named(node, "input", "dim").get("dim")
        return {"kind": "shape" if dim is None else "rows" if dim == 0 else "length"}
    if name == "dim":
        return {"kind": "length"}
    if name == "getitem":
        return {"kind": "item", "options": {"index": node.args[1]}}
    return {"kind": "shape"} if node.args[1] == "shape" else None
