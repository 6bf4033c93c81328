"""A torch parameter that holds an encoding and is read like a tensor.

Look-ups (`F.embedding`, `F.embedding_bag`, `index_select`, indexing by integers) gather before they decode; every
other operation sees the dense decoded tensor. The tensor works wherever a parameter does: in `state_dict`, in
`torch.save` and `torch.load(weights_only=True)`, under `deepcopy` and `.to()`, and it stores a float checkpoint that
is loaded into it the way it stores its own values. It never requires a gradient: it is trained by opening it
(`recprune.recovery.finetune`), which puts float leaves behind what is read.

Every read decodes anew: what a model multiplies with as a whole (`.weight` for all items, layers) is decoded whole at
each call. `torch.compile` and `torch.export` refuse it; rebuild the model with decoded weights for them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map

from recprune.adapters.codes import code_from
from recprune.errors import RecpruneError
from recprune.weights import Encoding, encoding_from

__all__ = ["CompactTensor", "embedding", "embedding_bag"]


class _Cell:
    """What all aliases of one compact tensor share."""

    def __init__(self, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.spec, self.code, self.open = dict(spec), code_from(spec, tensors), False

    def adopt(self, other: _Cell) -> None:
        if self.open:
            raise RecpruneError("a compact tensor cannot be written to while it is trained")
        if other.code.shape != self.code.shape:
            raise RecpruneError(f"a compact tensor of {self.code.shape} cannot take one of {other.code.shape}")
        self.spec, self.code = other.spec, other.code


class CompactTensor(torch.Tensor):
    """A tensor of `dtype` whose values are an encoding's.

    >>> from recprune.weights import Quantized
    >>> table = CompactTensor.of(Quantized.encode(np.eye(4, dtype=np.float32), bits=8))
    >>> table.shape, table.size_bytes, table[torch.tensor([2])].tolist()
    (torch.Size([4, 4]), 24, [[0.0, 0.0, 0.99993896484375, 0.0]])
    """

    _cell: _Cell
    trained: bool

    @staticmethod
    def __new__(cls, cell: _Cell, dtype: torch.dtype, trained: bool) -> Self:  # noqa: D102
        shape, device = cell.code.shape, cell.code.device
        tensor: Self = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=device, requires_grad=False)
        tensor._cell, tensor.trained = cell, trained
        return tensor

    # The base class would run `__new__`'s arguments through its own constructor.
    def __init__(self, *_: Any) -> None:
        pass

    @classmethod
    def of(
        cls,
        encoding: Encoding,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        trained: bool = True,
    ) -> Self:
        """Hold a copy of `encoding`; `trained`: whether retraining may change it."""
        tensors = {name: torch.tensor(array, device=device) for name, array in encoding.arrays().items()}
        return cls(_Cell(encoding.spec(), tensors), dtype, trained)

    def encoding(self) -> Encoding:
        """What is stored, as a numpy encoding."""
        return encoding_from(self._cell.spec, {n: t.cpu().numpy() for n, t in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Every stored tensor by name."""
        return self._cell.code.state()

    @property
    def size_bytes(self) -> int:
        """Bytes stored: codes, scales, marks of the kept rows."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory: what is stored and the directories derived from it."""
        return self.size_bytes + self._cell.code.derived()

    @property
    def identity(self) -> int:
        """Equal for aliases: tensors of which a change of one is a change of the other."""
        return id(self._cell)

    def decode(self) -> Tensor:
        """The whole array as a plain tensor."""
        return self._cell.code.decode().to(self.dtype)

    def take(self, rows: Tensor) -> Tensor:
        """Rows (axis 0) at integer `rows` of any shape, as a plain tensor. Raises IndexError, as torch does."""
        rows = rows.long()
        if rows.device.type == "cpu" and rows.numel():
            low, high = torch.aminmax(rows)
            if low.item() < 0 or high.item() >= len(self):
                raise IndexError("index out of range in self")
        return self._cell.code.take(rows).to(self.dtype)

    def open_(self) -> list[Tensor]:
        """Start training: the float leaves to optimize, which every read depends on until `close_`."""
        if self._cell.open or not self.trained:
            return []
        self._cell.open = True
        return self._cell.code.open_()

    def rescale_(self) -> None:
        """While training: choose the scales again for what the leaves have become."""
        if self._cell.open:
            self._cell.code.rescale_()

    def close_(self) -> None:
        """End training: store the leaves. What was read while training is what is read afterwards."""
        if self._cell.open:
            self._cell.code.close_()
            self._cell.open = False

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        kind = self._cell.spec["encoding"]
        return f"CompactTensor({kind}, shape={tuple(self.shape)}, dtype={self.dtype}, {self.size_bytes:,} bytes)"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        tensors = {name: copy.deepcopy(tensor, memo) for name, tensor in self.tensors().items()}
        key = id(self._cell)
        cell = memo.setdefault(key, _Cell(self._cell.spec, tensors))
        fresh = self._alias(cell)
        memo[id(self)] = fresh
        return fresh

    def __reduce_ex__(self, protocol: Any) -> Any:
        state = (self._cell.spec, self.tensors(), self.dtype, self.trained, getattr(self, "_is_param", False))
        return _restore, state

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return [_inner(name) for name in self.tensors()], (self._cell.spec, self.dtype, self.trained)

    @classmethod
    def __tensor_unflatten__(cls, inner: Mapping[str, Tensor], context: Any, size: Any, stride: Any) -> Self:
        spec, dtype, trained = context
        tensors = {name.removeprefix("inner_").replace("__", "."): tensor for name, tensor in inner.items()}
        return cls(_Cell(spec, tensors), dtype, trained)

    def __getattr__(self, name: str) -> Any:
        # Only reached for names that nothing else has: the stored tensors, which torch asks for after a flatten.
        if name.startswith("inner_"):
            for key, tensor in self.tensors().items():
                if _inner(key) == name:
                    return tensor
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _alias(self, cell: _Cell, dtype: torch.dtype | None = None) -> Self:
        fresh = type(self)(cell, dtype or self.dtype, self.trained)
        if getattr(self, "_is_param", False):
            fresh._is_param = True
        return fresh

    def _store(self, values: Tensor) -> None:
        if values.shape != self.shape:
            raise RecpruneError(f"a compact tensor of {tuple(self.shape)} cannot take {tuple(values.shape)}")
        array = values.detach().cpu().float().numpy()
        fresh = CompactTensor.of(self.encoding().recode(array), self.dtype, self.device, self.trained)
        self._cell.adopt(fresh._cell)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _ABOUT:  # about the tensor, not about its values
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        handler = _HANDLERS.get(func)
        if handler is None and getattr(func, "__name__", "") in _CONVERSIONS and isinstance(args[0], CompactTensor):
            return _convert(func, *args, **kwargs)
        result = handler(*args, **kwargs) if handler is not None else NotImplemented
        return _run_dense(func, _is_in_place(func), args, kwargs) if result is NotImplemented else result

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return args[0]._alias(args[0]._cell)
        if func is torch.ops.aten.clone.default:
            return _clone(args[0])
        return _run_dense(func, func._schema.is_mutable, args, kwargs or {})


