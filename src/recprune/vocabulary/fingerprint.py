"""A hash of each id instead of the id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.bits import FEW, fnv64, fnv_of, mix64, mix_of
from recprune.errors import RecpruneError
from recprune.vocabulary.keys import as_bytes, each_bytes, id_keys
from recprune.vocabulary.places import Grouped, Places

__all__ = ["FingerprintVocabulary"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class FingerprintVocabulary(Grouped):
    """A hash of each id instead of the id: about `bits + 2` bits an id, searched in place, whatever the id's length.

    The ids of a group of n lie in n places by one half of a hash and are told apart by `bits` of the other half. A known id
    is always found. Any other is taken for a known one with probability of about 2**-bits a group, the declared error of
    this encoding; so is a known id of a later group, which then reads the row of an earlier one. Source: Cleary 1984
    (quotienting).
    """

    bits: int
    groups: tuple[Places, ...]

    @classmethod
    def build(cls, groups: list[Array], bits: int) -> tuple[FingerprintVocabulary, list[npt.NDArray[np.int64]]]:
        """The vocabulary, and for each group the ids that became rows, in row order.

        Two ids of one hash cannot both have a row: the first given does (give the most popular first), both read it.
        """
        _check_bits(bits)
        if groups:
            id_keys(np.concatenate(groups))
        orders, stored = [], []
        for i, group in enumerate(groups):
            unique, first = np.unique(_number(fnv64(group), i, len(group), bits), return_index=True)
            orders.append(first.astype(np.int64))
            stored.append(Places.build(unique, bits, len(group)))
        return cls(bits, tuple(stored)), orders

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        for group in self.groups:
            if len(group) > group.count:
                raise RecpruneError(f"a fingerprint vocabulary of {group.count} places has marks that do not fit it")

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        if len(values) <= FEW:
            return np.array([self._row(fnv_of(text)) for text in each_bytes(values)], dtype=np.int64)
        rows = np.full(len(values), len(self), dtype=np.int64)
        hashed = fnv64(as_bytes(values))
        row = 0
        for i, group in enumerate(self.groups):
            open_ = np.flatnonzero(rows == len(self))
            at = group.find(_number(hashed[open_], i, group.count, self.bits))
            rows[open_[at >= 0]] = row + at[at >= 0]
            row += len(group)
        return rows

    def _row(self, hashed: int) -> int:
        row = 0
        for i, group in enumerate(self.groups):
            at = group.find_one(_number_of(hashed, i, group.count, self.bits))
            if at >= 0:
                return row + at
            row += len(group)
        return row

    def spec(self) -> dict[str, Any]:
        """Bits of a fingerprint and places of each group."""
        counts = [group.count for group in self.groups]
        return {"vocabulary": "fingerprint", "bits": self.bits, "counts": counts}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], arrays: dict[str, Array]) -> FingerprintVocabulary:
        """The vocabulary that `spec()` and `arrays()` describe; the constructor validates."""
        _check_bits(bits := spec["bits"])
        stored = [
            Places(bits, count, arrays[f"low.{i}"], arrays[f"high.{i}"]) for i, count in enumerate(spec["counts"])
        ]
        return cls(bits, tuple(stored))


def _check_bits(bits: int) -> None:
    if type(bits) is not int or not 1 <= bits <= 16:
        raise RecpruneError(f"fingerprint bits must be 1..16, got {bits!r}")


def _number(hashed: npt.NDArray[np.uint64], group: int, places: int, bits: int) -> npt.NDArray[np.int64]:
    """Place of each id in a group, and low bits behind it."""
    mixed = mix64(hashed, group)
    # A multiply-shift spreads the upper half evenly over any number of places (Lemire 2019).
    place = ((mixed >> np.uint64(32)) * np.uint64(places)) >> np.uint64(32)
    return (place.astype(np.int64) << bits) | (mixed & np.uint64((1 << bits) - 1)).astype(np.int64)


def _number_of(hashed: int, group: int, places: int, bits: int) -> int:
    """As `_number`, of one id."""
    mixed = mix_of(hashed, group)
    return ((mixed >> 32) * places >> 32) << bits | mixed & ((1 << bits) - 1)
