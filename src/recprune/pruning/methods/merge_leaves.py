"""Make leaves of the splits that matter least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.forest import Forest
from recprune.pruning.tree_step import TreeStep
from recprune.weights import Weights

__all__ = ["MergeLeaves"]

Array = npt.NDArray[Any]
_HALVINGS = 60


@dataclass(frozen=True)
class MergeLeaves(TreeStep):
    """Keep a fraction `keep` of all leaves: the others are merged into the split above them, wherever that costs least.

    What merging costs is how much it changes the sum of the trees: the squares of the leaves' distances from their mean,
    each as often as the calibration rows reach it (all alike without data). One price of a leaf for all trees decides
    which splits stay, so that a tree keeps as many leaves as it is worth (minimal cost-complexity pruning: Breiman et al.
    1984, over a whole ensemble). A merged leaf has the mean of what it replaces; `refit_leaves` makes up for the rest.
    """

    verb: ClassVar[str] = "merge_leaves"
    keep: float = 0.25

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Find the price of a leaf at which so many stay."""
        forest = Forest.of(weights, self.verb)
        wanted = max(int(self.keep * len(forest.values)), forest.trees)
        if wanted >= len(forest.values):
            return weights
        rows = self.rows(forest, weights, context)
        costs = _Costs.of(forest, np.ones(len(forest.values)) if rows is None else rows.traffic)
        low, high = 0.0, float(costs.merged.max()) + 1.0
        for _ in range(_HALVINGS):
            price = (low + high) / 2
            low, high = (price, high) if costs.leaves_at(price) > wanted else (low, price)
        nodes = costs.collapsed_at(high)
        return forest.collapse(nodes, costs.means[nodes]).into(weights)

    def describe(self) -> str:
        """In words."""
        return f"merge leaves until {self.keep:.3g} of them are left, those first whose merging changes scores least"


@dataclass(frozen=True, eq=False)
class _Costs:
    """For every node: the mean of the leaves below it, and the squares that are lost when they are merged into it."""

    forest: Forest
    means: Array
    merged: Array

    @classmethod
    def of(cls, forest: Forest, traffic: Array) -> _Costs:
        weight = np.zeros(len(forest.feature))
        means = np.zeros((len(weight), forest.values.shape[1]))
        merged = np.zeros(len(weight))
        leaves = forest.feature < 0
        # A leaf that no row reaches counts a little, so that a mean is one of something.
        weight[leaves] = traffic + 1e-3
        means[leaves] = forest.values
        for at, left, right in _upwards(forest):
            total = weight[left] + weight[right]
            share = (weight[right] / total)[:, None]
            apart = means[right] - means[left]
            means[at] = means[left] + share * apart
            merged[at] = merged[left] + merged[right] + weight[left] * share[:, 0] * (apart**2).sum(axis=1)
            weight[at] = total
        return cls(forest, means, merged)

    def _best(self, price: float) -> tuple[Array, Array]:
        """Whether each node is better a leaf, and how many leaves are then below it."""
        cost, count = np.full(len(self.merged), price), np.ones(len(self.merged), np.int64)
        ends = self.forest.feature < 0
        for at, left, right in _upwards(self.forest):
            apart, whole = cost[left] + cost[right], self.merged[at] + price
            merge = whole <= apart
            ends[at] = merge
            cost[at] = np.where(merge, whole, apart)
            count[at] = np.where(merge, 1, count[left] + count[right])
        return ends, count

    def leaves_at(self, price: float) -> int:
        _, count = self._best(price)
        return int(count[self.forest.starts].sum())

    def collapsed_at(self, price: float) -> npt.NDArray[np.int64]:
        ends, _ = self._best(price)
        found = []
        for level in self._levels(ends):
            found.append(level[ends[level] & (self.forest.feature[level] >= 0)])
        return np.concatenate(found)

    def _levels(self, ends: Array) -> Any:
        """Nodes by depth that are still there."""
        level = self.forest.starts
        while len(level):
            yield level
            inner = level[~ends[level]]
            level = np.concatenate([inner + 1, self.forest.right[inner]])


def _upwards(forest: Forest) -> Any:
    """Splits and both of their children, the deepest first."""
    for level in reversed(forest.levels):
        at = level[forest.feature[level] >= 0]
        if len(at):
            yield at, at + 1, forest.right[at]
