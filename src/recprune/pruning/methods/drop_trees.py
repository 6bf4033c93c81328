"""Keep some of the trees of an ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.pruning.tree_step import TreeRows, TreeStep
from recprune.weights import Weights

__all__ = ["DropTrees"]

Array = npt.NDArray[Any]
_ROWS = 20_000  # rows that trees are compared on


@dataclass(frozen=True)
class DropTrees(TreeStep):
    """Keep `trees` rounds of a boosted model, the first ones, or so many trees of an average.

    Of an average, with data, those are kept whose mean is nearest to that of all trees on the calibration rows, chosen one
    after the other (ordered selection: Caruana et al. 2004, here towards the whole forest, so that no label is read and
    nothing is fitted to noise); without data the first ones. A round has a tree for each output where a leaf holds one
    number.
    """

    verb: ClassVar[str] = "drop_trees"
    trees: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.trees) is not int or self.trees < 1:
            raise RecpruneError(f"trees must be a positive whole number, got {self.trees!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Choose, and leave out the others; as it is where there are no more."""
        forest = Forest.of(weights, self.verb)
        if self.trees * forest.turns >= forest.trees:
            return weights
        rows = self.rows(forest, weights, context) if forest.mode == "mean" and forest.turns == 1 else None
        kept = np.arange(self.trees * forest.turns) if rows is None else _nearest(forest, rows, self.trees)
        return forest.take(kept).into(weights)

    def describe(self) -> str:
        """In words."""
        return f"keep {self.trees} trees: the first of a boosted model, those nearest to the whole of a forest"


def _nearest(forest: Forest, rows: TreeRows, count: int) -> npt.NDArray[np.int64]:
    """`count` trees, each the one that brings the mean nearest to that of all."""
    step = -(-len(rows.x) // _ROWS)
    values = forest.values[forest.coded.reach(rows.x[::step])]  # (rows, trees, width)
    values -= values.mean(axis=1, keepdims=True)
    flat = values.transpose(1, 0, 2).reshape(forest.trees, -1)
    products = flat @ flat.T
    with_chosen, left = np.zeros(forest.trees), np.ones(forest.trees, bool)
    chosen: list[int] = []
    for _ in range(count):
        # Squares of the sum with one tree more; how many there are is the same for all.
        squares = np.where(left, 2 * with_chosen + products.diagonal(), np.inf)
        best = int(squares.argmin())
        left[best] = False
        with_chosen += products[best]
        chosen.append(best)
    return np.sort(np.array(chosen, np.int64))
