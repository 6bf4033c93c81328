"""A matrix that is zero almost everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.bits import FEW, pack, packed_bytes, unpack_first
from recprune.errors import RecpruneError
from recprune.weights import elias_fano
from recprune.weights.encoding import Encoding

__all__ = ["Sparse"]

Array = npt.NDArray[Any]
_PLAIN = 32  # bits of a value that is stored as it is


@dataclass(frozen=True, eq=False)
class Sparse(Encoding):
    """The entries that are not zero: their places Elias-Fano coded, their values as codes of 1 to 8 bits into `levels`, or
    as they are, float32 (`bits` 32, no levels).

    An item-item matrix needs every item's row in both directions, so where the places of a square matrix are symmetric
    and the diagonal is empty (`paired`; found by `encode`), a place is stored once for the pair: first come the codes of
    the entries above the diagonal, column by column, then those of their mirror images. The values stay independent.

    On load the rows are unpacked, so that a look-up touches only the entries that it needs; `derived_bytes` counts that.

    >>> matrix = np.zeros((4, 4), np.float32)
    >>> matrix[0, 2], matrix[2, 0] = 0.5, 0.25
    >>> coded = Sparse.from_dense(matrix)
    >>> coded.paired, coded.take(np.array([2])).tolist()
    (True, [[0.25, 0.0, 0.0, 0.0]])
    """

    kind: ClassVar[str] = "sparse"
    high: npt.NDArray[np.uint8]
    low: npt.NDArray[np.uint8]
    codes: npt.NDArray[np.uint8]
    levels: npt.NDArray[np.float32]
    entries: int
    bits: int
    paired: bool
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        if (
            not isinstance(self.dims, tuple)
            or len(self.dims) != 2
            or any(type(d) is not int or not 0 <= d < 2**31 for d in self.dims)
        ):
            raise RecpruneError(f"a sparse matrix has two axes below 2**31, got {self.dims}")
        if not isinstance(self.paired, bool):
            raise RecpruneError(f"paired must be true or false, got {self.paired!r}")
        if (
            not isinstance(self.entries, int)
            or isinstance(self.entries, bool)
            or not 0 <= self.entries <= _universe(self.dims, self.paired)
        ):
            raise RecpruneError(f"{self.entries!r} entries do not fit a matrix of {self.dims}")
        if self.paired and self.dims[0] != self.dims[1]:
            raise RecpruneError(f"a matrix of {self.dims} is not square and cannot be paired")
        _check_bits(self.bits)
        stored = self.stored
        if self.codes.dtype != np.uint8 or self.codes.shape != (packed_bytes(stored, self.bits),):
            raise RecpruneError(f"{stored} codes of {self.bits} bits do not fit {self.codes.shape} bytes")
        count = 0 if self.bits == _PLAIN else 1 << self.bits
        if self.levels.dtype != np.float32 or self.levels.shape != (count,):
            raise RecpruneError(f"levels must be {count} float32, got {self.levels.shape}")
        rows, columns = self._places()
        if self.bits == _PLAIN:
            codes = self.codes.view("<f4").astype(np.float32, copy=False)
        else:
            codes = unpack_first(self.codes, stored, self.bits)
        if not np.isfinite(self._values(codes) if self.bits == _PLAIN else self.levels).all():
            raise RecpruneError("levels hold NaN or infinity")
        if self.paired:
            rows, columns = np.concatenate([rows, columns]), np.concatenate([columns, rows])
            order = np.lexsort((columns, rows))
            rows, columns, codes = rows[order], columns[order], codes[order]
        # Only rows that have entries are listed: memory follows what is stored, never what a header claims.
        filled, starts = np.unique(rows, return_index=True)
        set_ = object.__setattr__
        set_(self, "_filled", filled.astype(np.int32 if self.dims[0] <= 2**31 else np.int64))
        set_(self, "_starts", np.append(starts, len(rows)).astype(np.int64))
        narrow = np.uint16 if self.dims[1] <= 2**16 else np.int32 if self.dims[1] <= 2**31 else np.int64
        set_(self, "_columns", columns.astype(narrow))
        set_(self, "_codes", codes)

    @classmethod
    def encode(cls, rows: Array, columns: Array, values: Array, dims: tuple[int, ...], bits: int = 5) -> Sparse:
        """Code the entries at `(rows, columns)`, each place once.

        With 32 bits values are kept as they are; with less, up to 2**bits different ones are kept exactly, and more are
        rounded to the levels that Lloyd's algorithm (1982) finds for the least squared error.
        """
        _check_bits(bits)
        values = np.asarray(values, dtype=np.float32)
        if not np.isfinite(values).all():
            raise RecpruneError("cannot store NaN or infinity")
        if bits == _PLAIN:
            return cls._of(rows, columns, values, np.zeros(0, np.float32), bits, dims)
        levels = _levels(values, bits)
        return cls._of(rows, columns, _nearest(values, levels), levels, bits, dims)

    @classmethod
    def from_dense(cls, matrix: Array, bits: int = 5) -> Sparse:
        """Code the entries of an array that are not zero."""
        matrix = np.asarray(matrix)
        if matrix.ndim != 2:
            raise RecpruneError(f"a sparse matrix has two axes, got {matrix.shape}")
        rows, columns = np.nonzero(matrix)
        return cls.encode(rows, columns, matrix[rows, columns], (int(matrix.shape[0]), int(matrix.shape[1])), bits)

    @classmethod
    def _of(cls, rows: Array, columns: Array, codes: Array, levels: Array, bits: int, dims: tuple[int, ...]) -> Sparse:
        """Code places with known codes, in pairs where that is possible."""
        rows, columns = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
        paired = False
        if dims[0] == dims[1] and len(rows) and not (rows == columns).any():
            upper, lower = np.flatnonzero(rows < columns), np.flatnonzero(rows > columns)
            above, below = _pair(rows[upper], columns[upper]), _pair(columns[lower], rows[lower])
            upper, lower = upper[np.argsort(above, kind="stable")], lower[np.argsort(below, kind="stable")]
            paired = len(above) == len(below) and bool((np.sort(above) == np.sort(below)).all())
        if paired:
            places, order = np.sort(above), np.concatenate([upper, lower])
        else:
            flat = rows * dims[1] + columns
            order = np.argsort(flat, kind="stable")
            places = flat[order]
        high, low = elias_fano.encode(places, _universe(dims, paired))
        plain = bits == _PLAIN
        stored = np.ascontiguousarray(codes[order], "<f4").view(np.uint8) if plain else pack(codes[order], bits)
        return cls(high, low, stored, levels, len(places), bits, paired, dims)

    def _places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        places = elias_fano.decode(self.high, self.low, self.entries, _universe(self.dims, self.paired))
        if not self.paired:
            return places // max(self.dims[1], 1), places % max(self.dims[1], 1)
        columns = ((np.sqrt(8.0 * places + 1) + 1) / 2).astype(np.int64)
        # The root is rounded: step back or on to the column with c (c - 1) / 2 <= place < c (c + 1) / 2.
        columns -= columns * (columns - 1) // 2 > places
        columns += columns * (columns + 1) // 2 <= places
        return places - columns * (columns - 1) // 2, columns

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded matrix."""
        return self.dims

    @property
    def stored(self) -> int:
        """Entries with a value: two for each pair."""
        return self.entries * (2 if self.paired else 1)

    @property
    def derived_bytes(self) -> int:
        """Bytes of the rows unpacked in memory."""
        return sum(int(array.nbytes) for array in self._unpacked())

    def coordinates(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Rows, columns and values of all entries, row by row."""
        filled, starts, columns, codes = self._unpacked()
        return np.repeat(filled.astype(np.int64), np.diff(starts)), columns.astype(np.int64), self._values(codes)

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """The rows, as dense float32."""
        rows = np.asarray(rows, dtype=np.int64)
        flat = rows.reshape(-1)
        return self.pool(flat, np.arange(len(flat) + 1)).reshape(*rows.shape, self.dims[1])

    def pool(self, rows: Array, offsets: Array, values: Array | None = None) -> npt.NDArray[np.float32]:
        """Sum of the rows of each bag: only entries are touched, no row is ever made dense."""
        filled, starts, columns, codes = self._unpacked()
        rows, offsets = np.asarray(rows, dtype=np.int64), np.asarray(offsets, dtype=np.int64)
        if len(rows) and (rows.min() < -self.dims[0] or rows.max() >= self.dims[0]):
            raise IndexError(f"row out of range of {self.dims[0]}")
        rows = np.where(rows < 0, rows + self.dims[0], rows)
        result = np.zeros((len(offsets) - 1, self.dims[1]), dtype=np.float32)
        if not len(filled) or not len(rows):
            return result
        rows = rows[offsets[0] : offsets[-1]]
        if len(offsets) == 2 and len(rows) <= FEW and values is None:
            self._add(rows.tolist(), result[0])
            return result
        bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        place = np.minimum(np.searchsorted(filled, rows.astype(filled.dtype)), len(filled) - 1)
        known = filled[place] == rows
        place, bag = place[known], bag[known]
        length = starts[place + 1] - starts[place]
        ends = np.cumsum(length)
        entry = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts[place] - ends + length, length)
        target = np.repeat(bag, length) * self.dims[1] + columns[entry]
        read = self._values(codes[entry])
        if values is not None:
            read = read * np.repeat(values[offsets[0] : offsets[-1]][known], length)
        np.add.at(result.reshape(-1), target, read)
        return result

    def _add(self, rows: list[int], result: npt.NDArray[np.float32]) -> None:
        """Add some rows, one by one: for a single request quicker than places of all their entries at once."""
        filled, starts, columns, codes = self._unpacked()
        for row in rows:
            place = int(filled.searchsorted(filled.dtype.type(row)))  # of another type, numpy would convert them all
            if place < len(filled) and filled[place] == row:
                entries = slice(starts[place], starts[place + 1])
                result[columns[entries]] += self._values(codes[entries])  # no column twice

    def recode(self, array: Array) -> Sparse:
        """Another matrix: its entries that are not zero, with as many bits."""
        return Sparse.from_dense(array, self.bits)

    def cut(self, axis: int, keep: Array) -> Sparse:
        """Keep and reorder rows or columns; the codes stay as they are."""
        rows, columns, _ = self.coordinates()
        keep = np.asarray(keep, dtype=np.int64)
        place = np.full(self.dims[axis], -1, dtype=np.int64)
        place[keep] = np.arange(len(keep))
        moved = place[(rows, columns)[axis]]
        stay = moved >= 0
        new = (moved[stay], columns[stay]) if axis == 0 else (rows[stay], moved[stay])
        dims = (len(keep), self.dims[1]) if axis == 0 else (self.dims[0], len(keep))
        return Sparse._of(*new, self._codes[stay], self.levels, self.bits, dims)  # type: ignore[attr-defined]

    def _values(self, codes: Array) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = codes if self.bits == _PLAIN else self.levels[codes]
        return values

    def _unpacked(self) -> tuple[Array, Array, Array, Array]:
        return self._filled, self._starts, self._columns, self._codes  # type: ignore[attr-defined]


def _universe(dims: tuple[int, ...], paired: bool) -> int:
    return dims[0] * (dims[0] - 1) // 2 if paired else dims[0] * dims[1]


def _pair(low: Array, high: Array) -> npt.NDArray[np.int64]:
    result: npt.NDArray[np.int64] = high * (high - 1) // 2 + low
    return result


def _check_bits(bits: int) -> None:
    if type(bits) is not int or not (1 <= bits <= 8 or bits == _PLAIN):
        raise RecpruneError(f"bits must be 1..8 or {_PLAIN}, got {bits!r}")


def _nearest(values: Array, levels: Array) -> npt.NDArray[np.int64]:
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.int64)


def _levels(values: Array, bits: int) -> npt.NDArray[np.float32]:
    """Sorted levels: every value where there are few, else the better of Lloyd's algorithm from quantiles and from steps."""
    count = 1 << bits
    distinct = np.unique(values)
    if len(distinct) <= count:
        last = distinct[-1] if len(distinct) else np.float32(0)
        return np.concatenate([distinct, np.full(count - len(distinct), last)]).astype(np.float32)
    ordered = np.sort(values).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    middle = (np.arange(count) + 0.5) / count
    starts = np.quantile(ordered, middle), ordered[0] + middle * (ordered[-1] - ordered[0])
    found = [_lloyd(ordered, sums, levels) for levels in starts]
    return min(found, key=lambda pair: pair[0])[1].astype(np.float32)


def _lloyd(ordered: Array, sums: Array, levels: Array) -> tuple[float, Array]:
    """Explained squares, negated (least is best), and the levels."""
    for _ in range(100):
        bounds = np.concatenate([[0], np.searchsorted(ordered, (levels[1:] + levels[:-1]) / 2), [len(ordered)]])
        sizes, totals = np.diff(bounds), np.diff(sums[bounds])
        better = np.where(sizes > 0, totals / np.maximum(sizes, 1), levels)
        explained = -float((totals**2 / np.maximum(sizes, 1)).sum())
        if (better == levels).all():
            break
        levels = better
    return explained, levels
