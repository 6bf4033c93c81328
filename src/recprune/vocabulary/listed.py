"""Ids in the order of the rows that a model has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.vocabulary.keys import find, id_keys

__all__ = ["ListedVocabulary"]


@dataclass(frozen=True, eq=False)
class ListedVocabulary:
    """Ids in the order of their rows, whatever it is: what a model in training has. It is never stored.

    >>> ListedVocabulary(np.array(["b", "a"])).lookup(np.array(["a", "b", "c"])).tolist()
    [1, 0, 2]
    """

    ids: npt.NDArray[Any]

    def __post_init__(self) -> None:
        keys = id_keys(self.ids)
        order = np.argsort(keys, kind="stable")
        object.__setattr__(self, "_order", np.append(order, len(keys)))
        object.__setattr__(self, "_sorted", keys[order])

    def __len__(self) -> int:
        return len(self.ids)

    def lookup(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        # Place -1, an unknown id, reads the last entry of the order.
        rows: npt.NDArray[np.int64] = self._order[find(self._sorted, values)]  # type: ignore[attr-defined]
        return rows
