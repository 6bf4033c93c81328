"""Drop the rows of tables that matter least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.budgets import Budget, budget_from
from recprune.pruning.importance import importance_of
from recprune.pruning.step import Step
from recprune.weights import Encoding, LowRank, Param, Rows, Weights

__all__ = ["DropRows", "drop"]


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
            if not _is_table(weights[name]):
                raise weights.cannot(self.verb, name, "it is no table", "tables", _is_table)
        params = {name: weights[name] for name in names if min(weights[name].shape)}
        if not params:
            return weights
        score = importance_of(self.importance)
        kept = self.budget.allocate(params, {name: score(param, context) for name, param in params.items()})
        for name, param in params.items():
            if kept[name].all():
                continue
            shares = context.shares(param.axes[0], param.shape[0])
            weights = weights.replace(name, drop(param, kept[name], shares).value)
        return weights

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


def _is_table(param: Param) -> bool:
    return len(param.shape) == 2 and bool(param.axes[0])


def drop(param: Param, kept: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64]) -> Param:
    """Store only the kept rows (boolean, one a row); the shared row is the mean of its readers weighted by `shares`."""
    stored = param.value.mask()
    if (kept & ~stored).any():
        raise RecpruneError("a row that was dropped before cannot be kept again")
    if param.protected and param.has_unknown:
        shared = param.protected[-1]
    elif stored.all():
        shared = int(np.flatnonzero(~kept)[-1])
    else:
        shared = _shared(param.value)
    kept = kept | (np.arange(len(kept)) == shared)
    return param if kept.all() else replace(param, value=_drop(param.value, kept, shared, shares))


def _shared(value: Encoding) -> int:
    """The stored row that dropped rows read; -1 where it is none of the table's own."""
    if isinstance(value, LowRank):
        return _shared(value.left)
    if not isinstance(value, Rows):
        return -1
    own = np.flatnonzero(value.mask() & (value.position(np.arange(value.rows)) == value.default))
    return int(own[0]) if len(own) else -1


def _drop(value: Encoding, kept: npt.NDArray[np.bool_], shared: int, shares: npt.NDArray[np.float64]) -> Encoding:
    if isinstance(value, LowRank):
        # The mean of products is the product of the mean: the left factor is a table like any other.
        return LowRank(_drop(value.left, kept, shared, shares), value.right)
    readers = ~kept
    if shared >= 0:
        readers[shared] = True
    weight = shares[readers] if shares[readers].sum() > 0 else np.ones(int(readers.sum()))
    mean = weight @ value.take(np.flatnonzero(readers)).astype(np.float64) / weight.sum()
    inner = value.inner if isinstance(value, Rows) else value
    place = int(kept[:shared].sum()) if shared >= 0 else int(kept.sum())
    rows = np.flatnonzero(kept) if shared >= 0 else np.append(np.flatnonzero(kept), np.flatnonzero(~kept)[-1])
    inner = inner.cut(0, value.position(rows) if isinstance(value, Rows) else rows)
    array = inner.decode().copy()
    array[place] = mean
    return Rows.encode(kept, inner.recode(array), place)
