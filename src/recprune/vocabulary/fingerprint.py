"""A hash of each id instead of the id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.bits import fnv64, mix64, pack, packed_bytes, unpack
from recprune.errors import RecpruneError
from recprune.vocabulary.keys import as_bytes, id_keys

__all__ = ["FingerprintVocabulary"]

Array = npt.NDArray[Any]
_BLOCK = 32  # places for each entry of the directory
_LONGEST = 128  # bytes that a block may take: a hash gives about 8, and what is longer was made up
_CHUNK = 1 << 14


@dataclass(frozen=True, eq=False)
class FingerprintVocabulary:
    """A hash of each id instead of the id: about `bits + 2` bits an id, searched in place, whatever the id's length.

    The ids of a group of n lie in n places by one half of a hash and are told apart by `bits` of the other half, packed in
    `low`; `high` holds in unary how many ids each place has. A known id is always found. Any other is taken for a known
    one with probability of about 2**-bits a group, the declared error of this encoding; so is a known id of a later
    group, which then reads the row of an earlier one. Source: Cleary 1984 (quotienting); Elias 1974, Fano 1971.
    """

    bits: int
    counts: tuple[int, ...]
    low: tuple[npt.NDArray[np.uint8], ...]
    high: tuple[npt.NDArray[np.uint8], ...]

    @classmethod
    def build(cls, groups: list[Array], bits: int) -> tuple[FingerprintVocabulary, list[npt.NDArray[np.int64]]]:
        """The vocabulary, and for each group the ids that became rows, in row order.

        Two ids of one hash cannot both have a row: the first given does (give the most popular first), both read it.
        """
        _check_bits(bits)
        if groups:
            id_keys(np.concatenate(groups))
        orders, lows, highs = [], [], []
        for i, group in enumerate(groups):
            place, low = _placed(fnv64(group), i, len(group), bits)
            unique, first = np.unique(place << bits | low, return_index=True)
            orders.append(first.astype(np.int64))
            lows.append(pack(unique & ((1 << bits) - 1), bits))
            # Place p is a zero at bit p + (ids in places up to p), its ids the ones before.
            marks = np.zeros(len(group) + len(unique), dtype=np.uint8)
            marks[(unique >> bits) + np.arange(len(unique))] = 1
            highs.append(np.packbits(marks))
        return cls(bits, tuple(len(group) for group in groups), tuple(lows), tuple(highs)), orders

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        if not len(self.counts) == len(self.low) == len(self.high):
            raise RecpruneError("a fingerprint vocabulary's groups do not fit together")
        starts = []
        for count, low, high in zip(self.counts, self.low, self.high, strict=True):
            if count > 8 * len(high):
                raise RecpruneError(f"a fingerprint vocabulary of {count} places is cut short")
            zeros = np.flatnonzero(np.unpackbits(high) == 0)[:count]
            ids = int(zeros[-1]) + 1 - count if len(zeros) else 0
            if len(zeros) < count or len(high) != packed_bytes(count + ids, 1) or ids > count:
                raise RecpruneError(f"a fingerprint vocabulary of {count} places has marks that do not fit it")
            if len(low) != packed_bytes(ids, self.bits):
                raise RecpruneError(f"a fingerprint vocabulary's low bits do not fit its {ids} ids")
            # First bit of each block of places, and where the last one ends.
            first = np.append(np.append(0, zeros[_BLOCK - 1 : count - 1 : _BLOCK] + 1), count + ids)
            if (np.diff(first) > 8 * _LONGEST).any():
                raise RecpruneError("a fingerprint vocabulary's marks are no hash's")
            starts.append(first.astype(np.uint32))
        object.__setattr__(self, "_starts", tuple(starts))

    def __len__(self) -> int:
        starts: tuple[Array, ...] = self._starts  # type: ignore[attr-defined]
        return sum(int(first[-1]) for first in starts) - sum(self.counts)

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        rows = np.full(len(values), len(self), dtype=np.int64)
        hashed = fnv64(as_bytes(values))
        starts: tuple[Array, ...] = self._starts  # type: ignore[attr-defined]
        row = 0
        for i, count in enumerate(self.counts):
            open_ = np.flatnonzero(rows == len(self))
            for begin in range(0, len(open_) if count else 0, _CHUNK):
                part = open_[begin : begin + _CHUNK]
                place, low = _placed(hashed[part], i, count, self.bits)
                at, stop = _run(self.high[i], starts[i], place)
                while len(part):
                    inside = at < stop
                    part, at, stop, low = part[inside], at[inside], stop[inside], low[inside]
                    same = unpack(self.low[i], at, self.bits) == low
                    rows[part[same]] = row + at[same]
                    part, at, stop, low = part[~same], at[~same] + 1, stop[~same], low[~same]
            row += int(starts[i][-1]) - count
        return rows

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory: what is stored and the directory derived from it (a bit an id)."""
        starts: tuple[Array, ...] = self._starts  # type: ignore[attr-defined]
        return sum(a.nbytes for a in (*self.low, *self.high, *starts))

    def arrays(self) -> dict[str, Array]:
        """Low and high bits of each group."""
        found = {f"low.{i}": low for i, low in enumerate(self.low)}
        return found | {f"high.{i}": high for i, high in enumerate(self.high)}

    def spec(self) -> dict[str, Any]:
        """Bits of a fingerprint and places of each group."""
        return {"vocabulary": "fingerprint", "bits": self.bits, "counts": list(self.counts)}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], arrays: dict[str, Array]) -> FingerprintVocabulary:
        """The vocabulary that `spec()` and `arrays()` describe; the constructor validates."""
        counts = spec["counts"]
        low, high = (tuple(arrays[f"{part}.{i}"] for i in range(len(counts))) for part in ("low", "high"))
        return cls(spec["bits"], tuple(counts), low, high)


def _check_bits(bits: int) -> None:
    if type(bits) is not int or not 1 <= bits <= 16:
        raise RecpruneError(f"fingerprint bits must be 1..16, got {bits!r}")


def _placed(
    hashed: npt.NDArray[np.uint64], group: int, places: int, bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Place and low bits of each id in a group."""
    mixed = mix64(hashed, group)
    # A multiply-shift spreads the upper half evenly over any number of places (Lemire 2019).
    place = ((mixed >> np.uint64(32)) * np.uint64(places)) >> np.uint64(32)
    return place.astype(np.int64), (mixed & np.uint64((1 << bits) - 1)).astype(np.int64)


def _run(high: npt.NDArray[np.uint8], starts: Array, place: Array) -> tuple[Array, Array]:
    """First id of each place and the one after its last: the bits of the place's block are read, its zeros counted."""
    block, nth = place // _BLOCK, place % _BLOCK
    first, last = starts[block].astype(np.int64), starts[block + 1].astype(np.int64)
    width = int((((last + 7) >> 3) - (first >> 3)).max(initial=0))
    inside = (first >> 3)[:, None] + np.arange(width)
    bits = np.unpackbits(high[np.minimum(inside, len(high) - 1)], axis=1)
    # Bits before the block count as ones, which are not counted.
    skip = (first & 7)[:, None]
    zeros = np.cumsum((bits == 0) & (np.arange(bits.shape[1]) >= skip), axis=1, dtype=np.uint16)
    # The place ends at its own zero, zero number nth + 1, and starts behind the one before.
    stop = np.argmax(zeros > nth[:, None], axis=1)
    start = np.where(nth == 0, skip[:, 0], np.argmax(zeros == nth[:, None], axis=1) + 1)
    # Ones before a bit: bits before it, less the zeros among them.
    base = first - skip[:, 0] - block * _BLOCK - nth
    return base + start, base + stop
