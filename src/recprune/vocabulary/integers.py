"""Whole numbers as ids, exact, in a few bits each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.bits import FEW
from recprune.errors import RecpruneError
from recprune.vocabulary.keys import as_integers
from recprune.vocabulary.places import Grouped, Places

__all__ = ["IntegerVocabulary"]

Array = npt.NDArray[Any]
_FIRST = 16
_BITS = 16  # low bits at most: ids as far apart as that are stored in fewer bytes as a hash, or as text


@dataclass(frozen=True, eq=False)
class IntegerVocabulary(Grouped):
    """Whole numbers as ids, searched in place: about `2 + log2(range / ids)` bits an id in each group, and exact.

    Users and items that a system numbered itself lie so close that this is less than a fingerprint of them. `first`: the
    smallest id of each group. Source: Elias 1974, Fano 1971.

    >>> vocabulary, orders = IntegerVocabulary.build([np.array(["12", "7", "9"])])
    >>> vocabulary.lookup(np.array([7, 9, 12, 8])).tolist(), orders[0].tolist(), vocabulary.resident_bytes
    ([0, 1, 2, 3], [1, 2, 0], 10)
    """

    first: tuple[int, ...]
    groups: tuple[Places, ...]

    @classmethod
    def build(cls, groups: list[Array]) -> tuple[IntegerVocabulary, list[npt.NDArray[np.int64]]] | None:
        """The vocabulary, and for each group the order in which its ids became rows.

        None where an id is no whole number as it is written ("007" is none) or is there twice, or where the ids lie too far
        apart.
        """
        if not groups:
            return cls((), ()), []
        ids = np.concatenate(groups)
        if not as_integers(ids[:_FIRST])[1].all():  # most ids are none: that is soon seen
            return None
        numbers, good = as_integers(ids)
        if not good.all():
            return None
        split = np.split(numbers, np.cumsum([len(group) for group in groups])[:-1])
        orders = [np.argsort(group, kind="stable") for group in split]
        first, stored = [], []
        for group, order in zip(split, orders, strict=True):
            ids = group[order]
            if (ids[1:] == ids[:-1]).any():
                return None
            first.append(int(ids[0]) if len(ids) else 0)
            span = int(ids[-1]) - first[-1] + 1 if len(ids) else 0
            bits = min(max(span // max(len(ids), 1), 2).bit_length() - 1, _BITS)
            places = -(-span >> bits)
            if places > 2 * len(ids) + 1:
                return None
            try:
                stored.append(Places.build(ids - first[-1], bits, places))
            except RecpruneError:
                return None
        return cls(tuple(first), tuple(stored)), orders

    def __post_init__(self) -> None:
        for first, group in zip(self.first, self.groups, strict=True):
            if type(first) is not int or not -(2**63) <= first < 2**63:
                raise RecpruneError(f"the first id of a group must be a whole number of 64 bits, got {first!r}")
            if not 1 <= group.bits <= _BITS:
                raise RecpruneError(f"low bits of an integer id must be 1..{_BITS}, got {group.bits}")

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        numbers, good = as_integers(values)
        if len(values) <= FEW:
            each = zip(numbers.tolist(), good.tolist(), strict=True)
            return np.array([self._row(number) if ok else len(self) for number, ok in each], dtype=np.int64)
        rows = np.full(len(values), len(self), dtype=np.int64)
        row = 0
        for first, group in zip(self.first, self.groups, strict=True):
            # As unsigned numbers: what is below the first wraps around to beyond the last.
            offset = numbers.view(np.uint64) - np.array(first, np.int64).view(np.uint64)
            inside = np.flatnonzero(good & (offset < np.uint64(group.count << group.bits)))
            at = group.find(offset[inside].view(np.int64))
            rows[inside[at >= 0]] = row + at[at >= 0]
            row += len(group)
        return rows

    def _row(self, number: int) -> int:
        row = 0
        for first, group in zip(self.first, self.groups, strict=True):
            at = group.find_one(number - first) if 0 <= number - first < group.count << group.bits else -1
            if at >= 0:
                return row + at
            row += len(group)
        return row

    def spec(self) -> dict[str, Any]:
        """Of each group: places, low bits, smallest id."""
        return {
            "vocabulary": "integer",
            "counts": [group.count for group in self.groups],
            "bits": [group.bits for group in self.groups],
            "first": list(self.first),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any], arrays: dict[str, Array]) -> IntegerVocabulary:
        """The vocabulary that `spec()` and `arrays()` describe; the constructor validates."""
        counts, each = spec["counts"], spec["bits"]
        if any(type(bits) is not int or not 1 <= bits <= _BITS for bits in each):
            raise RecpruneError(f"low bits of an integer id must be 1..{_BITS}, got {each!r}")
        stored = [
            Places(bits, count, arrays[f"low.{i}"], arrays[f"high.{i}"])
            for i, (count, bits) in enumerate(zip(counts, each, strict=True))
        ]
        return cls(tuple(spec["first"]), tuple(stored))
