"""Named slices of the test: popular and rare items, cold and warm users, groups by country and age."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import RecpruneError

__all__ = ["AGES", "Slice", "by_activity", "by_age", "by_group", "by_popularity", "popularity_thirds"]

AGES = (
    (0, 17, "under 18"),
    (18, 24, "18-24"),
    (25, 34, "25-34"),
    (35, 44, "35-44"),
    (45, 54, "45-54"),
    (55, 999, "55+"),
)


@dataclass(frozen=True, eq=False)
class Slice:
    """A part of the test: `mask` (bool) over `axis`, one of `rows`, `users`, `items`; `name` like `books:tail`."""

    name: str
    mask: NDArray[np.bool_]
    axis: str = "rows"

    def __post_init__(self) -> None:
        if self.axis not in ("rows", "users", "items"):
            raise RecpruneError(f"slice {self.name!r}: axis must be rows, users or items, got {self.axis!r}")
        mask = np.asarray(self.mask)
        if mask.dtype != np.bool_ or mask.ndim != 1:
            raise RecpruneError(f"slice {self.name!r}: mask must be booleans of one dimension")
        object.__setattr__(self, "mask", mask)


def _counts(training_counts: ArrayLike) -> NDArray[np.int64]:
    counts = np.asarray(training_counts)
    if counts.ndim != 1 or (len(counts) and counts.min() < 0):
        raise RecpruneError("training counts must be an array of one dimension without negative numbers")
    return counts.astype(np.int64)


def popularity_thirds(training_counts: ArrayLike) -> NDArray[np.int8]:
    """Part of each item: 0 head, 1 middle, 2 tail, 3 unseen in training. `training_counts`: (items,).

    Items are ranked by their training interactions; the head holds the first third *of the interactions*, the tail the
    last third. Items with equal counts stay together, on the side where the middle of their class falls.

    >>> popularity_thirds([6, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0]).tolist()
    [0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
    """
    counts = _counts(training_counts)
    part = np.full(len(counts), 3, dtype=np.int8)
    values, of, how_many = np.unique(counts, return_inverse=True, return_counts=True)
    held = (values * how_many)[::-1].astype(np.float64)
    total = held.sum()
    if not total:
        return part
    middle = ((np.cumsum(held) - held / 2) / total)[::-1]
    third = np.minimum((middle * 3).astype(np.int8), 2)
    return np.where(counts > 0, third[of], part).astype(np.int8)


def by_popularity(training_counts: ArrayLike, rows: ArrayLike | None = None, *, name: str = "books") -> list[Slice]:
    """Slices `books:head`, `:middle`, `:tail`, `:unseen` (see `popularity_thirds`); empty ones are left out.

    Without `rows` the masks are over the items themselves (ranked lists). With `rows` (item of each test row; the
    number of items stands for an item outside of the vocabulary) they are over the test rows.
    """
    part, axis = popularity_thirds(training_counts), "items"
    if rows is not None:
        part, axis = np.append(part, np.int8(3))[_within(rows, len(part), "item")], "rows"
    names = ("head", "middle", "tail", "unseen")
    return [Slice(f"{name}:{what}", part == i, axis) for i, what in enumerate(names) if (part == i).any()]


def by_activity(
    training_counts: ArrayLike, rows: ArrayLike | None = None, *, warm: int = 5, name: str = "readers"
) -> list[Slice]:
    """Slices of users by what training saw of them: `unseen` (0), `cold` (1 to warm - 1), `warm` (warm or more).

    `training_counts`: (users,). With `rows` (user of each test row; the number of users stands for a user outside of
    the vocabulary) the masks are over test rows, without over users. Empty slices are left out.
    """
    counts = _counts(training_counts)
    axis = "users"
    if rows is not None:
        counts, axis = np.append(counts, 0)[_within(rows, len(counts), "user")], "rows"
    masks = {"unseen": counts == 0, "cold": (counts > 0) & (counts < warm), "warm": counts >= warm}
    return [Slice(f"{name}:{what}", mask, axis) for what, mask in masks.items() if mask.any()]


def by_group(name: str, values: ArrayLike, *, top: int = 5, axis: str = "rows") -> list[Slice]:
    """Slices by a categorical attribute, `country:usa`: the `top` most frequent values, `other`, and `unknown`.

    `values`: one per row or user; None, NaN and empty text are `unknown`. Empty slices are left out.

    >>> [s.name for s in by_group("country", ["usa", "usa", None, "spain", "peru"], top=1)]
    ['country:usa', 'country:other', 'country:unknown']
    """
    given = [_text(value) for value in np.asarray(values, dtype=object).tolist()]
    texts = np.array(given, dtype=str)
    known, counts = np.unique(texts[texts != ""], return_counts=True)
    best = known[np.lexsort((known, -counts))][:top]
    masks = {str(value): texts == value for value in best}
    masks["other"] = (texts != "") & ~np.isin(texts, best)
    masks["unknown"] = texts == ""
    return [Slice(f"{name}:{what}", mask, axis) for what, mask in masks.items() if mask.any()]


def by_age(ages: ArrayLike, *, name: str = "age", axis: str = "rows") -> list[Slice]:
    """Slices `age:under 18`, `age:18-24` ... `age:55+`, `age:unknown` of ages in years; NaN, negative: unknown."""
    years = np.asarray(ages, dtype=np.float64)
    masks = {label: (years >= low) & (years < high + 1) for low, high, label in AGES}
    known = np.logical_or.reduce(list(masks.values()))
    masks["unknown"] = ~known
    return [Slice(f"{name}:{what}", mask, axis) for what, mask in masks.items() if mask.any()]


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _within(rows: ArrayLike, size: int, what: str) -> NDArray[np.int64]:
    index = np.asarray(rows, dtype=np.int64)
    if len(index) and (index.min() < 0 or index.max() > size):
        raise RecpruneError(
            f"{what} rows must be 0..{size} ({size}: outside of the vocabulary), got {index.min()} to {index.max()}"
        )
    return index
