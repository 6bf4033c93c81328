"""Let the splits of an input share a few thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.pruning.tree_step import TreeStep
from recprune.weights import Weights
from recprune.weights.codebook import Codebook

__all__ = ["RoundThresholds"]

Array = npt.NDArray[Any]
_WIDEST = 6e4  # what float16 can hold


@dataclass(frozen=True)
class RoundThresholds(TreeStep):
    """Let all splits of an input share at most 2**`bits` thresholds, each of them of two bytes.

    Thresholds that the calibration rows hardly tell apart become one: places among the sorted rows are clustered by
    k-means, each threshold as often as splits use it (without data, places among the thresholds). A shared threshold is
    rounded down to float16, which changes nothing for whole numbers up to 2048. Sets of categories stay.
    """

    verb: ClassVar[str] = "round_thresholds"
    bits: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.bits) is not int or not 1 <= self.bits <= 8:
            raise RecpruneError(f"bits must be 1..8, got {self.bits!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Input by input."""
        forest = Forest.of(weights, self.verb)
        rows = self.rows(forest, weights, context)
        threshold = forest.threshold.copy()
        numeric = forest.category < 0
        for f in np.unique(forest.feature[(forest.feature >= 0) & numeric]):
            nodes = np.flatnonzero((forest.feature == f) & numeric)
            values, where, uses = np.unique(threshold[nodes], return_inverse=True, return_counts=True)
            column = None if rows is None else np.sort(rows.x[:, f])
            threshold[nodes] = _shared(values, uses, column, self.bits)[where]
        found = replace(forest, threshold=threshold).into(weights)
        return found if found.nbytes < weights.nbytes else weights

    def describe(self) -> str:
        """In words."""
        return f"let the splits of an input share at most {1 << self.bits} thresholds"


def _shared(values: Array, uses: Array, column: Array | None, bits: int) -> Array:
    """For each of the sorted `values` the one that stands for it."""
    places = np.linspace(0, 1, len(values))
    if column is not None and len(known := column[: len(column) - int(np.isnan(column).sum())]):
        places = np.searchsorted(known, values, side="right") / len(known)
    book = Codebook.encode(places.astype(np.float32).reshape(-1, 1), bits, uses).decode()[:, 0]
    result = np.empty(len(values))
    for word in np.unique(book):
        mine = np.flatnonzero(book == word)
        middle = mine[np.abs(places[mine] - word).argmin()]
        result[mine] = _rounded_down(values[middle])
    return result


def _rounded_down(value: float) -> float:
    if abs(value) > _WIDEST:
        return value
    near = np.float16(value)
    return float(near if near <= value else np.nextafter(near, np.float16(-np.inf)))
