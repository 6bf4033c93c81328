"""What the steps that act on trees have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.graph import Op
from recprune.pruning.step import Step
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["TOWARDS", "Link", "TreeRows", "TreeStep"]

Array = npt.NDArray[Any]
TOWARDS = ("original", "labels")


@dataclass(frozen=True)
class TreeStep(Step):
    """A step on an ensemble: it changes the splits and the values of the leaves, which are two parameters."""

    def touches(self, weights: Weights) -> list[str]:
        """Both, where there are any."""
        return [name for name in ("trees", "leaves") if name in weights]

    def rows(self, forest: Forest, weights: Weights, context: Context) -> TreeRows | None:
        """The calibration rows as the trees see them; None where no data was given."""
        if context.calibration is None or context.calibration.original.graph is None:
            return None
        return TreeRows(forest, weights, context)

    def needed(self, forest: Forest, weights: Weights, context: Context) -> TreeRows:
        """As `rows`; without data a RecpruneError that asks for it."""
        rows = self.rows(forest, weights, context)
        if rows is None:
            raise RecpruneError(f"{self.verb} needs data, the pair (X, y) of rows that the model may be fitted to")
        return rows


@dataclass(frozen=True, eq=False)
class TreeRows:
    """The calibration rows of a model of trees."""

    forest: Forest
    weights: Weights
    context: Context

    @cached_property
    def _op(self) -> Op:
        graph = self._original.graph
        assert graph is not None
        return next(op for op in graph.ops if op.kind == "trees")

    @property
    def _original(self) -> Snapshot:
        assert self.context.calibration is not None
        return self.context.calibration.original

    @cached_property
    def x(self) -> Array:
        """What the trees read, (rows, inputs)."""
        assert self.context.calibration is not None
        found: Array = self.context.calibration.output(self.weights, self._op.inputs[0])
        return found

    @cached_property
    def leaves(self) -> npt.NDArray[np.int32]:
        """The leaf that each row reaches in each tree, (rows, trees)."""
        return self.forest.coded.reach(self.x)

    @cached_property
    def traffic(self) -> npt.NDArray[np.int64]:
        """How many rows reach each leaf."""
        return np.bincount(self.leaves.reshape(-1), minlength=len(self.forest.values))

    @cached_property
    def target(self) -> Array:
        """What the trees of the original give, (rows, outputs)."""
        assert self.context.calibration is not None
        found: Array = self.context.calibration.output(self._original.weights, self._op.output)
        return found

    @property
    def labels(self) -> Array:
        """What is true of each row, (rows, outputs)."""
        if self.context.labels is None:
            raise RecpruneError("the data has no labels to go towards; go towards the original")
        return self.context.labels

    @cached_property
    def link(self) -> Link:
        """What becomes of what the trees give."""
        graph = self._original.graph
        assert graph is not None
        base, factor, kind = np.zeros(1), 1.0, "identity"
        for op in graph.ops[graph.ops.index(self._op) + 1 :]:
            if op.kind == "shift":
                base = self._original.weights[op.params[0]].value.decode().astype(np.float64)
            elif op.kind == "scale":
                factor = op.attrs["factor"]
            else:
                kind = op.kind
        return Link(kind, factor, base)


@dataclass(frozen=True, eq=False)
class Link:
    """From what trees give to a score: `kind(factor * (trees + base))`."""

    kind: str
    factor: float
    base: Array

    def slope(self, given: Array, labels: Array) -> tuple[Array, Array]:
        """How the loss of the link falls with what trees give: its negative gradient, and its curvature, (rows, outputs)."""
        z = self.factor * (given + self.base)
        if self.kind == "sigmoid":
            p = 1 / (1 + np.exp(-np.clip(z, -60, 60)))
            curve = p * (1 - p)
        elif self.kind == "softmax":
            share = np.exp(z - z.max(axis=1, keepdims=True))
            p = share / share.sum(axis=1, keepdims=True)
            curve = p * (1 - p)
        elif self.kind == "exp":
            p = curve = np.exp(np.clip(z, -60, 60))
        else:
            p, curve = z, np.ones_like(z)
        return self.factor * (labels - p), self.factor**2 * curve
