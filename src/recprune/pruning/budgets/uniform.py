"""The same fraction of every table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.pruning.budgets.budget import Budget
from recprune.weights import Param

__all__ = ["Uniform"]


@dataclass(frozen=True)
class Uniform(Budget):
    """Keep the fraction `keep` of the rows that a table still stores, ranked within the table.

    >>> Uniform(0.5).describe()
    'half of the rows of each'
    """

    kind: ClassVar[str] = "uniform"
    keep: float

    def __post_init__(self) -> None:
        if type(self.keep) not in (int, float) or not 0 < self.keep <= 1:
            raise RecpruneError(f"keep must be in (0, 1], got {self.keep!r}")

    def allocate(
        self, params: Mapping[str, Param], importance: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """The best rows of each table; ties go to the earlier row."""
        kept = {}
        for name, param in params.items():
            stored = param.value.mask()
            score = np.where(stored, importance[name], -np.inf)
            score[list(param.protected)] = np.inf
            count = max(math.ceil(self.keep * int(stored.sum())), len(param.protected))
            mask = np.zeros(len(score), dtype=bool)
            mask[np.argsort(-score, kind="stable")[:count]] = True
            kept[name] = mask
        return kept

    def describe(self) -> str:
        """In words."""
        share = "half" if self.keep == 0.5 else f"{self.keep:.3g}" if self.keep < 0.01 else f"{100 * self.keep:.3g} %"
        return f"{share} of the rows of each"