def _inner(name: str) -> str:
    """The name of a stored tensor as an attribute."""
    return "inner_" + name.replace(".", "__")


def _restore(spec: dict[str, Any], tensors: dict[str, Tensor], dtype: torch.dtype, trained: bool, param: bool) -> Any:
    # Whatever a file holds goes through the constructors that validate.
    encoding_from(spec, {name: tensor.cpu().numpy() for name, tensor in tensors.items()})
    tensor = CompactTensor(_Cell(spec, tensors), dtype, trained)
    if param:
        tensor._is_param = True
    return tensor


torch.serialization.add_safe_globals([_restore])


def _dense(value: Any) -> Any:
    return value.decode() if isinstance(value, CompactTensor) else value


def _run_dense(func: Callable[..., Any], in_place: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target = kwargs.get("out") if "out" in kwargs else None
    if in_place and target is None:
        target = args[0] if args else next(iter(kwargs.values()), None)
    if not isinstance(target, CompactTensor):
        return func(*tree_map(_dense, args), **tree_map(_dense, kwargs))
    # Written to: the operation runs on the dense values, which are then stored the way the tensor stores them.
    dense = target.decode().detach().clone()

    def swap(value: Any) -> Any:
        return dense if value is target else _dense(value)

    func(*tree_map(swap, args), **tree_map(swap, kwargs))
    target._store(dense)
    return target


def _is_in_place(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    return (name.endswith("_") and not name.endswith("__")) or name in _IN_PLACE


def _position(row: int | None, rows: Tensor, count: int) -> int | None:
    """Where `row` is among the sorted `rows`."""
    if row is None:
        return None
    at = (rows == (row + count if row < 0 else row)).nonzero()
    return int(at[0, 0]) if len(at) else None


def _renormed(values: Tensor, max_norm: float | None, norm_type: float) -> Tensor:
    if max_norm is None:
        return values
    norm = values.norm(norm_type, dim=-1, keepdim=True)
    return torch.where(norm > max_norm, values * (max_norm / (norm + 1e-7)), values)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """`F.embedding` for compact and plain tables that never changes the table, `max_norm` or not."""
    if isinstance(weight, CompactTensor) and not weight._cell.open:
        return _renormed(weight.take(input), max_norm, norm_type)
    # While training, torch's own function keeps the gradient away from the padding row and scales by frequency.
    rows, inverse = torch.unique(input, return_inverse=True)
    values = _renormed(_rows(weight, rows), max_norm, norm_type)
    return F.embedding(inverse, values, _position(padding_idx, rows, len(weight)), None, 2.0, scale_grad_by_freq)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """`F.embedding_bag` for compact and plain tables: decodes each row that is read once, never changes the table."""
    rows, inverse = torch.unique(input, return_inverse=True)
    if not len(rows):
        rows = torch.zeros(1, dtype=input.dtype, device=input.device)
    return F.embedding_bag(
        inverse.to(input.dtype),
        _renormed(_rows(weight, rows), max_norm, norm_type),
        offsets,
        scale_grad_by_freq=scale_grad_by_freq,
        mode=mode,
        per_sample_weights=_dense(per_sample_weights),
        include_last_offset=include_last_offset,
        padding_idx=_position(padding_idx, rows, len(weight)),
    )


def _rows(weight: Tensor, rows: Tensor) -> Tensor:
    return weight.take(rows) if isinstance(weight, CompactTensor) else weight[rows.long()]


def _embedding(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Any:
    fits = isinstance(weight, CompactTensor) and weight.dim() == 2
    return embedding(input, weight, *args, **kwargs) if fits else NotImplemented


def _aten_embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, *args: Any, **kwargs: Any) -> Any:
    frequency = args[0] if args else kwargs.get("scale_grad_by_freq", False)
    padding = None if padding_idx == -1 else padding_idx
    return _embedding(indices, weight, padding, scale_grad_by_freq=frequency)


def _embedding_bag(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Any:
    fits = isinstance(weight, CompactTensor) and weight.dim() == 2
    return embedding_bag(input, weight, *args, **kwargs) if fits else NotImplemented


def _index_select(input: Tensor, dim: int, index: Tensor) -> Any:
    if not isinstance(input, CompactTensor) or dim not in (0, -input.dim()):
        return NotImplemented
    return input.take(index.reshape(-1))


def _getitem(tensor: Tensor, index: Any) -> Any:
    if not isinstance(tensor, CompactTensor):
        return NotImplemented
    first, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
    if not all(isinstance(part, slice | EllipsisType) for part in rest):
        return NotImplemented
    count = len(tensor)
    if isinstance(first, slice):
        start, stop, step = first.indices(count)
        if first == slice(None) or step < 0:
            return NotImplemented
        rows = torch.arange(start, max(start, stop), step, device=tensor.device)
    else:
        if isinstance(first, bool | EllipsisType) or first is None:
            return NotImplemented
        try:
            rows = torch.as_tensor(np.asarray(first) if isinstance(first, list) else first, device=tensor.device)
        except (TypeError, ValueError, RuntimeError):
            return NotImplemented
        if rows.dtype == torch.bool and rows.dim() == 1 and len(rows) == count:
            rows = rows.nonzero()[:, 0]
        elif rows.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8):
            return NotImplemented
        rows = torch.where(rows < 0, rows + count, rows)
    values = tensor.take(rows)
    return values[(slice(None),) * rows.dim() + rest] if rest else values


def _convert(func: Callable[..., Any], tensor: CompactTensor, *args: Any, **kwargs: Any) -> Any:
    kwargs.pop("memory_format", None)
    probe = func(torch.empty(0, dtype=tensor.dtype, device=tensor.device), *args, **kwargs)
    if not probe.is_floating_point():
        return func(tensor.decode(), *args, **kwargs)
    same_place = probe.device == tensor.device
    if same_place and probe.dtype == tensor.dtype and not kwargs.get("copy"):
        return tensor
    tensors = {n: t.clone() if same_place else t.to(probe.device) for n, t in tensor.tensors().items()}
    return CompactTensor(_Cell(tensor._cell.spec, tensors), probe.dtype, tensor.trained)


def _clone(tensor: Tensor, *, memory_format: Any = None) -> Any:
    if not isinstance(tensor, CompactTensor):
        return NotImplemented
    tensors = {name: part.clone() for name, part in tensor.tensors().items()}
    return CompactTensor(_Cell(tensor._cell.spec, tensors), tensor.dtype, tensor.trained)


def _detach(tensor: Tensor) -> Any:
    if not isinstance(tensor, CompactTensor):
        return NotImplemented
    return CompactTensor(tensor._cell, tensor.dtype, tensor.trained)


def _copy_(target: Tensor, source: Tensor, non_blocking: bool = False) -> Any:
    if not isinstance(target, CompactTensor):
        return NotImplemented
    if isinstance(source, CompactTensor):
        target._cell.adopt(_clone(source)._cell)
    else:
        target._store(torch.as_tensor(source).expand(target.shape))
    return target


def _set_data(target: Tensor, source: Tensor) -> Any:
    if not isinstance(target, CompactTensor):
        return NotImplemented
    _copy_(target, source)
    return None


def _requires_grad_(tensor: Tensor, requires_grad: bool = True) -> Any:
    if requires_grad:
        raise RecpruneError("a compact parameter takes no gradient; train it with recprune.recovery.finetune")
    return tensor


def _set_requires_grad(tensor: Tensor, requires_grad: bool) -> None:
    _requires_grad_(tensor, requires_grad)


def _share_memory_(tensor: Tensor) -> Any:
    if not isinstance(tensor, CompactTensor):
        return NotImplemented
    for part in tensor.tensors().values():
        part.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


_HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.embedding: _embedding,
    torch.embedding: _aten_embedding,
    F.embedding_bag: _embedding_bag,
    torch.index_select: _index_select,
    Tensor.index_select: _index_select,
    Tensor.__getitem__: _getitem,
    torch.clone: _clone,
    Tensor.clone: _clone,
    torch.detach: _detach,
    Tensor.detach: _detach,
    Tensor.data.__get__: _detach,  # type: ignore[attr-defined]
    Tensor.data.__set__: _set_data,  # type: ignore[attr-defined]
    Tensor.copy_: _copy_,
    Tensor.requires_grad_: _requires_grad_,
    Tensor.requires_grad.__set__: _set_requires_grad,  # type: ignore[attr-defined]
    Tensor.contiguous: lambda tensor, **_: tensor,
    Tensor.share_memory_: _share_memory_,
}
_CONVERSIONS = ("to", "cpu", "cuda", "half", "float", "double", "bfloat16", "xpu", "type_as")
_IN_PLACE = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__imod__", "__ipow__")
_PROPERTIES = """
shape dtype device layout requires_grad is_leaf grad grad_fn ndim is_sparse is_sparse_csr is_quantized is_meta is_cuda
is_cpu is_xpu is_mps is_mkldnn is_nested itemsize nbytes names output_nr _version _base retains_grad _backward_hooks
_post_accumulate_grad_hooks
"""
_METHODS = """
size dim ndimension numel nelement stride storage_offset is_contiguous is_floating_point is_complex is_signed is_shared
is_pinned is_inference get_device element_size __len__ _use_count __hash__ __dir__ retain_grad _is_view has_names
is_same_size
"""
_ABOUT: set[Any] = {getattr(Tensor, name).__get__ for name in _PROPERTIES.split() if hasattr(Tensor, name)}
_ABOUT |= {getattr(Tensor, name).__set__ for name in ("grad", "_backward_hooks")}
_ABOUT |= {getattr(Tensor, name) for name in _METHODS.split() if hasattr(Tensor, name)}
_ABOUT |= {getattr(torch, n) for n in ("is_floating_point", "is_complex", "numel", "is_inference", "is_same_size")}
_ABOUT |= {torch._has_compatible_shallow_copy_type}
