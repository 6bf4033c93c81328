"""Sorted numbers in about two bits beside their low ones, searched in place: what the compact vocabularies are built on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.bits import FEW, pack, packed_bytes, unpack, unpack_one
from recprune.errors import RecpruneError

__all__ = ["Grouped", "Places"]

Array = npt.NDArray[Any]
_BLOCK = 32  # places for each entry of the directory
_LONGEST = 128  # bytes that a block may take: a hash gives about 8, and each look-up reads a whole one
_CHUNK = 1 << 14


@dataclass(frozen=True, eq=False)
class Places:
    """Different numbers, rising: `bits` low bits of each, packed in `low`; the rest is its place, one of `count`.

    `high` holds in unary how many numbers each place has: place p is a zero at bit p + (numbers in places up to p), and its
    numbers are the ones before. Source: Elias 1974, Fano 1971.
    """

    bits: int
    count: int
    low: npt.NDArray[np.uint8]
    high: npt.NDArray[np.uint8]

    @classmethod
    def build(cls, values: npt.NDArray[np.int64], bits: int, count: int) -> Places:
        """Of different rising numbers from 0 up to `count << bits`.

        Raises RecpruneError where too many of them lie close together.
        """
        marks = np.zeros(count + len(values), dtype=np.uint8)
        marks[(values >> bits) + np.arange(len(values))] = 1
        return cls(bits, count, pack(values & ((1 << bits) - 1), bits), np.packbits(marks))

    def __post_init__(self) -> None:
        count, high = self.count, self.high
        if count > 8 * len(high):
            raise RecpruneError(f"a vocabulary of {count} places is cut short")
        zeros = np.flatnonzero(np.unpackbits(high) == 0)[:count]
        ids = int(zeros[-1]) + 1 - count if len(zeros) else 0
        if len(zeros) < count or len(high) != packed_bytes(count + ids, 1):
            raise RecpruneError(f"a vocabulary of {count} places has marks that do not fit it")
        if len(self.low) != packed_bytes(ids, self.bits):
            raise RecpruneError(f"a vocabulary's low bits do not fit its {ids} ids")
        # First bit of each block of places, and where the last one ends.
        first = np.append(np.append(0, zeros[_BLOCK - 1 : count - 1 : _BLOCK] + 1), count + ids)
        if (np.diff(first) > 8 * _LONGEST).any():
            raise RecpruneError(f"a vocabulary has more than {8 * _LONGEST - _BLOCK} ids in {_BLOCK} places")
        object.__setattr__(self, "_starts", first.astype(np.uint32))

    def __len__(self) -> int:
        starts: Array = self._starts  # type: ignore[attr-defined]
        return int(starts[-1]) - self.count

    def find(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which number each value is, in their order; -1 for one that is not there. All within 0 .. `count << bits`."""
        if len(values) <= FEW:
            return np.array([self.find_one(value) for value in values.tolist()], dtype=np.int64)
        found = np.full(len(values), -1, dtype=np.int64)
        for begin in range(0, len(values) if self.count else 0, _CHUNK):
            chunk = values[begin : begin + _CHUNK]
            low, mine = chunk & ((1 << self.bits) - 1), np.arange(begin, begin + len(chunk))
            at, stop = self._run(chunk >> self.bits)
            while len(mine):
                inside = at < stop
                mine, at, stop, low = mine[inside], at[inside], stop[inside], low[inside]
                same = unpack(self.low, at, self.bits) == low
                found[mine[same]] = at[same]
                mine, at, stop, low = mine[~same], at[~same] + 1, stop[~same], low[~same]
        return found

    def find_one(self, value: int) -> int:
        """As `find`, of one value."""
        if not self.count:
            return -1
        block, nth = divmod(value >> self.bits, _BLOCK)
        first, last = self._starts[block : block + 2].tolist()  # type: ignore[attr-defined]
        inside = self.high[first >> 3 : (last + 7) >> 3].tobytes()
        marks = f"{int.from_bytes(inside):0{8 * len(inside)}b}"[first & 7 :].split("0", nth + 1)
        at = first - block * _BLOCK + sum(map(len, marks[:nth]))
        stop = at + len(marks[nth])
        low = value & ((1 << self.bits) - 1)
        return next((i for i in range(at, stop) if unpack_one(self.low, i, self.bits) == low), -1)

    def _run(self, place: Array) -> tuple[Array, Array]:
        """First number of each place and the one after its last: the bits of its block are read, its zeros counted."""
        starts: Array = self._starts  # type: ignore[attr-defined]
        block, nth = place // _BLOCK, place % _BLOCK
        first, last = starts[block].astype(np.int64), starts[block + 1].astype(np.int64)
        width = int((((last + 7) >> 3) - (first >> 3)).max(initial=0))
        inside = (first >> 3)[:, None] + np.arange(width)
        bits = np.unpackbits(self.high[np.minimum(inside, len(self.high) - 1)], axis=1)
        # Bits before the block count as ones, which are not counted.
        skip = (first & 7)[:, None]
        zeros = np.cumsum((bits == 0) & (np.arange(bits.shape[1]) >= skip), axis=1, dtype=np.uint16)
        # The place ends at its own zero, zero number nth + 1, and starts behind the one before.
        stop = np.argmax(zeros > nth[:, None], axis=1)
        start = np.where(nth == 0, skip[:, 0], np.argmax(zeros == nth[:, None], axis=1) + 1)
        # Ones before a bit: bits before it, less the zeros among them.
        base = first - skip[:, 0] - block * _BLOCK - nth
        return base + start, base + stop

    @property
    def nbytes(self) -> int:
        """Bytes as stored."""
        return self.low.nbytes + self.high.nbytes

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory: what is stored and the directory derived from it (a bit a place)."""
        starts: Array = self._starts  # type: ignore[attr-defined]
        return self.nbytes + starts.nbytes


class Grouped:
    """What vocabularies have in common whose groups of ids are `Places`."""

    groups: tuple[Places, ...]

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory."""
        return sum(group.resident_bytes for group in self.groups)

    def arrays(self) -> dict[str, Array]:
        """Low and high bits of each group."""
        found = {f"low.{i}": group.low for i, group in enumerate(self.groups)}
        return found | {f"high.{i}": group.high for i, group in enumerate(self.groups)}
