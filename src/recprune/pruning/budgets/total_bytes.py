"""So many bytes for all tables together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.documents import plain_numbers
from recprune.errors import RecpruneError
from recprune.pruning.budgets.budget import Budget
from recprune.weights import Bfloat16, Codebook, Columns, Dense, Encoding, LowRank, Param, Quantized, Rows, Stacked

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
        plain_numbers(self)
        if type(self.bytes) is not int or self.bytes < 1:
            raise RecpruneError(f"bytes must be a positive whole number, got {self.bytes!r}")

    def allocate(
        self, params: Mapping[str, Param], importance: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """The rows with the most importance a byte, over all tables, as long as they fit."""
        stored = {name: param.value.mask() for name, param in params.items()}
        whole = sum(param.nbytes for param in params.values())
        if whole <= self.bytes:
            return stored
        fixed, scores, costs, tables, rows = 0.0, [], [], [], []
        for i, (name, param) in enumerate(params.items()):
            base, cost = _costs(param.value)
            # The protected rows, the shared row where it is none of them, and the marks: a bit a row at most.
            shared = 0.0 if param.protected and param.has_unknown else cost.max()
            fixed += base + cost[list(param.protected)].sum() + shared + (param.shape[0] + 7) // 8
            candidates = np.flatnonzero(stored[name] & ~np.isin(np.arange(param.shape[0]), param.protected))
            scores.append(importance[name][candidates] / cost[candidates])
            costs.append(cost[candidates])
            tables.append(np.full(len(candidates), i))
            rows.append(candidates)
        if fixed > self.bytes:
            smallest = min(math.ceil(fixed), whole)
            raise RecpruneError(
                f"a budget of {self.bytes} bytes cannot be met: the smallest for {', '.join(params)} is {smallest}"
            )
        order = np.argsort(-np.concatenate(scores), kind="stable")
        chosen = order[np.cumsum(np.concatenate(costs)[order]) <= self.bytes - fixed]
        table, row = np.concatenate(tables)[chosen], np.concatenate(rows)[chosen]
        kept = {}
        for i, (name, param) in enumerate(params.items()):
            kept[name] = np.zeros(param.shape[0], dtype=bool)
            kept[name][row[table == i]] = True
            kept[name][list(param.protected)] = True
        return kept

    def describe(self) -> str:
        """In words."""
        return f"{self.bytes:,} bytes of rows over all of them"


def _costs(value: Encoding) -> tuple[float, npt.NDArray[np.float64]]:
    """Bytes that stay whatever is dropped, and bytes of each row; together never less than what is stored then."""
    if isinstance(value, Rows):
        fixed, cost = _costs(value.inner)
        return fixed, cost[value.position(np.arange(value.rows))]
    if isinstance(value, LowRank):
        fixed, cost = _costs(value.left)
        return fixed + value.right.nbytes, cost
    if isinstance(value, Columns):
        sides = [_costs(part) for part in value.parts]
        return sum(fixed for fixed, _ in sides), np.sum([cost for _, cost in sides], axis=0)
    if isinstance(value, Stacked):
        parts = [_costs(part) for part in value.parts]
        which, place = value.position(np.arange(value.shape[0]))
        each = np.concatenate([cost for _, cost in parts])
        start = np.cumsum([0, *(len(cost) for _, cost in parts)])
        return value.order.nbytes + sum(fixed for fixed, _ in parts), each[start[which] + place]
    if not isinstance(value, Dense | Bfloat16 | Quantized | Codebook):
        raise RecpruneError(f"total_bytes cannot cut what is stored {value.kind}: its rows have no size of their own")
    empty = value.cut(0, np.zeros(0, np.int64)).nbytes
    # A last byte of codes and a last group's scale may be filled in part only.
    slack = 3 if isinstance(value, Quantized) else 0
    if isinstance(value, Codebook):
        slack = 1 + 2 * value.shape[1]  # the shared row may be a new word
    return float(empty + slack), np.full(value.shape[0], (value.nbytes - empty) / max(value.shape[0], 1))
