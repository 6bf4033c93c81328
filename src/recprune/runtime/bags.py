"""Rows of tables in bags: what look-ups of lists and texts give."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.bits import FEW
from recprune.vocabulary import Lookup

__all__ = ["Bags", "look_up"]

Array = npt.NDArray[Any]


def look_up(vocabulary: Lookup, values: Array) -> npt.NDArray[np.int64]:
    """As `vocabulary.lookup`, but each text or integer once: many items for one reader, or words, repeat most."""
    if len(values) <= FEW or values.dtype.kind not in "iuO":
        return vocabulary.lookup(values)
    if values.dtype.kind != "O":
        different, places = np.unique(values, return_inverse=True)
        return vocabulary.lookup(different)[places]
    each = values.tolist()
    if not {*map(type, each)} <= {str, type(None)}:  # 1, 1.0 and True are equal, and other ids
        return vocabulary.lookup(values)
    place = {text: i for i, text in enumerate(dict.fromkeys(each))}
    found = vocabulary.lookup(np.fromiter(place, dtype=object, count=len(place)))
    return found[np.fromiter(map(place.__getitem__, each), dtype=np.int64, count=len(each))]


@dataclass(frozen=True, eq=False)
class Bags:
    """Rows of tables in bags: bag i is `rows[offsets[i]:offsets[i + 1]]`.

    `values`: how much each row counts when it is pooled, float32; None counts all once.
    """

    rows: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32] | None = None

    @classmethod
    def of(cls, lists: list[Any], vocabulary: Lookup) -> Bags:
        """Look up the concatenation of all lists at once."""
        offsets = np.array(list(accumulate(map(len, lists), initial=0)), dtype=np.int64)
        flat = np.fromiter((value for part in lists for value in part), dtype=object, count=int(offsets[-1]))
        return cls(look_up(vocabulary, flat), offsets)

    def without(self, row: int) -> Bags:
        """Leave out one row, such as that of unknown ids."""
        keep = self.rows != row
        return self if keep.all() else self._only(keep)

    def distinct(self) -> Bags:
        """Each row once a bag, at its first place."""
        bag = self.bag()
        order = np.lexsort((self.rows, bag))  # stable: of equal rows the first comes first
        rows, bags = self.rows[order], bag[order]
        again = np.zeros(len(rows), dtype=bool)
        again[1:] = (rows[1:] == rows[:-1]) & (bags[1:] == bags[:-1])
        if not again.any():
            return self
        keep = np.ones(len(rows), dtype=bool)
        keep[order[again]] = False
        return self._only(keep)

    def _only(self, keep: npt.NDArray[np.bool_]) -> Bags:
        counts = np.concatenate([[0], np.cumsum(keep)])
        return Bags(self.rows[keep], counts[self.offsets], None if self.values is None else self.values[keep])

    def split(self) -> list[npt.NDArray[np.int64]]:
        """The rows of each bag."""
        return [self.rows[start:stop] for start, stop in pairwise(self.offsets.tolist())]

    def bag(self) -> npt.NDArray[np.int64]:
        """The number of the bag that each row lies in."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
