"""Cut columns of a table, or neurons of a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import Step
from recprune.weights import Weights, match

__all__ = ["DropAxis", "axis_importance"]


@dataclass(frozen=True)
class DropAxis(Step):
    """Keep the fraction `keep` of the positions of each axis that `axis` matches, in every parameter that has it.

    A position's score is the norm of what makes it (a neuron's weights and bias, a table's column weighted by the reads of
    its rows) times the norm of what reads it (the next layer's column). Tables that share an axis which no layer reads are
    multiplied with each other (dot product, factorization machine): there it is the norm over all pairs of them.
    """

    verb: ClassVar[str] = "drop_axis"
    axis: str
    keep: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.keep) not in (int, float) or not 0 < self.keep <= 1:
            raise RecpruneError(f"keep must be in (0, 1], got {self.keep!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Score each position, cut the rest everywhere."""
        for axis in self._axes(weights):
            score = axis_importance(weights, axis, context)
            count = math.ceil(self.keep * len(score))
            weights = weights.cut(axis, np.sort(np.argsort(-score, kind="stable")[:count]))
        return weights

    def _axes(self, weights: Weights) -> list[str]:
        rows = {param.axes[0] for param in weights.values() if param.protected}
        return match(self.axis, sorted(set(weights.atoms()) - rows), "axis")

    def touches(self, weights: Weights) -> list[str]:
        """Every parameter that has one of the axes."""
        atoms = weights.atoms()
        return list(dict.fromkeys(name for axis in self._axes(weights) for name in atoms[axis]))

    def describe(self) -> str:
        """In words."""
        return f"cut {self.axis} to {100 * self.keep:.3g} % of its width wherever it appears"


def axis_importance(weights: Weights, axis: str, context: Context) -> npt.NDArray[np.float64]:
    """Score of each position of an atomic axis (see DropAxis)."""
    size = weights.sizes[axis]
    tables: list[npt.NDArray[np.float64]] = []
    made: list[npt.NDArray[np.float64]] = []
    read: list[npt.NDArray[np.float64]] = []
    for name in weights.atoms()[axis]:
        param = weights[name]
        array = param.value.decode().astype(np.float64) ** 2
        is_table = bool(param.protected) or param.axes[0] in context.popularity
        if is_table:
            shares = context.shares(param.axes[0], len(array))
            array *= (shares / shares.sum()).reshape(-1, *[1] * (array.ndim - 1))
        for i, expression in enumerate(param.axes):
            if axis in expression.replace("*", "+").split("+"):
                along = array.sum(axis=tuple(j for j in range(array.ndim) if j != i))
                positions = [weights.positions(expression, axis, np.array([k]), only=True) for k in range(size)]
                energy = np.array([along[at].sum() for at in positions])
                (tables if is_table else read if i else made).append(energy)
    if len(tables) > 1 and not read:
        total = np.sum(tables, axis=0)
        tables = [(total**2 - np.sum(np.square(tables), axis=0)) / 2]
    score = np.ones(size)
    for side in (made + tables, read):
        if side:
            score *= np.sqrt(np.maximum(np.sum(side, axis=0), 0))
    return score
