"""Ways to store parts of a model, and the best of them within so many bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Choices"]

Counts = npt.NDArray[np.int64]
_POINTS = 3000


@dataclass(frozen=True, eq=False)
class Choices:
    """What storing something can cost: for each way its `bytes` (n,), its `loss` (n,), and what was picked for each part.

    `a + b` stores both, `a | b` one of the two. Only ways that no other beats on both bytes and loss are kept, and of
    those a few thousand, evenly spread over the logarithm of the bytes: the multiple-choice knapsack by dominance
    (Kellerer, Pferschy, Pisinger 2004, ch. 11), exact but for that spread. `picks`: (n, parts), the number of the way of
    each part.

    >>> table = Choices.of([100, 50, 10], [0.0, 1.0, 9.0])
    >>> both = table + Choices.of([80, 20], [0.0, 2.0])
    >>> size, picks = both.best(120)
    >>> size, picks.tolist(), int(both.bytes[0])
    (120, [0, 1], 30)
    """

    bytes: Counts
    loss: npt.NDArray[np.float64]
    picks: Counts

    @classmethod
    def of(cls, sizes: npt.ArrayLike, losses: npt.ArrayLike) -> Choices:
        """The ways of one part, numbered in the order given; any shape."""
        size, loss = np.asarray(sizes, np.int64).reshape(-1), np.asarray(losses, np.float64).reshape(-1)
        kept = _best_of(size, loss)
        return cls(size[kept], loss[kept], kept[:, None])

    @classmethod
    def fixed(cls, size: int) -> Choices:
        """Bytes of which nothing can be chosen."""
        return cls(np.array([size]), np.zeros(1), np.zeros((1, 0), np.int64))

    def __add__(self, other: Choices) -> Choices:
        size = (self.bytes[:, None] + other.bytes).reshape(-1)
        loss = (self.loss[:, None] + other.loss).reshape(-1)
        kept = _best_of(size, loss)
        mine, theirs = np.divmod(kept, len(other.bytes))
        return Choices(size[kept], loss[kept], np.concatenate([self.picks[mine], other.picks[theirs]], axis=1))

    def __or__(self, other: Choices) -> Choices:
        size, loss = np.concatenate([self.bytes, other.bytes]), np.concatenate([self.loss, other.loss])
        kept = _best_of(size, loss)
        return Choices(size[kept], loss[kept], np.concatenate([self.picks, other.picks])[kept])

    def best(self, limit: int) -> tuple[int, Counts] | None:
        """The bytes, and what to pick for each part, of the least loss that fits into `limit`; None where nothing fits."""
        fits = np.flatnonzero(self.bytes <= limit)
        return (int(self.bytes[fits[-1]]), self.picks[fits[-1]]) if len(fits) else None


def _best_of(size: Counts, loss: npt.NDArray[np.float64]) -> Counts:
    """The ways that lose less than all that are as small, the smallest first; at most `_POINTS` or so."""
    order: Counts = np.lexsort((loss, size))
    lowest = np.minimum.accumulate(loss[order])
    order = order[np.concatenate([[True], lowest[1:] < lowest[:-1]])]
    if len(order) <= _POINTS:
        return order
    span = np.log(np.maximum(size[order], 1) / max(int(size[order[0]]), 1))
    bucket = (span * (_POINTS / span[-1])).astype(np.int64)
    # Of each bucket the best, and the smallest of all.
    last = np.append(bucket[1:] != bucket[:-1], True)
    last[0] = True
    thinned: Counts = order[last]
    return thinned
