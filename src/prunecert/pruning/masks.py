"""Masks on modules: which tensors are pruned, making zeros and keeping them zero. True = kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from prunecert.types import InputError

PRUNABLE_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prunable_names(
    module: nn.Module, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[str, ...]:
    """State-dict names of the tensors to prune, in module order.

    By default the weights of linear and convolutional layers, except the output head of a language
    model and weights tied to an embedding. `include` replaces the default: every parameter with two
    or more axes that one of its globs matches (so it also reaches packed attention projections or
    embeddings). `exclude` takes away from either. A tied tensor is listed once, by its first name.

    Raises InputError if a glob matches nothing, or nothing is left to prune.
    """
    eligible = [name for name, p in module.named_parameters() if p.dim() >= 2]
    names = _matching("include", include, eligible) if include else _default_names(module)
    names = [name for name in names if name not in _matching("exclude", exclude, eligible)]
    if not names:
        listed = f": the candidates were {', '.join(eligible)}" if eligible else ""
        raise InputError(f"nothing left to prune{listed or ': no tensor has two axes'}")
    return tuple(names)


def _default_names(module: nn.Module) -> list[str]:
    head_of = getattr(module, "get_output_embeddings", lambda: None)  # Hugging Face's own name
    excluded = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    if (head := head_of()) is not None:
        excluded.add(id(head.weight))
    layers = {id(m.weight) for m in module.modules() if isinstance(m, PRUNABLE_LAYERS)}
    return [name for name, p in module.named_parameters() if id(p) in layers - excluded]


def _matching(option: str, globs: Sequence[str], names: Sequence[str]) -> list[str]:
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise InputError(f"{option} '{glob}' matches no tensor of: {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]


def mask_of(
    network: nn.Module | Mapping[str, Tensor], names: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """The nonzero pattern of the named tensors.

    Without `names`: the prunable tensors of a module, every tensor of a mapping.
    """
    tensors = _parameters(network) if isinstance(network, nn.Module) else network
    if names is None:
        names = prunable_names(network) if isinstance(network, nn.Module) else tuple(network)
    return {name: tensors[name].detach() != 0 for name in names}


def sparsity(
    network: nn.Module | Mapping[str, Tensor], names: Sequence[str] | None = None
) -> float:
    """Fraction of zeros among the named tensors, by default those of `mask_of`; also of masks."""
    masks = mask_of(network, names).values()
    return 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)


def apply_mask(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the weights that `masks` does not keep to +0, in place.

    Raises InputError if a mask's name or shape is not the module's.
    """
    parameters = _parameters(module)
    for name, mask in masks.items():
        if name not in parameters:
            raise InputError(f"mask '{name}': the network has no tensor of that name")
        if parameters[name].shape != mask.shape:
            raise InputError(
                f"mask '{name}': shape {tuple(mask.shape)}, "
                f"expected {tuple(parameters[name].shape)}"
            )
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].masked_fill_(~mask.to(parameters[name].device), 0)


def _parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    return dict(module.named_parameters(remove_duplicate=False))


@contextmanager
def hold_masks(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    masks: Mapping[str, Tensor] | None = None,
    *,
    gradients: bool = True,
) -> Iterator[None]:
    """Zeros stay exactly zero in any training loop run inside this context.

    `masks` defaults to the nonzero pattern of the prunable weights; weights that a given mask
    removes are zeroed on entry. Gradients are masked as they are accumulated, so clipping does not
    see them and momentum does not collect them; after every optimizer step the zeros are written
    again, whatever momentum, weight decay or a moving average did. Hooks go on exit, errors or not.

    `gradients=False` leaves the gradients alone, which is faster. Where only the optimizer reads
    them, and treats every weight on its own as SGD and Adam do, the weights are the same bit for
    bit: what it collects for a removed weight reaches nothing but that weight.
    """
    masks = mask_of(model) if masks is None else masks
    apply_mask(model, masks)
    parameters = _parameters(model)
    held = [(parameters[name], _bit_mask(mask, parameters[name])) for name, mask in masks.items()]

    def gradient_hook(bit_mask: Tensor) -> Callable[[Tensor], None]:
        def mask_gradient(parameter: Tensor) -> None:
            assert parameter.grad is not None  # the hook runs right after it was accumulated
            _bits(parameter.grad).bitwise_and_(bit_mask)

        return mask_gradient

    def restore_zeros(*_: object) -> None:
        for parameter, bit_mask in held:
            _bits(parameter).bitwise_and_(bit_mask)

    with ExitStack() as hooks:
        hooks.callback(optimizer.register_step_post_hook(restore_zeros).remove)
        for parameter, bit_mask in held:
            if gradients and parameter.requires_grad:
                handle = parameter.register_post_accumulate_grad_hook(gradient_hook(bit_mask))
                hooks.callback(handle.remove)
        yield


def _bit_mask(mask: Tensor, like: Tensor) -> Tensor:
    """All bits set where a weight is kept, none elsewhere: one fast `and` then makes exact +0, also
    of −0 and nan (multiplying would not), at a fifteenth of the time of masked_fill_."""
    return mask.to(like.device, _bits(like).dtype).neg_()


def _bits(tensor: Tensor) -> Tensor:
    """The same memory as integers of the same width."""
    return tensor.detach().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.itemsize])


def to_torch_prune(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Register the masks as `torch.nn.utils.prune` does: X becomes X_orig and X_mask, in place.

    `models.loading.plain` reads such a module back.
    """
    for name, mask in masks.items():
        owner, _, tensor = name.rpartition(".")
        torch_prune.custom_from_mask(module.get_submodule(owner), tensor, mask)
