"""From an id to the row of a table.

Both kinds give rows 0..n-1 to n known ids and row n, the out-of-vocabulary row, to every other. Ids come in groups,
and each group's rows are contiguous: a group is the ids whose rows are stored alike (see artifact.layout). Within a
group the vocabulary chooses the order that it stores best.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recprune.bits import hash64, pack, unpack
from recprune.errors import RecpruneError

__all__ = [
    "ExactVocabulary",
    "FingerprintVocabulary",
    "ListedVocabulary",
    "Lookup",
    "Vocabulary",
    "pair_keys",
    "vocabulary_from",
]

Array = npt.NDArray[Any]
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


class Lookup(Protocol):
    """What the runtime needs of a vocabulary."""

    def __len__(self) -> int: ...

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""


class Vocabulary(Lookup, Protocol):
    """What the artifact needs beside."""

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory."""

    def arrays(self) -> dict[str, Array]:
        """What is stored."""

    def spec(self) -> dict[str, Any]:
        """What is stored beside the arrays, as JSON."""


def pair_keys(left: Array, right: Array) -> Array:
    """One text key for each pair of ids.

    >>> pair_keys(np.array(["u1"]), np.array(["a"])).tolist()
    ['u1\\x1fa']
    """
    return np.char.add(np.char.add(np.asarray(left).astype(np.str_), "\x1f"), np.asarray(right).astype(np.str_))


