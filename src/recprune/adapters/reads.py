"""Which rows of its tables a torch model looks up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recprune.adapters.compact import CompactTensor, embedding, embedding_bag

__all__ = ["ReadCounter"]


class ReadCounter(TorchFunctionMode):
    """While it is active, counts the rows of `tensors` that are looked up, wherever in the model that happens.

    `counts`: by name, int64, one a row. Reading a whole table counts for no row. Look-ups under `max_norm` give the
    same rows but leave the table as it is.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.counts: dict[str, Tensor] = {}
        self._tables: dict[Any, tuple[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if tensor.dim() and tensor.numel():
                self.counts[name] = torch.zeros(len(tensor), dtype=torch.int64)
                self._tables[_memory(tensor)] = (name, tensor)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _LOOKUPS:
            given = _LOOKUPS[func](*args, **kwargs).arguments
            self._count(given["weight"], given["input"])
            if given.get("max_norm") is not None:
                return _PURE[func](*args, **kwargs)
        elif func in (torch.index_select, Tensor.index_select):
            given = _SELECT(*args, **kwargs).arguments
            if given["dim"] == 0:
                self._count(given["input"], given["index"])
        elif func is Tensor.__getitem__:
            first = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
            if isinstance(first, int | np.integer | list | np.ndarray | Tensor) and not isinstance(first, bool):
                rows = torch.as_tensor(first)
                self._count(args[0], rows.nonzero() if rows.dtype == torch.bool else rows)
        return func(*args, **kwargs)

    def _count(self, table: Tensor, rows: Tensor) -> None:
        found = self._tables.get(_memory(table)) if table.dim() else None
        if found is None or rows.is_floating_point():
            return
        name, whole = found
        rows = rows.detach().reshape(-1).long().cpu()
        rows = torch.where(rows < 0, rows + len(table), rows)
        if not isinstance(table, CompactTensor):
            if table.stride(0) != whole.stride(0):
                return
            # A part of the table, such as the items in one of users and items: its rows begin further down.
            rows = rows + (table.storage_offset() - whole.storage_offset()) // max(whole.stride(0), 1)
        rows = rows[(rows >= 0) & (rows < len(whole))]
        self.counts[name].index_add_(0, rows, torch.ones_like(rows))


def _memory(tensor: Tensor) -> Any:
    if isinstance(tensor, CompactTensor):
        return tensor.identity
    if tensor.layout != torch.strided:
        return id(tensor)
    return tensor.untyped_storage().data_ptr()


def _select(input: Tensor, dim: int, index: Tensor) -> None:
    """The arguments of index_select."""


_PURE: dict[Any, Callable[..., Tensor]] = {F.embedding: embedding, F.embedding_bag: embedding_bag}
_LOOKUPS: dict[Any, Callable[..., inspect.BoundArguments]] = {
    function: inspect.signature(pure).bind for function, pure in _PURE.items()
}
_SELECT = inspect.signature(_select).bind
