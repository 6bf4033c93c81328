"""Forget ids: words of a vocabulary, users, items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recprune.context import Context
from recprune.errors import unknown
from recprune.pruning.importance import Units, importance_of
from recprune.pruning.shared_row import drop
from recprune.pruning.step import Step, row_tables
from recprune.weights import Weights

__all__ = ["DropIds"]


@dataclass(frozen=True)
class DropIds(Step):
    """Keep the fraction `keep` of the ids of an axis; a dropped one becomes unknown to every table at once.

    Where `drop_rows` cuts each table for itself, this takes the same ids from all, so that they leave the vocabulary: the
    words of a text model, with their weights and their idf. Ranked by the sum of `importance` over the trained tables, or
    over all where none is.
    """

    verb: ClassVar[str] = "drop_ids"
    axis: str
    keep: float
    importance: str = "expected_loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        importance_of(self.importance)

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Rank, drop."""
        names = [name for name in self.touches(weights) if min(weights[name].shape)]
        if not names:
            return weights
        for name in names:
            self.check(weights, name, row_tables(context))
        score = importance_of(self.importance)
        ranked = [name for name in names if weights[name].trained] or names
        total = np.sum([score(Units.rows(weights, name), context) for name in ranked], axis=0)
        stored = np.any([weights[name].value.mask() for name in names], axis=0)
        protected = list({row for name in names for row in weights[name].protected})
        # Of the ids that some table still knows; rows with a meaning of their own stand beside them.
        known = stored & ~np.isin(np.arange(len(stored)), protected)
        order = np.argsort(-np.where(known, total, -np.inf), kind="stable")
        kept = np.isin(np.arange(len(stored)), [*order[: math.ceil(self.keep * int(known.sum()))], *protected])
        shares = context.shares(self.axis, len(stored))
        for name in names:
            mine = kept & weights[name].value.mask()
            if (mine != weights[name].value.mask()).any():
                weights = weights.replace(name, drop(weights[name], mine, shares).value)
        return weights

    def touches(self, weights: Weights) -> list[str]:
        """Every table of the axis."""
        axes = [axis for axis in weights.atoms() if any(len(weights[n].shape) == 2 for n in weights.tables(axis))]
        if self.axis not in axes:
            raise unknown("axis with tables", self.axis, axes)
        return [name for name in weights.tables(self.axis) if len(weights[name].shape) == 2]

    def describe(self) -> str:
        """In words."""
        return (
            f"forget all but {100 * self.keep:.3g} % of the ids of {self.axis} by {self.importance.replace('_', ' ')}"
        )
