"""The tensors of a torch module, copies of it with other tensors, and the sizes that its modules know."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recprune.adapters.compact import CompactTensor
from recprune.errors import RecpruneError

__all__ = ["Group", "copied", "groups", "inside", "left_out", "resize", "tables", "twin"]


@dataclass(frozen=True)
class Group:
    """One array, and every name and tensor under which a model holds it."""

    names: list[str]
    tensors: list[Tensor]
    buffer: bool

    @property
    def name(self) -> str:
        """The first name."""
        return self.names[0]

    @property
    def tensor(self) -> Tensor:
        """The first tensor."""
        return self.tensors[0]

    @property
    def trained(self) -> bool:
        """Whether training changes it."""
        if isinstance(self.tensor, CompactTensor):
            return self.tensor.trained
        return not self.buffer and any(tensor.requires_grad for tensor in self.tensors)


def groups(model: nn.Module) -> list[Group]:
    """Every stored float array of one and more axes; tensors over the same memory are one array."""
    found: dict[Any, Group] = {}
    for name, tensor, buffer in _named(model):
        if _reason(tensor, buffer):
            continue
        key: Any
        if isinstance(tensor, CompactTensor):
            key = tensor.identity
        elif not tensor.numel():
            key = name
        else:
            memory = tensor.untyped_storage().data_ptr()
            key = (memory, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        group = found.setdefault(key, Group([], [], buffer))
        group.names.append(name)
        group.tensors.append(tensor)
    return list(found.values())


def left_out(model: nn.Module) -> dict[str, str]:
    """What of a model is no array of `groups`, and why."""
    found = {name: _reason(tensor, buffer) for name, tensor, buffer in _named(model)}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                found[_join(path, name)] = "no parameter or buffer; outputs that a model keeps must be named in caches"
    return {name: reason for name, reason in found.items() if reason}


def tables(model: nn.Module) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Row axis and padding rows of the table of every embedding module."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            # `+` and `*` join axes, so they cannot stay in the name of one.
            axis = path.replace("+", "_").replace("*", "_") or "rows"
            padding: int | None = module.padding_idx
            found[_join(path, "weight")] = (axis, () if padding is None else (padding,))
    return found


def copied(model: nn.Module, memo: dict[int, Any]) -> Any:
    """Deep copy of a model in which `memo`'s values stand for the objects of those ids.

    Every reference to a tensor, be it a tie, a list or the flat weights of a GRU, meets the new one in the same pass, and
    nothing that is replaced is copied first. Optimizers and outputs kept with their gradients become None.
    """
    for module in model.modules():
        for value in inside(vars(module).values()):
            training = isinstance(value, torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler)
            if training or (isinstance(value, Tensor) and value.grad_fn is not None):
                memo.setdefault(id(value), None)
    try:
        return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise RecpruneError(f"{type(model).__name__} cannot be copied: {error}") from error


def twin(model: nn.Module) -> Any:
    """A copy to run, in evaluation mode, that shares the parameters and nothing else."""
    return copied(model, {id(tensor): tensor for tensor in model.parameters()}).eval()


def inside(values: Iterable[Any], depth: int = 3) -> Iterator[Any]:
    """The values, and those in lists, tuples and dicts among them."""
    for value in list(values):
        yield value
        if depth and isinstance(value, list | tuple | dict):
            yield from inside(value.values() if isinstance(value, dict) else value, depth - 1)


_SIZED: tuple[type[nn.Module], ...] = (nn.Embedding, nn.EmbeddingBag, nn.Linear, nn.LayerNorm, nn.BatchNorm1d)


def resize(model: nn.Module, old: Mapping[str, torch.Size]) -> None:
    """Tell the modules about tensors whose shape is no longer that of `old`; RecpruneError where it does not fit.

    Modules that are not torch's own are trusted to work with what they are given.
    """
    for path, module in model.named_modules():
        held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        cut = [name for name, tensor in held if old.get(_join(path, name), tensor.shape) != tensor.shape]
        if not cut:
            continue
        what = f"{path or 'the model'} ({type(module).__name__})"
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            if len(module.weight) != old[_join(path, "weight")][0]:
                raise RecpruneError(f"{what}: cutting its rows would renumber the ids; use drop_rows")
            module.embedding_dim = module.weight.shape[1]
            continue
        if not isinstance(module, _SIZED):
            if any(
                cls.__module__.startswith("torch.nn.modules.") and cls is not nn.Module for cls in type(module).__mro__
            ):
                known = ", ".join(cls.__name__ for cls in _SIZED)
                raise RecpruneError(f"{what} cannot be cut; of torch's modules these can: {known}")
            continue
        if len({len(tensor) for _, tensor in held if tensor.dim()}) > 1:
            raise RecpruneError(f"{what}: only {', '.join(cut)} was cut; declare the axes of its other arrays too")
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.LayerNorm):
            module.normalized_shape = tuple(module.weight.shape)
        elif isinstance(module, nn.BatchNorm1d):
            module.num_features = len(module.weight)


def _named(model: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Name, tensor, and whether it is a buffer, of everything stored; tied ones under each of their names."""
    if not isinstance(model, nn.Module):
        raise RecpruneError(f"a torch model must be an nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise RecpruneError("a scripted module cannot be rebuilt; give the module that it was made from")
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if isinstance(tensor, nn.UninitializedParameter) or tensor.is_meta:
            raise RecpruneError(f"parameter {name!r} has no values yet")
        yield name, tensor, False
    for path, module in model.named_modules(remove_duplicate=False):
        for name, tensor in module.named_buffers(recurse=False, remove_duplicate=False):
            if name not in module._non_persistent_buffers_set:
                yield _join(path, name), tensor, True


def _reason(tensor: Tensor, buffer: bool) -> str:
    """Why a tensor is left out; empty for one that is not."""
    if not tensor.is_floating_point():
        return f"{tensor.dtype}, not floats"
    if tensor.layout != torch.strided:
        return f"stored as {tensor.layout}"
    if not tensor.dim():
        return "a single number"
    if buffer and not isinstance(tensor, CompactTensor) and not bool(torch.isfinite(tensor).all()):
        return "a buffer that holds infinities, such as a mask"
    return ""


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
