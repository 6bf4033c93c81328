"""So many bytes for all tables together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.documents import plain_numbers
from recprune.errors import RecpruneError
from recprune.pruning.budgets.budget import Budget
from recprune.pruning.budgets.row_bytes import stored_bytes
from recprune.pruning.shared_row import shared_row
from recprune.weights import Bfloat16, Codebook, Columns, Dense, Encoding, LowRank, Param, Quantized, Rows, Stacked

__all__ = ["TotalBytes"]


@dataclass(frozen=True)
class TotalBytes(Budget):
    """At most `bytes` for the targets together, spent where a byte saves most importance.

    One threshold over all tables: right for tables that do the same work (factors), wrong across different work, where
    it deletes every bias; give those a step of their own. The bound is hard: the marks of the kept rows are counted as they
    will be stored, and where not even the protected rows fit, the error says what the smallest is.
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
        always = {name: _always(param) for name, param in params.items()}
        rows = {name: np.flatnonzero(stored[name] & ~always[name]) for name in params}
        scores = [importance[name][rows[name]] / _costs(param.value)[rows[name]] for name, param in params.items()]
        order = np.argsort(-np.concatenate(scores), kind="stable")
        # Rows come back one by one, the best first: a row is there from its step on.
        step = np.empty(len(order), np.int64)
        step[order] = np.arange(1, len(order) + 1)
        starts = np.cumsum([len(rows[name]) for name in params])[:-1]
        steps = {}
        for name, mine in zip(params, np.split(step, starts), strict=True):
            steps[name] = np.where(always[name], 0, len(order) + 1)
            steps[name][rows[name]] = mine
        sizes = sum(stored_bytes(param, steps[name], len(order)) for name, param in params.items())
        fits = np.flatnonzero(sizes <= self.bytes)
        if not len(fits):
            smallest = min(int(np.min(sizes)), whole)
            raise RecpruneError(
                f"a budget of {self.bytes} bytes cannot be met: the smallest for {', '.join(params)} is {smallest}"
            )
        return {name: steps[name] <= fits[-1] for name in params}

    def describe(self) -> str:
        """In words."""
        return f"{self.bytes:,} bytes of rows over all of them"


def _always(param: Param) -> npt.NDArray[np.bool_]:
    """The protected rows, and the one that dropped rows read where it is known."""
    always = np.zeros(param.shape[0], dtype=bool)
    always[list(param.protected)] = True
    if (shared := shared_row(param.value)) >= 0:
        always[shared] = True
    return always


def _costs(value: Encoding) -> npt.NDArray[np.float64]:
    """Bytes of each row."""
    if isinstance(value, Rows):
        return _costs(value.inner)[value.position(np.arange(value.rows))]
    if isinstance(value, LowRank):
        return _costs(value.left)
    if isinstance(value, Columns):
        return np.asarray(np.sum([_costs(part) for part in value.parts], axis=0))
    if isinstance(value, Stacked):
        which, place = value.position(np.arange(value.shape[0]))
        start = np.cumsum([0, *(part.shape[0] for part in value.parts)])
        return np.concatenate([_costs(part) for part in value.parts])[start[which] + place]
    if not isinstance(value, Dense | Bfloat16 | Quantized | Codebook):
        raise RecpruneError(f"total_bytes cannot cut what is stored {value.kind}: its rows have no size of their own")
    empty = value.cut(0, np.zeros(0, np.int64)).nbytes
    return np.full(value.shape[0], (value.nbytes - empty) / max(value.shape[0], 1))
