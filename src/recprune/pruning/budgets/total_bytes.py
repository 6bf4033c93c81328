"""So many bytes for all tables together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.pruning.budgets.budget import Budget
from recprune.weights import Param, Rows

__all__ = ["TotalBytes"]


@dataclass(frozen=True)
class TotalBytes(Budget):
    """At most `bytes` for the targets together, spent where a byte saves most importance.

    One threshold over all tables: right for tables that do the same work (factors), wrong across different work, where
    it deletes every bias; give those a step of their own. The bound is hard: the marks of the kept rows are counted, and
    where not even the protected rows fit, the error says what the smallest is.
    """

    kind: ClassVar[str] = "total_bytes"
    bytes: int

    def __post_init__(self) -> None:
        if not isinstance(self.bytes, int) or self.bytes < 1:
            raise RecpruneError(f"bytes must be a positive whole number, got {self.bytes!r}")

    def allocate(
        self, params: Mapping[str, Param], importance: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """The rows with the most importance a byte, over all tables, as long as they fit."""
        names = list(params)
        per_row, fixed = {}, 0.0
        for name, param in params.items():
            inner = param.value.inner if isinstance(param.value, Rows) else param.value
            per_row[name] = inner.nbytes / max(inner.shape[0], 1)
            # The protected rows, the shared row where it is none of them, and the bitmap.
            shared = 0 if param.protected and param.has_unknown else 1
            fixed += per_row[name] * (len(param.protected) + shared) + (param.shape[0] + 7) // 8
        if fixed > self.bytes:
            raise RecpruneError(
                f"a budget of {self.bytes} bytes cannot be met: the smallest for {', '.join(names)} is {int(np.ceil(fixed))}"
            )
        scores, tables, rows = [], [], []
        for i, (name, param) in enumerate(params.items()):
            stored = param.value.mask() if isinstance(param.value, Rows) else np.ones(param.shape[0], dtype=bool)
            stored[list(param.protected)] = False
            candidates = np.flatnonzero(stored)
            scores.append(importance[name][candidates] / per_row[name])
            tables.append(np.full(len(candidates), i))
            rows.append(candidates)
        order = np.argsort(-np.concatenate(scores), kind="stable")
        table, row = np.concatenate(tables)[order], np.concatenate(rows)[order]
        cost = np.cumsum(np.array([per_row[name] for name in names])[table])
        chosen = cost <= self.bytes - fixed
        kept = {}
        for i, (name, param) in enumerate(params.items()):
            mask = np.zeros(param.shape[0], dtype=bool)
            mask[row[chosen & (table == i)]] = True
            mask[list(param.protected)] = True
            kept[name] = mask
        return kept

    def describe(self) -> str:
        """In words."""
        return f"{self.bytes:,} bytes of rows over all of them"
