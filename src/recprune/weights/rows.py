"""Tables of which only some rows are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.bits import FEW
from recprune.errors import RecpruneError
from recprune.weights.encoding import Encoding

__all__ = ["Rows"]

Array = npt.NDArray[Any]
_BLOCK = 8  # bytes of bitmap for each entry of the rank directory: half a bit a row


@dataclass(frozen=True, eq=False)
class Rows(Encoding):
    """Only the kept rows are stored; a dropped row reads row `default` of what is stored.

    `kept` is a bitmap over the rows (one bit each, most significant first), or, where that is smaller, the bounds of
    the runs of kept rows as int32: a table that keeps its first thousand rows spends 8 bytes on saying so. The rank
    directory that makes look-ups fast is derived on load (half a bit a row of a bitmap, four bytes a run).
    """

    kind: ClassVar[str] = "rows"
    kept: Array
    inner: Encoding
    default: int
    rows: int

    @classmethod
    def encode(cls, kept: Array, inner: Encoding, default: int) -> Rows:
        """`kept`: boolean, one a row; `inner`: an encoding whose first rows are the kept ones in order."""
        kept = np.asarray(kept, dtype=bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
        runs = edges.astype(np.int32)
        bitmap = np.packbits(kept)
        return cls(runs if runs.nbytes < bitmap.nbytes else bitmap, inner, int(default), len(kept))

    def __post_init__(self) -> None:
        if type(self.rows) is not int or not 0 <= self.rows < 2**31:
            raise RecpruneError(f"rows must be a count below 2**31, got {self.rows!r}")
        if type(self.default) is not int or not isinstance(self.inner, Encoding) or self.kept.ndim != 1:
            raise RecpruneError("rows need the marks of the kept ones, an encoding, and the place of the default row")
        if self.kept.dtype == np.uint8:
            if self.kept.shape != ((self.rows + 7) // 8,):
                raise RecpruneError(f"bitmap of kept rows has {self.kept.shape} bytes for {self.rows} rows")
            if self.rows % 8 and self.kept[-1] & (0xFF >> self.rows % 8):
                raise RecpruneError(f"bitmap of kept rows marks rows beyond the last of {self.rows}")
            counts = _POPCOUNT[self.kept]
            lengths = (
                np.add.reduceat(counts, np.arange(0, len(counts), _BLOCK), dtype=np.int64) if self.rows else counts
            )
        elif self.kept.dtype == np.int32:
            edges = self.kept
            if (
                len(edges) % 2
                or (np.diff(edges) <= 0).any()
                or (len(edges) and (edges[0] < 0 or edges[-1] > self.rows))
            ):
                raise RecpruneError(f"runs of kept rows are not increasing bounds within {self.rows} rows")
            lengths = edges[1::2] - edges[::2]
        else:
            raise RecpruneError(f"kept rows must be a bitmap or runs, got {self.kept.dtype}")
        rank = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        object.__setattr__(self, "_rank", rank)
        stored = int(rank[-1])
        if not stored <= self.inner.shape[0] or not 0 <= self.default < self.inner.shape[0]:
            raise RecpruneError(
                f"{stored} kept rows and default {self.default} do not fit the {self.inner.shape[0]} rows stored"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array: all rows, kept or not."""
        return (self.rows, *self.inner.shape[1:])

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory, with the rank directory."""
        rank: Array = self._rank  # type: ignore[attr-defined]
        return rank.nbytes + super().resident_bytes

    def mask(self) -> npt.NDArray[np.bool_]:
        """Which rows are kept."""
        if self.kept.dtype == np.uint8:
            return np.unpackbits(self.kept, count=self.rows).astype(bool)
        mask = np.zeros(self.rows, dtype=bool)
        for start, stop in self.kept.reshape(-1, 2):
            mask[start:stop] = True
        return mask

    def position(self, rows: Array) -> npt.NDArray[np.int64]:
        """Where each row lies in what is stored."""
        rows = np.asarray(rows, dtype=np.int64)
        rank: Array = self._rank  # type: ignore[attr-defined]
        if rows.size <= FEW:
            few = [self._position(row) for row in rows.reshape(-1).tolist()]
            return np.array(few, dtype=np.int64).reshape(rows.shape)
        if self.kept.dtype == np.uint8:
            byte = rows >> 3
            block = byte // _BLOCK
            inside = block[..., None] * _BLOCK + np.arange(_BLOCK)
            counts = _POPCOUNT[self.kept[np.minimum(inside, len(self.kept) - 1)]]
            before = np.where(inside < byte[..., None], counts, np.uint8(0)).sum(axis=-1, dtype=np.int64)
            here = self.kept[byte]
            bit = rows & 7
            before += _POPCOUNT[here & (0xFF00 >> bit & 0xFF).astype(np.uint8)]
            found = (here >> (7 - bit).astype(np.uint8)) & 1 == 1
            position = rank[block] + before
        elif len(self.kept) == 0:
            return np.full(rows.shape, self.default, dtype=np.int64)
        else:
            run = np.searchsorted(self.kept[::2], rows, side="right") - 1
            safe = np.maximum(run, 0)
            found = (run >= 0) & (rows < self.kept[1::2][safe])
            position = rank[safe] + rows - self.kept[::2][safe]
        return np.where(found, position, self.default)

    def _position(self, row: int) -> int:
        """As `position`, of one row."""
        rank: Array = self._rank  # type: ignore[attr-defined]
        if not 0 <= row < self.rows:
            raise IndexError(f"row {row} out of range of {self.rows}")
        if self.kept.dtype == np.uint8:
            byte = row >> 3
            block = byte // _BLOCK
            # The bits up to this row's own, which is the last of them.
            bits = int.from_bytes(self.kept[block * _BLOCK : byte + 1].tobytes()) >> (~row & 7)
            return int(rank[block]) + bits.bit_count() - 1 if bits & 1 else self.default
        run = int(self.kept[::2].searchsorted(row, side="right")) - 1
        if run < 0 or row >= self.kept[2 * run + 1]:
            return self.default
        return int(rank[run]) + row - int(self.kept[2 * run])

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Dropped rows read the default row."""
        return self.inner.take(self.position(rows))

    def recode(self, array: Array) -> Rows:
        """Keep the same rows of another array."""
        mask = self.mask()
        if len(array) != self.rows:
            raise RecpruneError(f"a table of {len(array)} rows does not fit {self.rows} kept marks")
        stored = np.take(array, np.flatnonzero(mask), axis=0)
        if self.inner.shape[0] > len(stored):
            dropped = np.flatnonzero(~mask)
            tail = array[dropped[:1]] if len(dropped) else np.zeros((1, *array.shape[1:]), array.dtype)
            stored = np.concatenate([stored, tail])
        return Rows.encode(mask, self.inner.recode(stored), self.default)

    def cut(self, axis: int, keep: Array) -> Encoding:
        """Cutting rows cuts the marks and what is stored; cutting columns cuts what is stored."""
        if axis != 0:
            return Rows.encode(self.mask(), self.inner.cut(axis, keep), self.default)
        keep = np.asarray(keep, dtype=np.int64)
        mask = self.mask()[keep]
        stored = self.position(keep[mask])
        if mask.all():
            return self.inner.cut(0, stored)
        inside = np.flatnonzero(stored == self.default)
        default = int(inside[0]) if len(inside) else len(stored)
        if not len(inside):
            stored = np.append(stored, self.default)
        return Rows.encode(mask, self.inner.cut(0, stored), default)

    def map_stored(self, function: Callable[[Encoding, Array], Encoding], shares: Array) -> Rows:
        """Replace what is stored by `function` of it and of the reads of each stored row; `shares`: reads of all rows."""
        read = np.bincount(self.position(np.arange(self.rows)), shares, self.inner.shape[0]).astype(np.float64)
        return Rows(self.kept, function(self.inner, read), self.default, self.rows)

    def map_dense(self, function: Callable[[Encoding], Encoding]) -> Encoding:
        """Act on the stored rows."""
        return Rows(self.kept, self.inner.map_dense(function), self.default, self.rows)


_POPCOUNT = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)
