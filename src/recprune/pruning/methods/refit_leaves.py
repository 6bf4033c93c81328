"""Fit the values of leaves again, all trees together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.forest import Forest
from recprune.pruning.tree_step import TOWARDS, TreeRows, TreeStep
from recprune.weights import Weights

__all__ = ["RefitLeaves"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RefitLeaves(TreeStep):
    """Fit the leaves of all trees together on the calibration rows; the splits stay.

    `towards="original"`: least squares to what the trees of the original give, before any sigmoid: what was dropped and
    merged is made up for, and no label is read. `towards="labels"`: the loss of the model (of a sigmoid, softmax or
    exponential by Newton's steps, else squares) on the labels. `l2`: rows that pull a leaf towards the value that it has.
    Trees take turns, `sweeps` times; each step is exact, for a row reaches one leaf of a tree (leaf refinement: Ren et
    al., CVPR 2015). Averaged leaves stay within the range of those that there were, so a share stays a share.
    """

    verb: ClassVar[str] = "refit_leaves"
    towards: Literal["original", "labels"] = "original"
    l2: float = 10.0
    sweeps: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.towards not in TOWARDS:
            raise unknown("direction to refit in", str(self.towards), TOWARDS)
        if not self.l2 > 0:
            raise RecpruneError(f"l2 must be above 0, got {self.l2!r}")
        if type(self.sweeps) is not int or self.sweeps < 1:
            raise RecpruneError(f"sweeps must be a positive whole number, got {self.sweeps!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Tree by tree."""
        forest = Forest.of(weights, self.verb)
        return replace(forest, values=self._refitted(forest, self.needed(forest, weights, context))).into(weights)

    def _refitted(self, forest: Forest, rows: TreeRows) -> Array:
        values, outputs, width = forest.values.copy(), forest.outputs, forest.values.shape[1]
        share = outputs / (forest.trees * width) if forest.mode == "mean" else 1.0
        reached = np.ascontiguousarray(rows.leaves.T)
        given = np.zeros((len(rows.x), outputs))
        for tree, leaf in enumerate(reached):
            given[:, _columns(tree, width, outputs)] += share * values[leaf]
        bounds = np.append(forest.leaf[forest.starts], len(values))
        low, high = (values.min(), values.max()) if forest.mode == "mean" else (-np.inf, np.inf)
        for _ in range(self.sweeps):
            for tree, leaf in enumerate(reached):
                here = slice(bounds[tree], bounds[tree + 1])
                count = bounds[tree + 1] - bounds[tree]
                columns = _columns(tree, width, outputs)
                slope, curve = self._slope(rows, given, columns)
                mine = leaf - bounds[tree]
                for j in range(width):
                    pull = self.l2 * share * (forest.values[here, j] - values[here, j])
                    fall = np.bincount(mine, slope[:, j], count) + pull
                    bend = np.bincount(mine, None if curve is None else curve[:, j], count) + self.l2
                    fitted = np.clip(values[here, j] + fall / bend / share, low, high)
                    given[:, columns.start + j] += share * (fitted - values[here, j])[mine]
                    values[here, j] = fitted
        return values

    def _slope(self, rows: TreeRows, given: Array, columns: slice) -> tuple[Array, Array | None]:
        if self.towards == "original":
            return rows.target[:, columns] - given[:, columns], None
        slope, curve = rows.link.slope(given, rows.labels)
        return slope[:, columns], curve[:, columns]

    def describe(self) -> str:
        """In words."""
        where = "what the original gives" if self.towards == "original" else "the labels"
        return f"refit all leaves together towards {where}, {self.l2:g} rows for the values they have"


def _columns(tree: int, width: int, outputs: int) -> slice:
    """The outputs that the leaves of a tree hold."""
    start = tree * width % outputs
    return slice(start, start + width)
