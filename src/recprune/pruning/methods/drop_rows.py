"""Drop the rows of tables that matter least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from recprune.context import Context
from recprune.pruning.budgets import Budget, budget_from
from recprune.pruning.importance import Units, importance_of
from recprune.pruning.shared_row import drop
from recprune.pruning.step import Step, row_tables
from recprune.weights import Weights

__all__ = ["DropRows"]


@dataclass(frozen=True)
class DropRows(Step):
    """Keep the rows of the target tables that the budget allows; a dropped row reads one shared row.

    The shared row is the out-of-vocabulary row where the table has one (dropped ids then leave the vocabulary), else the
    place of the last dropped row. Its value becomes the mean of all that read it, weighted by reads: the constant with
    the least squared error, a good start for retraining.
    """

    verb: ClassVar[str] = "drop_rows"
    target: str
    budget: Budget
    importance: str = "expected_loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        importance_of(self.importance)
        if not isinstance(self.budget, Budget):
            object.__setattr__(self, "budget", budget_from(self.budget))

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Rank, allocate, drop."""
        names = weights.match(self.target)
        for name in names:
            self.check(weights, name, row_tables(context))
        self.budget.check(names)
        params = {name: weights[name] for name in names if min(weights[name].shape) and self.budget.covers(name)}
        if not params:
            return weights
        score = importance_of(self.importance)
        kept = self.budget.allocate(params, {name: score(Units.rows(weights, name), context) for name in params})
        for name, param in params.items():
            if kept[name].all():
                continue
            shares = context.shares(param.axes[0], param.shape[0])
            weights = weights.replace(name, drop(param, kept[name], shares).value)
        return weights

    def touches(self, weights: Weights) -> list[str]:
        """The targets that the budget covers."""
        return [name for name in weights.match(self.target) if self.budget.covers(name)]

    def describe(self) -> str:
        """In words."""
        return f"drop rows of {self.target} by {self.importance.replace('_', ' ')}, keeping {self.budget.describe()}"

    def to_json(self) -> dict[str, Any]:
        """`{verb: fields}`."""
        return {self.verb: {"target": self.target, "budget": self.budget.to_json(), "importance": self.importance}}

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> Self:
        """From the fields of a recipe."""
        values = dict(given)
        if "budget" in values:
            values["budget"] = budget_from(values["budget"])
        return super().from_fields(values)
