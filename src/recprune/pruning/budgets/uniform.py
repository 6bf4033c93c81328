"""The same fraction of every table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.documents import plain_numbers
from recprune.errors import RecpruneError
from recprune.pruning.budgets.budget import Budget, best_rows
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
        plain_numbers(self)
        if type(self.keep) not in (int, float) or not 0 < self.keep <= 1:
            raise RecpruneError(f"keep must be in (0, 1], got {self.keep!r}")

    def allocate(
        self, params: Mapping[str, Param], importance: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """The best rows of each table; ties go to the earlier row."""
        counts = {name: math.ceil(self.keep * int(param.value.mask().sum())) for name, param in params.items()}
        return {name: best_rows(param, importance[name], counts[name]) for name, param in params.items()}

    def describe(self) -> str:
        """In words."""
        share = "half" if self.keep == 0.5 else f"{self.keep:.3g}" if self.keep < 0.01 else f"{100 * self.keep:.3g} %"
        return f"{share} of the rows of each"
