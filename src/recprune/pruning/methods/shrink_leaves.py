"""Draw leaves towards the splits above them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.pruning.tree_step import TreeStep
from recprune.weights import Weights

__all__ = ["ShrinkLeaves"]


@dataclass(frozen=True)
class ShrinkLeaves(TreeStep):
    """Hierarchical shrinkage: what each split on the way to a leaf adds to the mean counts `n / (n + strength)` times.

    `n`: the calibration rows that reach the split. Deep leaves of few rows are drawn towards their surroundings, which
    helps forests that were grown without a limit (Agarwal et al., ICML 2022). Needs data; no label is read.
    """

    verb: ClassVar[str] = "shrink_leaves"
    strength: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.strength > 0:
            raise RecpruneError(f"strength must be above 0, got {self.strength!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Means and counts upwards, then what is left of each difference downwards."""
        forest = Forest.of(weights, self.verb)
        traffic = self.needed(forest, weights, context).traffic
        leaves = forest.feature < 0
        count, total = np.zeros(len(leaves)), np.zeros((len(leaves), forest.values.shape[1]))
        count[leaves] = traffic + 1e-3
        total[leaves] = forest.values * count[leaves, None]
        for level in reversed(forest.levels):
            at = level[~leaves[level]]
            count[at] = count[at + 1] + count[forest.right[at]]
            total[at] = total[at + 1] + total[forest.right[at]]
        means = total / count[:, None]
        shrunk = means.copy()
        for level in forest.levels:
            at = level[~leaves[level]]
            left = (count[at] / (count[at] + self.strength))[:, None]
            for child in (at + 1, forest.right[at]):
                shrunk[child] = shrunk[at] + left * (means[child] - means[at])
        return replace(forest, values=shrunk[leaves]).into(weights)

    def describe(self) -> str:
        """In words."""
        return f"draw leaves towards the splits above them as if {self.strength:g} rows more said nothing"
