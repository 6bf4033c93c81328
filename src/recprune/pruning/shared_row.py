"""What dropping rows of a table does to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.weights import Encoding, LowRank, Param, Rows

__all__ = ["drop", "shared_row"]


def drop(param: Param, kept: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64]) -> Param:
    """Store only the kept rows (boolean, one a row); the shared row is the mean of its readers weighted by `shares`.

    Where an unknown id counts nothing, so does a dropped one: the shared row stays zeros.
    """
    stored = param.value.mask()
    if (kept & ~stored).any():
        raise RecpruneError("a row that was dropped before cannot be kept again")
    if param.protected and param.has_unknown:
        shared = param.protected[-1]
    elif stored.all():
        shared = int(np.flatnonzero(~kept)[-1])
    else:
        shared = shared_row(param.value)
    kept = kept | (np.arange(len(kept)) == shared)
    if param.unknown_is_zero:  # the mean of what only the row of zeros reads
        shares = np.where(np.arange(len(kept)) == shared, 1.0, 0.0)
    return param if kept.all() else replace(param, value=_drop(param.value, kept, shared, shares))


def shared_row(value: Encoding) -> int:
    """The stored row that dropped rows read; -1 where it is none of the table's own."""
    if isinstance(value, LowRank):
        return shared_row(value.left)
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
