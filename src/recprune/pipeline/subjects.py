"""What an audit asks of a task: which interactions and users are told apart, the task without some of them, and signals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from recprune.artifact import Artifact, read
from recprune.errors import RecpruneError
from recprune.files import remove_directory
from recprune.pipeline.like import LikeTask
from recprune.pipeline.next_item import NextItemTask
from recprune.pipeline.shared import Say
from recprune.runtime import Scorer
from recprune.runtime.reference import execute

__all__ = [
    "SIDES",
    "Interactions",
    "LikeSubject",
    "NextItemSubject",
    "Subject",
    "Units",
    "manifests",
    "shadow",
    "subject_of",
    "witnessed",
]

Array = npt.NDArray[Any]
T = TypeVar("T", LikeTask, NextItemTask)
SIDES = {"original": "original", "compressed": "artifact"}
"""The models of a task that are attacked, and the artifact of each."""
_FEWEST = 10  # users whom one who is forgotten is compared with
_LEAST = 3  # training interactions of a user who is audited
_ROWS = 20  # interactions of a user that are asked for
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Units:
    """What may be in the training data of a model: first interactions, then users.

    `user`: (units,), whose they are. `of_users`: (units,), True for users with all their rows. `trained`: (units,), whether
    the shipped models were trained with it. `rows`, `unit`: (asked,), what is asked of a model, and for which unit.
    """

    user: Array
    of_users: npt.NDArray[np.bool_]
    trained: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]

    def signals(self, asked: Array) -> Array:
        """The mean of what was asked for each unit, (units,)."""
        count = np.bincount(self.unit, minlength=len(self.user))
        found: Array = np.bincount(self.unit, asked, len(self.user)) / np.maximum(count, 1)
        return found


class Subject(Protocol):
    """A task as an audit sees it. The pool are the interactions of training and test."""

    units: Units

    def without(self, present: npt.NDArray[np.bool_], seed: int) -> Any:
        """The task over the same data, with the units that are `present` in training and the others nowhere."""

    def signals(self, artifact: Artifact) -> Array:
        """How sure an artifact is of each unit, (units,)."""


def subject_of(task: Any, rows: int, users: int, seed: int) -> Subject:
    """The subject of a task: about `rows` interactions, half of them of training, and at most `users` users."""
    return _subject(task, lambda asked: _Pool.drawn(asked, rows, users, seed))


def witnessed(
    task: Any, users: Sequence[str], others: int, seed: int, lost: Array
) -> tuple[Subject, list[npt.NDArray[np.int64]]]:
    """The subject of a task with these `users` alone, and beside each at most `others` who did about as much.

    Gives for each user the units: first the user's, then those of the others; none for one of whom nothing was trained on.
    Items that are `lost` are not asked for. Raises RecpruneError where there are too few others.
    """
    groups: list[npt.NDArray[np.int64]] = []

    def draw(asked: Interactions) -> _Pool:
        found, chosen = _beside(asked, users, others, seed)
        groups.extend(found)
        return _Pool(asked, np.zeros(0, dtype=np.int64), chosen, ~np.isin(asked.items, lost))

    return _subject(task, draw), groups


def shadow(
    subject: Subject, present: npt.NDArray[np.bool_], seed: int, place: Path, sides: Iterable[str], say: Say
) -> dict[str, Array]:
    """The signals of a model that was trained with the units that are `present` alone, and of its recipe's; it is not kept.

    `place`: a folder that is there while it works. `sides`: of `SIDES`.
    """
    remove_directory(place)  # of one of other settings that was killed
    place.mkdir(parents=True)
    task = subject.without(present, seed)
    task.train(place, say)
    if "compressed" in sides:
        task.compress(place, say)
    found = {side: subject.signals(read(place / SIDES[side])) for side in sides}
    remove_directory(place)
    return found


def manifests(folder: Path, sides: Iterable[str] = SIDES) -> dict[str, str]:
    """The SHA-256 of the manifest of each artifact in a task's folder: by it what was found is known to be of these."""
    return {side: hashlib.sha256((folder / SIDES[side] / "manifest.json").read_bytes()).hexdigest() for side in sides}


def _subject(task: Any, draw: Callable[[Interactions], _Pool]) -> Subject:
    return (LikeSubject if isinstance(task, LikeTask) else NextItemSubject)(task, draw)


@dataclass(frozen=True, eq=False)
class Interactions:
    """Those of training and test: `user` (rows,), as the task numbers or names them; `users` and `items`: ids as text."""

    user: Array
    trained: npt.NDArray[np.bool_]
    users: Array
    items: Array


