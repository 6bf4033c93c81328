"""Cut columns of a table, or neurons of a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recprune.context import Context
from recprune.pruning.importance import Units, importance_of
from recprune.pruning.step import Step
from recprune.weights import Weights, match

__all__ = ["DropAxis"]


@dataclass(frozen=True)
class DropAxis(Step):
    """Keep the fraction `keep` of the positions of each axis that `axis` matches, in every parameter that has it.

    Which ones: those with the highest `importance`, a score for each position over all parameters that have the axis.
    """

    verb: ClassVar[str] = "drop_axis"
    axis: str
    keep: float
    importance: str = "expected_loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        importance_of(self.importance)

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Score each position, cut the rest everywhere."""
        for axis in self._axes(weights):
            score = importance_of(self.importance)(Units.along(weights, axis), context)
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
        score = self.importance.replace("_", " ")
        return f"cut {self.axis} to {100 * self.keep:.3g} % of its width wherever it appears, by {score}"
