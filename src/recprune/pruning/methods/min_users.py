"""Merge the rows that too few users stand behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.shared_row import drop
from recprune.pruning.step import Actable, Step
from recprune.weights import Encoding, Param, Weights

__all__ = ["MinUsers"]


@dataclass(frozen=True)
class MinUsers(Step):
    """Keep a row of the target tables only where `k` distinct users or more stand behind it.

    The others are merged into the shared row (see `drop_rows`): that of unknown ids where the table has one, so that their
    ids leave the vocabulary too. Whose rows rest on how many users is counted in the training data.

    **A user's own row rests on one user**: it is merged for every `k` of 2 or more where the target names it. That is how
    a table of users is given up; leave it out of the target to keep it.

    It bounds how many users a stored row was learned from, as the group of k-anonymity does (Sweeney 2002). It is no proof
    that nothing of one of them can be told: `recprune audit` measures that.
    """

    verb: ClassVar[str] = "min_users"
    target: str
    k: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.k) is not int or self.k < 1:
            raise RecpruneError(f"k must be a whole number of users, 1 or more, got {self.k!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Count, and drop; protected rows stay."""
        on = Actable(
            "such tables",
            "it is no table whose users were counted",
            lambda param: len(param.shape) == 2 and param.axes[0] in context.users,
        )

        def smaller(param: Param) -> Encoding:
            if 0 in param.shape:
                return param.value
            axis, rows = param.axes[0], param.shape[0]
            kept = context.users_of(axis, rows) >= self.k
            kept[list(param.protected)] = True
            kept &= param.value.mask()
            return drop(param, kept, context.shares(axis, rows)).value if not kept.all() else param.value

        return self.each(weights, smaller, on)

    def describe(self) -> str:
        """In words."""
        return f"merge the rows of {self.target} that fewer than {self.k} users stand behind"