def _beside(
    asked: Interactions, users: Sequence[str], others: int, seed: int
) -> tuple[list[npt.NDArray[np.int64]], Array]:
    """For each user the places among those chosen of the user and of the others; and who was chosen."""
    names, first, who = np.unique(asked.user, return_index=True, return_inverse=True)
    count = np.bincount(who, asked.trained, len(names))
    row_of = {name: row for row, name in enumerate(asked.users[first].tolist())}
    mine = [row_of.get(user, -1) for user in users]
    trained = [row for row in mine if row >= 0 and count[row]]
    free = np.setdiff1d(np.flatnonzero(count), trained)
    if not trained:
        return [np.zeros(0, dtype=np.int64) for _ in users], names[:0]
    if len(free) < _FEWEST:
        raise RecpruneError(f"a comparison needs {_FEWEST} other users in training, and there are {len(free)}")
    # So few that models without them are like the one that is shipped.
    most = max(_FEWEST, min(others, len(free) // (10 * len(trained))))
    luck = np.random.default_rng(seed).random(len(free))
    near = {row: free[np.lexsort((luck, np.abs(np.log(count[free]) - np.log(count[row]))))[:most]] for row in trained}
    chosen = np.unique(np.concatenate([np.array(trained), *near.values()]))
    groups = [
        np.searchsorted(chosen, np.append(row, near[row])) if row in near else np.zeros(0, dtype=np.int64)
        for row in mine
    ]
    return groups, names[chosen]


class _Pool:
    """Interactions of training and test, numbered; `unit` of each is -1 where it is not audited.

    `single`: numbers of interactions that are units of their own; `chosen`: users who are. `askable`: which interactions may
    be asked for.
    """

    def __init__(self, asked: Interactions, single: Array, chosen: Array, askable: Array | None = None) -> None:
        self.trained = asked.trained
        self.unit = np.full(len(asked.user), -1, dtype=np.int64)
        self.unit[single] = np.arange(len(single))
        names, who = np.unique(asked.user, return_inverse=True)
        place = np.full(len(names), -1, dtype=np.int64)
        place[np.searchsorted(names, chosen)] = len(single) + np.arange(len(chosen))
        self.unit = np.where(place[who] < 0, self.unit, place[who])
        ask = np.flatnonzero((self.unit >= 0) & (True if askable is None else askable))
        ask = ask[np.argsort(self.unit[ask], kind="stable")]
        rank = np.arange(len(ask)) - np.searchsorted(self.unit[ask], self.unit[ask])
        ask = ask[rank < _ROWS]
        of_users = np.arange(len(single) + len(chosen)) >= len(single)
        was = np.concatenate([asked.trained[single], np.ones(len(chosen), dtype=bool)])
        self.units = Units(np.concatenate([asked.user[single], chosen]), of_users, was, ask, self.unit[ask])

    @classmethod
    def drawn(cls, asked: Interactions, rows: int, users: int, seed: int) -> _Pool:
        """Interactions and users by lot."""
        rng = np.random.default_rng(seed)
        trained = asked.trained
        names, who = np.unique(asked.user, return_inverse=True)
        able = np.flatnonzero(np.bincount(who, trained, len(names)) >= _LEAST)
        # So few that the models without half of them are like the one that is shipped.
        chosen = rng.permutation(able)[: min(users, len(able) // 10)]
        free = ~np.isin(who, chosen)
        half = min(rows // 2, *(int((free & side).sum()) for side in (trained, ~trained)))
        if not half:
            raise RecpruneError("an audit needs interactions of training and of test")
        single = np.concatenate([rng.permutation(np.flatnonzero(free & side))[:half] for side in (trained, ~trained)])
        return cls(asked, single, names[chosen])

    def inside(self, present: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which interactions of the pool are trained on."""
        return np.where(self.unit >= 0, present[self.unit], self.trained)

    def gone(self, present: npt.NDArray[np.bool_]) -> Array:
        """Users of whom nothing is left."""
        absent = self.units.of_users & ~present
        return self.units.user[absent]


class LikeSubject:
    """A task of kind `like`. A signal is the log odds that the model gives to what the user said."""

    def __init__(self, task: LikeTask, draw: Callable[[Interactions], _Pool]) -> None:
        data = task.data
        self.task = task
        self.frame = pl.concat([data.train, data.test])
        self.labels = np.concatenate([data.labels["train"], data.labels["test"]])
        trained = np.arange(len(self.frame)) < len(data.train)
        text = (self.frame[name].cast(pl.String).to_numpy() for name in ("user", "item"))
        self._pool = draw(Interactions(self.frame["user"].to_numpy(), trained, *text))
        self.units = self._pool.units

    def without(self, present: npt.NDArray[np.bool_], seed: int) -> LikeTask:
        """The task over the rows of training that are present; users who are not are gone from validation too."""
        data, inside, gone = self.task.data, self._pool.inside(present), self._pool.gone(present)
        absent = pl.Series(gone, dtype=self.frame.schema["user"])
        stays = ~data.valid["user"].is_in(absent.implode())
        labels = {**data.labels, "train": self.labels[inside], "valid": data.labels["valid"][stays.to_numpy()]}
        other = replace(
            data,
            train=self.frame.filter(pl.Series(inside)),
            valid=data.valid.filter(stays),
            implicit=data.implicit.filter(~pl.col("user").is_in(absent.implode())),
            labels=labels,
        )
        return _over(self.task, other, seed)

    def signals(self, artifact: Artifact) -> Array:
        """Log odds of the label."""
        rows = self.units.rows
        score = np.clip(Scorer(artifact).score(self.frame[rows]).astype(np.float64), 1e-7, 1 - 1e-7)
        odds = np.log(score) - np.log1p(-score)
        return self.units.signals(np.where(self.labels[rows] > 0.5, odds, -odds))


class NextItemSubject:
    """A task of kind `next_item`. A signal is the log share of the item among all scores, the history without it given."""

    def __init__(self, task: NextItemTask, draw: Callable[[Interactions], _Pool]) -> None:
        data = task.data
        self.task = task
        held = [items[items < data.catalogue] for items in data.relevant["test"]]
        parts = [data.histories, held]
        self.user = np.concatenate([np.repeat(np.arange(len(p)), [len(items) for items in p]) for p in parts])
        self.item = np.concatenate([np.concatenate(p) for p in parts]).astype(np.int64)
        trained = np.arange(len(self.user)) < sum(len(items) for items in data.histories)
        text = data.users.astype(str)[self.user], data.items.astype(str)[self.item]
        self._pool = draw(Interactions(self.user, trained, *text))
        self.units = self._pool.units

    def without(self, present: npt.NDArray[np.bool_], seed: int) -> NextItemTask:
        """The task over the histories that are present; users who are not are gone from validation too."""
        from scipy.sparse import csr_array

        data, inside = self.task.data, self._pool.inside(present)
        order = np.argsort(self.user[inside], kind="stable")  # what came last stays last
        user, item = self.user[inside][order], self.item[inside][order]
        shape = (len(data.users), data.catalogue)
        user_items = csr_array((np.ones(len(user), np.float32), (user, item)), shape=shape)
        user_items.sort_indices()
        histories = np.split(item, np.cumsum(np.bincount(user, minlength=len(data.users)))[:-1])
        gone = set(self._pool.gone(present).tolist())
        counts = data.counts.copy()
        counts[: data.catalogue] = np.bincount(item, minlength=data.catalogue)
        valid = [items[:0] if row in gone else items for row, items in enumerate(data.relevant["valid"])]
        other = replace(
            data,
            counts=counts,
            user_items=user_items,
            histories=histories,
            before_test=histories,
            relevant={**data.relevant, "valid": valid},
        )
        return _over(self.task, other, seed)

    def signals(self, artifact: Artifact) -> Array:
        """Log of the softmax over the catalogue."""
        graph, rows = artifact.graph, self.units.rows
        assert graph is not None
        assert graph.items is not None
        ids = self.task.data.items.astype(str)
        place = artifact.vocabularies[graph.items].lookup(ids[: self.task.data.catalogue].astype(object))
        items = len(artifact.vocabularies[graph.items])
        order = np.argsort(self.user, kind="stable")
        starts = np.searchsorted(self.user[order], np.arange(len(self.task.data.users) + 1))
        found = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            asked = rows[start : start + _BLOCK]
            known = [order[starts[u] : starts[u + 1]] for u in self.user[asked]]
            histories = [list(ids[self.item[k[k != row]]]) for k, row in zip(known, asked, strict=True)]
            given: Mapping[str, Any] = {graph.columns[0]: histories}
            scores = execute(graph, artifact.weights, artifact.vocabularies, given)[:, :items].astype(np.float64)
            top = scores.max(axis=1, keepdims=True)
            whole = top[:, 0] + np.log(np.exp(scores - top).sum(axis=1))
            found[start : start + _BLOCK] = scores[np.arange(len(asked)), place[self.item[asked]]] - whole
        return self.units.signals(found)


def _over(task: T, data: Any, seed: int) -> T:
    """The same task over other data, with the recipe that is shipped alone."""
    config = replace(task.config, recipes={task.config.ship: task.config.recipes[task.config.ship]})
    other = type(task)(config, task.load, seed, task.split_seed)
    other.__dict__["data"] = data
    return other
