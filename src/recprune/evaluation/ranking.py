"""Metrics of ranked lists against held-out items, over a whole catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import RecpruneError
from recprune.evaluation.metrics import Metric, parse_metric
from recprune.evaluation.statistics import Covered, Floats, Ints, Statistic, UserMean

__all__ = ["ListTruth", "coverage", "hit_rate", "mrr", "ndcg", "precision", "recall"]

_Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ListTruth:
    """What was held out: `relevant`, one array of item rows per user, in the order of the ranked lists.

    `n_items` is the size of the catalogue, item rows are 0..n_items-1; `tail` (n_items,) marks the tail items that
    `tail_recall` asks for. Raises RecpruneError for items outside of the catalogue.
    """

    relevant: Sequence[ArrayLike]
    n_items: int
    tail: _Mask | None = None
    candidates: str = "the whole catalogue less the user's own history"
    user_of: Ints = field(init=False, repr=False)
    item_of: Ints = field(init=False, repr=False)
    n_users: int = field(init=False)

    def __post_init__(self) -> None:
        arrays = [np.asarray(items, dtype=np.int64).reshape(-1) for items in self.relevant]
        if not arrays:
            raise RecpruneError("held-out items of no user at all")
        lengths = [len(items) for items in arrays]
        user_of = np.repeat(np.arange(len(arrays)), lengths)
        item_of = np.concatenate(arrays)
        if not len(item_of):
            raise RecpruneError(f"none of {len(arrays)} users has a held-out item")
        if item_of.min() < 0 or item_of.max() >= self.n_items:
            wrong = item_of[(item_of < 0) | (item_of >= self.n_items)][0]
            raise RecpruneError(f"held-out item {wrong} is outside of the catalogue of {self.n_items} items")
        keys = np.unique(user_of * self.n_items + item_of)
        object.__setattr__(self, "user_of", keys // self.n_items)
        object.__setattr__(self, "item_of", keys % self.n_items)
        object.__setattr__(self, "n_users", len(arrays))
        if self.tail is not None:
            object.__setattr__(self, "tail", np.asarray(self.tail, dtype=bool))
            if self.tail.shape != (self.n_items,):
                raise RecpruneError(f"tail has shape {self.tail.shape}, the catalogue has {self.n_items} items")

    def check(self, predictions: ArrayLike, whose: str = "ranked lists") -> Ints:
        """Ranked lists (users, places) of item rows, best first, missing places -1; else RecpruneError."""
        lists = np.asarray(predictions)
        if lists.ndim != 2 or len(lists) != self.n_users:
            raise RecpruneError(f"{whose}: {self.n_users} users but lists of shape {lists.shape}")
        if not np.issubdtype(lists.dtype, np.integer):
            raise RecpruneError(f"{whose}: must hold item rows (integers, -1 where missing), got {lists.dtype}")
        lists = lists.astype(np.int64)
        wrong = (lists < -1) | (lists >= self.n_items)
        if wrong.any():
            raise RecpruneError(f"{whose}: item {lists[wrong][0]} is outside of the catalogue of {self.n_items} items")
        ordered = np.sort(lists, axis=1)
        twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
        if twice.any():
            raise RecpruneError(f"{whose}: the list of user {twice.argmax()} names an item twice")
        return lists

    def count(self, users: _Mask | None = None, items: _Mask | None = None) -> tuple[int, int]:
        """Users with a held-out item and their held-out items, within the masks."""
        keep = self._kept(users, items)
        return len(np.unique(self.user_of[keep])), int(keep.sum())

    def select(self, axis: str, mask: _Mask, name: str) -> dict[str, _Mask]:
        """Turn a slice into the arguments of `statistic`; axes are `users` and `items`."""
        size = {"users": self.n_users, "items": self.n_items}.get(axis)
        if size is None:
            raise RecpruneError(f"slice {name!r} is over {axis}; ranked lists have slices over users or items")
        if len(mask) != size:
            raise RecpruneError(f"slice {name!r} has {len(mask)} entries, the test has {size} {axis}")
        return {axis: mask}

    def _kept(self, users: _Mask | None, items: _Mask | None) -> _Mask:
        keep = np.ones(len(self.user_of), dtype=bool)
        if users is not None:
            keep &= users[self.user_of]
        if items is not None:
            keep &= items[self.item_of]
        return keep

    def statistic(
        self, metric: Metric, lists: Ints, users: _Mask | None = None, items: _Mask | None = None
    ) -> Statistic:
        """The metric as a function of user weights, for the users and held-out items where the masks are true."""
        if metric.judged_on != "lists":
            raise RecpruneError(f"metric {str(metric)!r} is judged on labelled rows, this test has ranked lists")
        lists = lists if metric.k is None else lists[:, : metric.k]
        if metric.base == "coverage":
            return self._coverage(lists, users, items)
        if metric.base == "tail_recall":
            if self.tail is None:
                raise RecpruneError("metric 'tail_recall' needs to know the tail items: ListTruth(..., tail=mask)")
            items = self.tail if items is None else items & self.tail
        keep = self._kept(users, items)
        if not keep.any():
            raise RecpruneError(f"metric {str(metric)!r}: no held-out items")
        held = np.bincount(self.user_of[keep], minlength=self.n_users)
        keys = self.user_of[keep] * self.n_items + self.item_of[keep]
        asked = np.arange(self.n_users)[:, None] * self.n_items + lists
        place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        # A missing place is -1 and would otherwise read as the last item of the user before.
        hits = (keys[place] == asked) & (lists >= 0)
        k = metric.k if metric.k is not None else lists.shape[1]
        counted = held > 0
        per_user = np.where(counted, _PER_USER[metric.base](hits, np.maximum(held, 1), k), 0.0)
        eligible = self.n_users if users is None else int(users.sum())
        return UserMean(per_user, counted.astype(np.float64), left_out=eligible - int(counted.sum()))

    def _coverage(self, lists: Ints, users: _Mask | None, items: _Mask | None) -> Covered:
        keep = lists >= 0
        if users is not None:
            keep &= users[:, None]
        if items is not None:
            keep &= items[lists]
        user, place = np.nonzero(keep)
        item = lists[user, place]
        order = np.argsort(item, kind="stable")
        _, starts = np.unique(item[order], return_index=True)
        return Covered(
            seen_by=user[order].astype(np.int64),
            starts=starts.astype(np.int64),
            catalogue=self.n_items if items is None else max(int(items.sum()), 1),
            users=self.n_users if users is None else int(users.sum()),
        )


def _recall(hits: _Mask, held: Ints, k: int) -> Floats:
    found: Floats = hits.sum(axis=1) / held
    return found


def _precision(hits: _Mask, held: Ints, k: int) -> Floats:
    found: Floats = hits.sum(axis=1) / k
    return found


def _hit(hits: _Mask, held: Ints, k: int) -> Floats:
    return np.asarray(hits.any(axis=1), dtype=np.float64)


def _ndcg(hits: _Mask, held: Ints, k: int) -> Floats:
    gain = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(gain)[np.minimum(held, k) - 1]
    found: Floats = hits @ gain[: hits.shape[1]] / ideal
    return found


def _mrr(hits: _Mask, held: Ints, k: int) -> Floats:
    found: Floats = hits.any(axis=1) / (hits.argmax(axis=1) + 1)
    return found


_PER_USER = {
    "recall": _recall,
    "tail_recall": _recall,
    "precision": _precision,
    "hit": _hit,
    "ndcg": _ndcg,
    "mrr": _mrr,
}


def _value(name: str, lists: ArrayLike, relevant: Sequence[ArrayLike], n_items: int | None = None, **kw: Any) -> float:
    given = np.asarray(lists)
    if n_items is None:
        tops = [given.max(initial=-1), *(np.max(items, initial=-1) for items in relevant)]
        n_items = int(max(tops)) + 1
    truth = ListTruth(relevant, n_items, **kw)
    return float(truth.statistic(parse_metric(name), truth.check(given))(np.ones((1, truth.n_users)))[0])


def recall(ranked: ArrayLike, relevant: Sequence[ArrayLike], k: int) -> float:
    """Mean over users of held-out items found in the first k places / all held-out items.

    `ranked` (users, places), missing places -1; `relevant`: one array of items per user; users without are left out.

    >>> recall([[3, 7, 5], [1, 2, -1]], [[7, 9], [4]], k=3)
    0.25
    """
    return _value(f"recall@{k}", ranked, relevant)


def precision(ranked: ArrayLike, relevant: Sequence[ArrayLike], k: int) -> float:
    """Mean over users of held-out items found in the first k places / k.

    >>> precision([[3, 7]], [[7, 9]], k=2)
    0.5
    """
    return _value(f"precision@{k}", ranked, relevant)


def hit_rate(ranked: ArrayLike, relevant: Sequence[ArrayLike], k: int) -> float:
    """Share of users with a held-out item in the first k places.

    >>> hit_rate([[3, 7], [1, 2]], [[7, 9], [4]], k=2)
    0.5
    """
    return _value(f"hit@{k}", ranked, relevant)


def ndcg(ranked: ArrayLike, relevant: Sequence[ArrayLike], k: int) -> float:
    """Mean over users of the discounted gain of the first k places / that of a perfect list.

    Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002; binary gains.

    >>> round(ndcg([[3, 7]], [[7]], k=2), 6)
    0.63093
    """
    return _value(f"ndcg@{k}", ranked, relevant)


def mrr(ranked: ArrayLike, relevant: Sequence[ArrayLike], k: int | None = None) -> float:
    """Mean over users of 1 / place of the first held-out item; 0 where none is listed.

    >>> mrr([[3, 7], [1, 2]], [[7], [1]])
    0.75
    """
    return _value("mrr" if k is None else f"mrr@{k}", ranked, relevant)


def coverage(ranked: ArrayLike, n_items: int, k: int | None = None) -> float:
    """Share of the catalogue of `n_items` that at least one user sees in the first k places.

    >>> coverage([[3, 7], [3, -1]], n_items=10)
    0.2
    """
    lists = np.asarray(ranked)
    return _value("coverage" if k is None else f"coverage@{k}", lists, [[0]] * len(lists), n_items)
