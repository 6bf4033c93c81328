"""Integer codes and scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from recprune.bits import pack, packed_bytes, unpack, unpack_first
from recprune.errors import RecpruneError, unknown
from recprune.weights.encoding import Encoding

__all__ = ["Granularity", "Quantized", "check_settings", "levels"]

Array = npt.NDArray[Any]
Granularity = Literal["per_tensor", "per_row", "per_column", "per_group"]
# Clipping the largest values shortens the step of all others: worth it only where steps are long.
_SHRINK = {8: (1.0,), 4: (1.0, 0.9, 0.8, 0.7, 0.6), 3: (1.0, 0.85, 0.7, 0.55), 2: (1.0, 0.85, 0.7, 0.55, 0.4)}
_BITS = (1, *sorted(_SHRINK))


@dataclass(frozen=True, eq=False)
class Quantized(Encoding):
    """Symmetric codes of 1, 2, 3, 4 or 8 bits, packed, times a float16 scale.

    A value is `(code - offset) * scale`: at 3 bits and more the middle code is an exact zero; at 2 bits the four levels
    are -1.5, -0.5, 0.5, 1.5 scales, which lose less than three levels would; at 1 bit the two levels are -0.5 and 0.5
    scales. Scales belong to a row, a column, a group of `group` rows, or the whole; a row, column or group of zeros has
    scale zero and comes back exactly. At 1 bit a value becomes plus or minus the mean magnitude of what shares its
    scale, which has the least squared error and gives constants back (XNOR-Net: Rastegari et al. 2016); at more bits the
    scale is the one of a few clipped candidates with the least squared error.
    """

    kind: ClassVar[str] = "quantized"
    codes: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float16]
    bits: int
    granularity: Granularity
    group: int
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        check_settings(self.bits, self.granularity, self.group)
        if not self.dims or any(type(d) is not int or d < 0 for d in self.dims):
            raise RecpruneError(f"quantized shape {self.dims} is not a shape")
        if _count(tuple(max(d, 1) for d in self.dims)) > 2**48:
            raise RecpruneError(f"quantized shape {self.dims} is too large")
        expected = packed_bytes(_count(self.dims), self.bits)
        if self.codes.dtype != np.uint8 or self.codes.shape != (expected,):
            raise RecpruneError(
                f"quantized codes must be {expected} bytes for shape {self.dims}, got {self.codes.shape}"
            )
        scales = _scales(self.dims, self.granularity, self.group)
        if self.scale.dtype != np.float16 or self.scale.shape != (scales,):
            raise RecpruneError(
                f"quantized scale must hold {scales} float16 for shape {self.dims}, got {self.scale.shape}"
            )
        if not np.isfinite(self.scale).all():
            raise RecpruneError("quantized scale holds NaN or infinity")

    @classmethod
    def encode(cls, array: Array, bits: int, granularity: Granularity = "per_row", group: int = 1) -> Quantized:
        """Quantize an array of one or more axes; rows are axis 0, columns all that follow."""
        check_settings(bits, granularity, group)
        values = np.asarray(array, dtype=np.float32)
        if not values.ndim:
            raise RecpruneError("cannot quantize a single number: it has no axes")
        if not np.isfinite(values).all():
            raise RecpruneError("cannot quantize NaN or infinity")
        if np.abs(values).max(initial=0.0) > (limit := 30_000 if bits == 1 else 60_000):
            raise RecpruneError(f"cannot quantize values above {limit}: a float16 scale would overflow")
        table = values.reshape(values.shape[0], _count(values.shape[1:]))
        group = group if granularity == "per_group" else 1
        scale = _best_scale(table, bits, granularity, group)
        step = scale.astype(np.float32)[_scale_index(table.shape, granularity, group)]
        codes = _code(table, step, bits)
        return cls(pack(codes, bits), scale, bits, granularity, group, tuple(int(d) for d in values.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array."""
        return self.dims

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Gather the codes, then decode them."""
        rows = np.asarray(rows, dtype=np.int64)
        columns = _count(self.dims[1:])
        if not rows.size or not columns:
            return np.zeros(rows.shape + self.dims[1:], dtype=np.float32)
        flat = rows.reshape(-1, 1) * columns + np.arange(columns)
        codes = unpack(self.codes, flat, self.bits).astype(np.float32)
        if self.granularity == "per_row":
            step = self.scale[rows.reshape(-1, 1)]
        elif self.granularity == "per_group":
            step = self.scale[rows.reshape(-1, 1) // self.group]
        else:
            step = self.scale[None, :]
        values = (codes - np.float32(levels(self.bits)[0])) * step.astype(np.float32)
        return values.reshape(rows.shape + self.dims[1:])

    def decode(self) -> npt.NDArray[np.float32]:
        """All rows, without asking where each lies."""
        rows, columns = self.dims[0], _count(self.dims[1:])
        codes = unpack_first(self.codes, rows * columns, self.bits).reshape(rows, columns)
        values = codes - np.float32(levels(self.bits)[0])
        values *= self.scale.astype(np.float32)[_scale_index(values.shape, self.granularity, self.group)]
        return values.reshape(self.dims)

    def recode(self, array: Array) -> Quantized:
        """Quantize another array with these settings."""
        return Quantized.encode(array, self.bits, self.granularity, self.group)

    def rounded(self, array: Array) -> Quantized:
        """Another array of this shape in the scales of this one."""
        table = np.asarray(array, dtype=np.float32).reshape(self.dims[0], _count(self.dims[1:]))
        step = self.scale.astype(np.float32)[_scale_index(table.shape, self.granularity, self.group)]
        codes = pack(_code(table, step, self.bits), self.bits)
        return Quantized(codes, self.scale, self.bits, self.granularity, self.group, self.dims)

    def cut(self, axis: int, keep: Array) -> Encoding:
        """Codes and scales of what stays, as they are; only groups of rows must be formed, and so quantized, anew."""
        keep = np.asarray(keep, dtype=np.int64)
        if axis == 0 and self.granularity == "per_group":
            return super().cut(axis, keep)
        scale, dims = self.scale, list(self.dims)
        dims[axis] = len(keep)
        if axis == 0 and self.granularity == "per_row":
            scale = scale[keep]
        if axis > 0 and self.granularity == "per_column":
            scale = np.take(scale.reshape(self.dims[1:]), keep, axis=axis - 1).reshape(-1)
        if axis == 0:
            places = keep[:, None] * _count(self.dims[1:]) + np.arange(_count(self.dims[1:]) if len(keep) else 0)
        else:
            places = np.take(np.arange(_count(self.dims)).reshape(self.dims), keep, axis=axis)
        codes = pack(unpack(self.codes, places, self.bits), self.bits)
        return Quantized(codes, scale, self.bits, self.granularity, self.group, tuple(dims))


def check_settings(bits: int, granularity: str, group: int) -> None:
    """Raise RecpruneError for settings that `Quantized` does not have."""
    if type(bits) is not int or bits not in _BITS:
        raise RecpruneError(f"bits must be one of {', '.join(map(str, _BITS))}, got {bits!r}")
    if granularity not in get_args(Granularity):
        raise unknown("granularity", str(granularity), get_args(Granularity))
    if type(group) is not int or group < 1:
        raise RecpruneError(f"group must be a number of rows, got {group!r}")


def _count(dims: tuple[int, ...]) -> int:
    count = 1
    for d in dims:
        count *= d
    return count


def _scales(dims: tuple[int, ...], granularity: str, group: int) -> int:
    return {
        "per_tensor": 1,
        "per_row": dims[0],
        "per_column": _count(dims[1:]),
        "per_group": -(-dims[0] // group),
    }[granularity]


def _scale_index(shape: tuple[int, ...], granularity: str, group: int) -> Array:
    rows, columns = shape
    if granularity == "per_row":
        return np.arange(rows)[:, None]
    if granularity == "per_group":
        return np.arange(rows)[:, None] // group
    return np.arange(columns)[None, :] if granularity == "per_column" else np.zeros((1, 1), np.int64)


def levels(bits: int) -> tuple[float, int]:
    """The code that would be zero (`offset`), and the largest code: `2 * offset`, so that levels are symmetric."""
    offset = {1: 0.5, 2: 1.5}.get(bits, 2.0 ** (bits - 1) - 1)
    return offset, int(2 * offset)


def _code(table: Array, step: Array, bits: int) -> Array:
    offset, top = levels(bits)
    safe = np.where(step > 0, step, np.float32(1))
    ratio = np.where(step > 0, table / safe, 0)
    # floor(x + 1/2) and not rint: ties must not depend on the offset being a half or a whole.
    codes: Array = np.clip(np.floor(ratio + np.float32(offset + 0.5)), 0, top)
    return codes


def _by_scale(function: np.ufunc, table: Array, granularity: str, group: int) -> Array:
    """Reduce a (rows, columns) array to one number a scale with `np.add` or `np.maximum` (of values not below zero)."""
    if granularity == "per_column":
        result: Array = function.reduce(table, axis=0, initial=0)
        return result
    rows: Array = function.reduce(table, axis=1, initial=0)
    if granularity == "per_row" or not len(rows):
        return rows if granularity != "per_tensor" else np.zeros(1, np.float32)
    starts = np.arange(0, len(rows), group) if granularity == "per_group" else np.zeros(1, np.int64)
    groups: Array = function.reduceat(rows, starts)
    return groups


def _best_scale(table: Array, bits: int, granularity: str, group: int) -> npt.NDArray[np.float16]:
    if bits == 1:
        many = _by_scale(np.add, np.ones_like(table), granularity, group)
        total = _by_scale(np.add, np.abs(table.astype(np.float64)), granularity, group)
        return (2 * total / np.maximum(many, 1)).astype(np.float16)
    offset = np.float32(levels(bits)[0])
    largest = _by_scale(np.maximum, np.abs(table), granularity, group)
    index = _scale_index(table.shape, granularity, group)
    best_scale = np.zeros(largest.shape, np.float16)
    best_error = np.full(largest.shape, np.inf)
    for shrink in _SHRINK[bits]:
        scale = (largest * shrink / offset).astype(np.float16)
        if shrink == 1:
            # Where rounding to float16 would cut off more than half a step (values near 1e-6), the next larger one.
            short = largest - offset * scale.astype(np.float32) > scale.astype(np.float32) / 2
            scale = np.where(short, np.nextafter(scale, np.float16(np.inf)), scale)
        step = scale.astype(np.float32)[index]
        squares = ((_code(table, step, bits) - offset) * step - table) ** 2
        error = _by_scale(np.add, squares, granularity, group)
        better = error < best_error
        best_scale = np.where(better, scale, best_scale)
        best_error = np.where(better, error, best_error)
    return best_scale.astype(np.float16)
