"""A fraction of its own for each table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.pruning.budgets.budget import Budget, best_rows
from recprune.weights import Param

__all__ = ["PerParameter"]


@dataclass(frozen=True)
class PerParameter(Budget):
    """Keep a fraction of the rows of each table by patterns of names, the first that matches counts.

    A table that none matches is left whole, and the plan lists it as untouched.

    >>> PerParameter({"user.*": 0.5, "*.bias": 1}).describe()
    '50 % of the rows of user.*, 100 % of *.bias'
    """

    kind: ClassVar[str] = "per_parameter"
    keep: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        given: Any = self.keep
        pairs = tuple(given.items()) if isinstance(given, Mapping) else given
        if not isinstance(pairs, tuple) or not pairs or not all(isinstance(p, tuple) and len(p) == 2 for p in pairs):
            raise RecpruneError(f"keep must be fractions by patterns of names, got {given!r}")
        for pattern, keep in pairs:
            if not isinstance(pattern, str) or type(keep) not in (int, float) or not 0 < keep <= 1:
                raise RecpruneError(f"keep must be in (0, 1] by patterns of names, got {keep!r} for {pattern!r}")
        object.__setattr__(self, "keep", pairs)

    def covers(self, name: str) -> bool:
        """Whether a pattern matches."""
        return any(fnmatchcase(name, pattern) for pattern, _ in self.keep)

    def check(self, targets: Sequence[str]) -> None:
        """Every pattern is to match one of them."""
        for pattern, _ in self.keep:
            if not any(fnmatchcase(name, pattern) for name in targets):
                raise RecpruneError(f"{pattern!r} matches none of the targets; they are: {', '.join(targets)}")

    def allocate(
        self, params: Mapping[str, Param], importance: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """The best rows of each table that is covered."""
        kept = {}
        for name, param in params.items():
            share = next(keep for pattern, keep in self.keep if fnmatchcase(name, pattern))
            kept[name] = best_rows(param, importance[name], math.ceil(share * int(param.value.mask().sum())))
        return kept

    def to_json(self) -> dict[str, Any]:
        """`{kind: [[pattern, fraction], ...]}`: a list, as the order counts."""
        return {self.kind: [list(pair) for pair in self.keep]}

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """From fractions by patterns, or a list of both."""
        return cls(tuple(tuple(p) if isinstance(p, list) else p for p in value) if isinstance(value, list) else value)

    def describe(self) -> str:
        """In words."""
        first, *rest = (f"{100 * keep:.3g} % of {{}}{pattern}" for pattern, keep in self.keep)
        return ", ".join([first.format("the rows of "), *(part.format("") for part in rest)])