@dataclass(frozen=True, eq=False)
class ExactVocabulary:
    """Every id, in sorted groups; stored as xz of the sorted ids, searched as fixed-width bytes in memory."""

    groups: tuple[Array, ...]

    @classmethod
    def build(cls, groups: list[Array]) -> tuple[ExactVocabulary, list[npt.NDArray[np.int64]]]:
        """The vocabulary, and for each group the order in which its ids became rows."""
        keys = [_bytes(group) for group in groups]
        orders = [np.argsort(group, kind="stable") for group in keys]
        whole = np.concatenate(keys) if len(keys) > 1 else keys[0]
        if len(np.unique(whole)) != len(whole):
            raise RecpruneError("an id is twice in a vocabulary")
        return cls(tuple(group[order] for group, order in zip(keys, orders, strict=True))), orders

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        rows = np.full(len(values), len(self), dtype=np.int64)
        if not len(values):
            return rows
        start = 0
        for group in self.groups:
            if len(group):
                wanted = _like(group, values)
                at = np.minimum(np.searchsorted(group, wanted), len(group) - 1)
                rows = np.where(group[at] == wanted, start + at, rows)
            start += len(group)
        return rows

    def ids(self) -> Array:
        """All ids in row order, as text or integers."""
        parts = [np.char.decode(g, "utf-8") if g.dtype.kind == "S" else g for g in self.groups]
        return np.concatenate(parts) if parts else np.zeros(0, np.str_)

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory."""
        return sum(group.nbytes for group in self.groups)

    def arrays(self) -> dict[str, Array]:
        """The groups, compressed."""
        return self._compressed

    @cached_property
    def _compressed(self) -> dict[str, Array]:
        found = {}
        for i, group in enumerate(self.groups):
            if group.dtype.kind == "S":
                raw = b"\n".join(group.tolist())
            else:
                raw = (
                    np.diff(group, prepend=group.dtype.type(0))
                    .astype(np.int64)
                    .view(np.uint8)
                    .reshape(-1, 8)
                    .T.tobytes()
                )
            packed = lzma.compress(raw, format=lzma.FORMAT_RAW, filters=_XZ)
            found[f"ids.{i}"] = np.frombuffer(packed, dtype=np.uint8)
        return found

    def spec(self) -> dict[str, Any]:
        """Counts and type of the ids."""
        return {
            "vocabulary": "exact",
            "counts": [len(group) for group in self.groups],
            "type": "text" if all(group.dtype.kind == "S" for group in self.groups) else "integer",
        }


@dataclass(frozen=True, eq=False)
class FingerprintVocabulary:
    """A hash of each id instead of the id: `bits + 2` bits an id, searched in place, whatever the id's length.

    Hashes of one group lie in n * 2**bits places, sorted and Elias-Fano coded: `low` bits packed, the rest in unary in
    `high`. An id that was never seen is taken for a known one with probability of about 2**-bits a group, the declared
    error of this encoding; known ids are always found. Source: Elias 1974, Fano 1971; Cleary 1984 (quotienting).
    """

    bits: int
    counts: tuple[int, ...]
    low: tuple[npt.NDArray[np.uint8], ...]
    high: tuple[npt.NDArray[np.uint8], ...]

    @classmethod
    def build(cls, groups: list[Array], bits: int) -> tuple[FingerprintVocabulary, list[npt.NDArray[np.int64]]]:
        """The vocabulary, and for each group the ids that became rows, in row order.

        Two ids of one hash cannot both stay: the first given (give the most popular first) does.
        """
        if not 1 <= bits <= 16:
            raise RecpruneError(f"fingerprint bits must be in 1..16, got {bits}")
        orders, lows, highs = [], [], []
        for i, group in enumerate(groups):
            places = _places(group, i, len(group), bits)
            unique, first = np.unique(places, return_index=True)
            # Places were spread over the number of ids given; fewer rows than that are stored.
            orders.append(first.astype(np.int64))
            lows.append(pack(unique & ((1 << bits) - 1), bits))
            marks = np.zeros(len(group) + len(unique) + 1, dtype=np.uint8)
            marks[(unique >> bits) + np.arange(len(unique))] = 1
            highs.append(np.packbits(marks))
        counts = tuple(len(group) for group in groups)
        return cls(bits, counts, tuple(lows), tuple(highs)), orders

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16 or not len(self.counts) == len(self.low) == len(self.high):
            raise RecpruneError("a fingerprint vocabulary's groups do not fit together")
        starts = []
        for count, low, high in zip(self.counts, self.low, self.high, strict=True):
            marks = np.unpackbits(high)
            zeros = np.flatnonzero(marks == 0)
            if len(zeros) <= count:
                raise RecpruneError(f"a fingerprint vocabulary of {count} places is cut short")
            # Rank at the end of each place: ones before the (place + 1)-th zero.
            ends = (zeros[: count + 1] - np.arange(count + 1)).astype(np.uint32)
            if len(low) != (int(ends[-1]) * self.bits + 7) // 8:
                raise RecpruneError("a fingerprint vocabulary's low bits do not fit its marks")
            starts.append(ends)
        object.__setattr__(self, "_ends", tuple(starts))

    def __len__(self) -> int:
        ends: tuple[Array, ...] = self._ends  # type: ignore[attr-defined]
        return sum(int(e[-1]) for e in ends)

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        rows = np.full(len(values), len(self), dtype=np.int64)
        ends: tuple[Array, ...] = self._ends  # type: ignore[attr-defined]
        start = 0
        for i, count in enumerate(self.counts):
            if count and len(values):
                places = _places(values, i, count, self.bits)
                place, low = (places >> self.bits), places & ((1 << self.bits) - 1)
                stop = ends[i][place].astype(np.int64)
                at = np.where(place > 0, ends[i][np.maximum(place, 1) - 1], 0).astype(np.int64)
                open_ = (at < stop) & (rows == len(self))
                while open_.any():
                    hit = np.flatnonzero(open_)
                    same = unpack(self.low[i], at[hit], self.bits) == low[hit]
                    rows[hit[same]] = start + at[hit[same]]
                    at[hit] += 1
                    open_[hit] = ~same & (at[hit] < stop[hit])
            start += int(ends[i][-1])
        return rows

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory: what is stored and the directory derived from it."""
        ends: tuple[Array, ...] = self._ends  # type: ignore[attr-defined]
        return sum(a.nbytes for a in (*self.low, *self.high, *ends))

    def arrays(self) -> dict[str, Array]:
        """Low and high bits of each group."""
        found = {f"low.{i}": low for i, low in enumerate(self.low)}
        return found | {f"high.{i}": high for i, high in enumerate(self.high)}

    def spec(self) -> dict[str, Any]:
        """Bits of a fingerprint and places of each group."""
        return {"vocabulary": "fingerprint", "bits": self.bits, "counts": list(self.counts)}


