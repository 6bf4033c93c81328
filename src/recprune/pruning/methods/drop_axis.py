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

    A position's score is the product, over the parameters that have the axis, of the norm of its slice: what a neuron
    brings in times what is made of it. Rows of tables are weighted by their reads where these were counted.
    """

    verb: ClassVar[str] = "drop_axis"
    axis: str
    keep: float

    def __post_init__(self) -> None:
        if not isinstance(self.keep, int | float) or not 0 < self.keep <= 1:
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
        return match(self.axis, sorted(set(weights.atoms()) - rows))

    def touches(self, weights: Weights) -> list[str]:
        """Every parameter that has one of the axes."""
        atoms = weights.atoms()
        return [name for axis in self._axes(weights) for name in atoms[axis]]

    def describe(self) -> str:
        """In words."""
        return f"cut {self.axis} to {100 * self.keep:.3g} % of its width wherever it appears"


def axis_importance(weights: Weights, axis: str, context: Context) -> npt.NDArray[np.float64]:
    """Score of each position of an atomic axis (see DropAxis)."""
    size = weights.sizes[axis]
    score = np.ones(size)
    for name in weights.atoms()[axis]:
        param = weights[name]
        array = param.value.decode().astype(np.float64) ** 2
        reads = context.popularity.get(param.axes[0])
        if reads is not None and len(reads) == len(array) and axis != param.axes[0]:
            array = array * (np.asarray(reads) / max(np.sum(reads), 1)).reshape(-1, *[1] * (array.ndim - 1))
        energy = np.zeros(size)
        for i, expression in enumerate(param.axes):
            if axis in expression.replace("*", "+").split("+"):
                along = array.sum(axis=tuple(j for j in range(array.ndim) if j != i))
                for k in range(size):
                    energy[k] += along[weights.positions(expression, axis, np.array([k]), only=True)].sum()
        score *= np.sqrt(energy)
    return score
