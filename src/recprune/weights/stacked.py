"""Tables whose rows are stored in groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.bits import pack, packed_bytes, unpack
from recprune.errors import RecpruneError
from recprune.weights.encoding import Encoding

__all__ = ["Stacked", "part_bits"]

Array = npt.NDArray[Any]
_BLOCK = 32  # rows for each entry of the directory over packed groups


@dataclass(frozen=True, eq=False)
class Stacked(Encoding):
    """Groups of rows, each with an encoding and a width of its own.

    Parts narrower than the widest are zero in their missing last columns (mixed dimensions: Ginart et al. 2021).
    `order` says which part each row lies in; within a part rows keep their order. It is empty where the rows of one part
    follow those of the part before; else the first row and the part of each run as int32, or, where that is smaller,
    the part of each row in 1, 2, 4 or 8 bits. An artifact renumbers rows so that runs are few.
    """

    kind: ClassVar[str] = "stacked"
    parts: tuple[Encoding, ...]
    order: Array = field(default_factory=lambda: np.zeros(0, np.int32))

    @classmethod
    def encode(cls, which: Array, parts: tuple[Encoding, ...]) -> Stacked:
        """`which`: the number of the part of each row; `parts`: as many rows each as have its number, in their order."""
        which = np.asarray(which, dtype=np.int64)
        if (np.diff(which) >= 0).all():
            return cls(parts)
        first = np.flatnonzero(np.diff(which, prepend=-1))
        runs = np.stack([first, which[first]], axis=1).astype(np.int32).reshape(-1)
        packed = pack(which, part_bits(len(parts)))
        return cls(parts, runs if runs.nbytes <= packed.nbytes else packed)

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple) or not self.parts or not all(isinstance(p, Encoding) for p in self.parts):
            raise RecpruneError("stacked needs one encoding or more")
        if any(len(part.shape) != 2 for part in self.parts) or len(self.parts) > 256:
            raise RecpruneError("stacked parts must be at most 256 tables of two axes")
        rows = np.array([part.shape[0] for part in self.parts])
        if self.order.dtype == np.uint8 and self.order.shape == (packed_bytes(self.shape[0], part_bits(len(rows))),):
            # For each block, how many rows of each part lie before it.
            which = self._packed(np.arange(self.shape[0]))
            block, most = np.arange(self.shape[0]) // _BLOCK, 1 << part_bits(len(rows))
            size = (self.shape[0] // _BLOCK + 1) * most
            counts = np.bincount(block * most + which, minlength=size).reshape(-1, most)
            fits = not counts[:, len(rows) :].any() and np.array_equal(counts.sum(axis=0)[: len(rows)], rows)
            counts = counts[:, : len(rows)]
            directory = (np.cumsum(counts, axis=0) - counts).astype(np.int32)
        elif self.order.dtype == np.int32 and self.order.ndim == 1 and len(self.order) % 2 == 0:
            # For each run, its first row, its part, and how many rows of the part lie before it.
            starts, part = self.order.reshape(-1, 2).T.astype(np.int64)
            if not len(starts):
                starts, part = np.cumsum(rows) - rows, np.arange(len(rows))
            ends = np.append(starts[1:], self.shape[0])
            fits = starts[0] == 0 and part.min() >= 0 and part.max() < len(rows) and bool((starts <= ends).all())
            length = (ends - starts) * fits
            fits = fits and np.array_equal(np.bincount(part, length, len(rows)), rows)
            by_part = np.argsort(part, kind="stable")
            before = np.cumsum(length[by_part]) - length[by_part]
            first = np.searchsorted(part[by_part], part[by_part])
            directory = np.stack([starts, part, np.zeros_like(starts)])
            directory[2, by_part] = before - before[first]
        else:
            raise RecpruneError(
                f"order of stacked rows must be runs or packed numbers of parts, got {self.order.shape}"
            )
        if not fits:
            raise RecpruneError(f"order of stacked rows does not fit parts of {rows.tolist()} rows")
        object.__setattr__(self, "_directory", directory)

    @property
    def shape(self) -> tuple[int, ...]:
        """All rows, and the width of the widest part."""
        return (sum(part.shape[0] for part in self.parts), max(part.shape[1] for part in self.parts))

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory, with the directory that finds rows in their parts."""
        directory: Array = self._directory  # type: ignore[attr-defined]
        return directory.nbytes + super().resident_bytes

    def position(self, rows: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The part that each row lies in, and its place there."""
        rows = np.asarray(rows, dtype=np.int64)
        directory: Array = self._directory  # type: ignore[attr-defined]
        if self.order.dtype == np.int32:
            run = np.searchsorted(directory[0], rows, side="right") - 1
            return directory[1][run], directory[2][run] + rows - directory[0][run]
        which = self._packed(rows)
        block = rows // _BLOCK
        inside = block[..., None] * _BLOCK + np.arange(_BLOCK)
        same = self._packed(np.minimum(inside, self.shape[0] - 1)) == which[..., None]
        before = (same & (inside < rows[..., None])).sum(axis=-1)
        return which, directory[block, which] + before

    def _packed(self, rows: Array) -> npt.NDArray[np.int64]:
        return unpack(self.order, rows, part_bits(len(self.parts))).astype(np.int64)

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Rows from their parts, zeros beyond a part's width."""
        which, place = self.position(rows)
        result = np.zeros((*which.shape, self.shape[1]), dtype=np.float32)
        for i, part in enumerate(self.parts):
            chosen = which == i
            if chosen.any():
                values = np.zeros((int(chosen.sum()), self.shape[1]), dtype=np.float32)
                values[:, : part.shape[1]] = part.take(place[chosen])
                result[chosen] = values
        return result

    def mask(self) -> npt.NDArray[np.bool_]:
        """Which rows their parts store for themselves."""
        which, _ = self.position(np.arange(self.shape[0]))
        mask = np.empty(len(which), dtype=bool)
        for i, part in enumerate(self.parts):
            mask[which == i] = part.mask()
        return mask

    def recode(self, array: Array) -> Stacked:
        """The same groups, widths and encodings for another array of as many rows."""
        if len(array) != self.shape[0]:
            raise RecpruneError(f"a table of {len(array)} rows does not fit groups of {self.shape[0]}")
        which, _ = self.position(np.arange(len(array)))
        parts = [part.recode(array[which == i][:, : part.shape[1]]) for i, part in enumerate(self.parts)]
        return Stacked(tuple(parts), self.order)

    def cut(self, axis: int, keep: Array) -> Encoding:
        """Cut each part by what falls into it."""
        keep = np.asarray(keep, dtype=np.int64)
        if axis == 1:
            # Where a part is narrower, others follow what is zero of it.
            if (np.diff(keep) < 0).any() and len({part.shape[1] for part in self.parts}) > 1:
                raise RecpruneError("the columns of a stacked table of several widths are kept in their order")
            return Stacked(tuple(part.cut(1, keep[keep < part.shape[1]]) for part in self.parts), self.order)
        which, place = self.position(keep)
        return Stacked.encode(which, tuple(part.cut(0, place[which == i]) for i, part in enumerate(self.parts)))

    def map_dense(self, function: Callable[[Encoding], Encoding]) -> Encoding:
        """Act on each part."""
        return Stacked(tuple(part.map_dense(function) for part in self.parts), self.order)


def part_bits(parts: int) -> int:
    """Bits of a part's number, such that none crosses a byte."""
    return next(width for width in (1, 2, 4, 8) if parts <= 1 << width)
