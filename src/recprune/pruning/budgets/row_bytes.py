"""Bytes of a table of which more and more rows are kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recprune.bits import unpack_first
from recprune.errors import RecpruneError
from recprune.weights import Bfloat16, Codebook, Columns, Dense, Encoding, LowRank, Param, Quantized, Rows, Stacked
from recprune.weights.stacked import part_bits

__all__ = ["stored_bytes"]

Counts = npt.NDArray[np.int64]
_NEVER = np.iinfo(np.int64).max


def stored_bytes(param: Param, steps: Counts, last: int) -> Counts:
    """Bytes after `drop` of the rows that come later than step 0, 1, .. `last`; never less than what is stored then.

    `steps`: when each row comes, 0 for always, beyond `last` for never.
    """
    value: Encoding = param.value
    beside = 0
    while isinstance(value, LowRank):
        beside += value.right.nbytes
        value = value.left
    # Where no row is known to be the shared one, it is one more, and none where all others are kept.
    more = int(not isinstance(value, Rows) and not (param.protected and param.has_unknown))
    whole = _come(steps, last) + more >= len(steps)
    runs = _come(steps, last) - _come(np.maximum(steps[1:], steps[:-1]), last) + more
    marks: Counts = np.minimum(8 * runs, (len(steps) + 7) // 8)
    if not isinstance(value, Rows):
        size: Counts = np.where(whole, value.nbytes, marks + _bytes(value, steps, last, more)) + beside
        return size
    return marks + _bytes(value.inner, _inner(value, steps), last, 0) + beside


def _inner(value: Rows, steps: Counts) -> Counts:
    """When each row of what is stored comes: the row that dropped ones read is always there."""
    inner = np.full(value.inner.shape[0], _NEVER)
    np.minimum.at(inner, value.position(np.arange(value.rows)), steps)
    inner[value.default] = 0
    return inner


def _come(steps: Counts, last: int) -> Counts:
    """How many have come at each step."""
    come: Counts = np.cumsum(np.bincount(np.minimum(steps, last + 1), minlength=last + 2)[: last + 1])
    return come


def _bytes(value: Encoding, steps: Counts, last: int, more: int) -> Counts:
    """Bytes of the rows that have come, and of `more` others, without marks."""
    rows = _come(steps, last) + more
    width = value.shape[1]
    size: Counts
    if isinstance(value, Dense | Bfloat16):
        size = rows * (value.nbytes // max(value.shape[0], 1))
        return size
    if isinstance(value, Quantized):
        scales = {"per_row": rows, "per_column": width * np.ones_like(rows), "per_group": -(-rows // value.group)}
        size = _packed(rows * width, value.bits) + 2 * scales.get(value.granularity, np.ones_like(rows))
        return size
    if isinstance(value, Codebook):
        # A book holds the words that are read, and the mean that dropped rows read.
        first = np.full(len(value.words), _NEVER)
        np.minimum.at(first, unpack_first(value.codes, value.rows, value.bits), steps)
        words = np.minimum(_come(first, last) + 1, 1 << value.bits)
        size = _packed(rows, value.bits) + 2 * width * words
        return size
    if isinstance(value, LowRank):
        size = _bytes(value.left, steps, last, more) + value.right.nbytes
        return size
    if isinstance(value, Columns):
        size = np.sum([_bytes(part, steps, last, more) for part in value.parts], axis=0)
        return size
    if isinstance(value, Rows):
        size = _packed(rows, 1) + _bytes(value.inner, _inner(value, steps), last, more)
        return size
    if isinstance(value, Stacked):
        return _stacked(value, steps, last, more)
    raise RecpruneError(f"total_bytes cannot cut what is stored {value.kind}: its rows have no size of their own")


def _packed(counts: Counts, bits: int) -> Counts:
    packed: Counts = (counts * bits + 7) // 8
    return packed


def _stacked(value: Stacked, steps: Counts, last: int, more: int) -> Counts:
    """The other row may lie in any part, behind all that are kept."""
    which, place = value.position(np.arange(len(steps)))
    parts, others = [], []
    for i, part in enumerate(value.parts):
        mine = np.full(part.shape[0], _NEVER)
        mine[place[which == i]] = steps[which == i]
        parts.append(_bytes(part, mine, last, 0))
        others.append(_bytes(part, mine, last, more) - parts[-1])
    size: Counts = np.sum(parts, axis=0) + np.max(others, axis=0)
    if more or len(value.order):
        runs = 1 + int((np.diff(which) != 0).sum()) + more
        size += np.minimum(8 * runs, _packed(_come(steps, last) + more, part_bits(len(parts))))
    return size