def vocabulary_from(spec: dict[str, Any], arrays: dict[str, Array]) -> ExactVocabulary | FingerprintVocabulary:
    """The vocabulary that `spec()` and `arrays()` describe. Raises RecpruneError where they do not fit together."""
    try:
        counts = tuple(int(c) for c in spec["counts"])
        if min(counts, default=0) < 0:
            raise RecpruneError("a vocabulary's counts are negative")
        if spec["vocabulary"] == "fingerprint":
            n = range(len(counts))
            low, high = (tuple(arrays[f"{part}.{i}"] for i in n) for part in ("low", "high"))
            return FingerprintVocabulary(int(spec["bits"]), counts, low, high)
        groups = tuple(_unpacked(arrays[f"ids.{i}"], count, spec["type"]) for i, count in enumerate(counts))
        return ExactVocabulary(groups)
    except (KeyError, TypeError, lzma.LZMAError) as error:
        raise RecpruneError(f"a vocabulary is malformed: {error}") from error


def _unpacked(packed: Array, count: int, kind: str) -> Array:
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_XZ)
    raw = reader.decompress(packed.tobytes(), max_length=max(count, 1) * (8 if kind == "integer" else 512))
    if kind == "integer":
        if len(raw) != 8 * count:
            raise RecpruneError(f"a vocabulary of {count} integers holds {len(raw)} bytes")
        return np.frombuffer(raw, np.uint8).reshape(8, count).T.copy().view(np.int64).reshape(-1).cumsum()
    ids = raw.split(b"\n") if count else []
    if len(ids) != count:
        raise RecpruneError(f"a vocabulary of {count} ids holds {len(ids)}")
    return np.array(ids, dtype=np.bytes_)


def _bytes(values: Array) -> Array:
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    encoded = values if values.dtype.kind == "S" else np.char.encode(values.astype(np.str_), "utf-8")
    if len(encoded) and (np.char.count(encoded, b"\n") > 0).any():
        raise RecpruneError("an id holds a line break")
    return encoded


def _like(group: Array, values: Array) -> Array:
    """Request ids as the type of the vocabulary's: text that is no integer is unknown to an integer vocabulary."""
    values = np.asarray(values)
    if group.dtype.kind == "S":
        return np.char.encode(values.astype(np.str_), "utf-8")
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    text = values.astype(np.str_)
    good = np.char.isdigit(text)
    return np.where(good, text, str(np.iinfo(np.int64).min)).astype(np.int64)


def _places(values: Array, group: int, count: int, bits: int) -> npt.NDArray[np.int64]:
    values = np.asarray(values)
    if values.dtype.kind not in "iuS":
        values = values.astype(np.str_)
    # A multiply-shift on the upper 32 bits spreads evenly over any number of places (Lemire 2019).
    upper = (hash64(values, seed=group) >> np.uint64(32)).astype(np.uint64)
    if count << bits >= 1 << 32:
        raise RecpruneError(f"{count} ids with {bits} bits need more places than a 32-bit hash has")
    return ((upper * np.uint64(count << bits)) >> np.uint64(32)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ListedVocabulary:
    """Ids in the order of their rows, whatever it is: what a model in training has. It is never stored.

    >>> ListedVocabulary(np.array(["b", "a"])).lookup(np.array(["a", "b", "c"])).tolist()
    [1, 0, 2]
    """

    ids: Array

    def __post_init__(self) -> None:
        keys = _bytes(self.ids)
        order = np.argsort(keys, kind="stable")
        if len(keys) > 1 and (keys[order][1:] == keys[order][:-1]).any():
            raise RecpruneError("an id is twice in a vocabulary")
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_sorted", keys[order])

    def __len__(self) -> int:
        return len(self.ids)

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        keys: Array = self._sorted  # type: ignore[attr-defined]
        order: Array = self._order  # type: ignore[attr-defined]
        if not len(keys) or not len(values):
            return np.full(len(values), len(keys), dtype=np.int64)
        wanted = _like(keys, values)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, order[at], len(keys)).astype(np.int64)
