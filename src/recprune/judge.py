"""How good an artifact is on rows that were held out: what a search asks again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recprune.artifact import Artifact, lay_out
from recprune.artifact.layout import without_dead
from recprune.evaluation import ListTruth, RowTruth
from recprune.runtime.requests import Requests
from recprune.runtime.scorer import Scorer, column
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["Judge", "ListJudge", "RowJudge"]

Array = npt.NDArray[Any]
Predict = Callable[[Weights], Array]


class Judge(Protocol):
    """What is true of the held-out rows, and how an artifact answers them.

    `metrics`: such as `("auc", "gauc")`; the first one leads. `requests`: how many answers `predict` gives.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is judged."""

    @property
    def truth(self) -> RowTruth | ListTruth:
        """What is held out."""

    @property
    def requests(self) -> int:
        """Answers that `predict` gives."""

    def predict(self, artifact: Artifact) -> Array:
        """What `truth` judges: scores (rows,), or ranked lists (users, places)."""

    def quick(self, snapshot: Snapshot) -> Predict:
        """The same for other weights of a snapshot, ids known exactly: for trying many."""

    def moved(self, before: Array, after: Array) -> float:
        """How far answers are from others, without a look at the truth; 0 where that says nothing."""

    def halves(self) -> tuple[Judge, Judge]:
        """Two judges, each of every second user: what was chosen on one is judged by the other without flattery."""


@dataclass(frozen=True, eq=False)
class RowJudge:
    """Labelled rows. `frame`: a frame or mapping with the columns that the model reads, in the order of `truth`."""

    truth: RowTruth
    frame: Any
    metrics: tuple[str, ...] = ("auc",)

    @property
    def requests(self) -> int:
        """Rows."""
        return self.truth.n_rows

    def moved(self, before: Array, after: Array) -> float:
        """Mean squared difference of the log odds."""
        odds = [np.log(p) - np.log1p(-p) for p in (np.clip(a, 1e-6, 1 - 1e-6).astype(float) for a in (before, after))]
        return float(np.mean((odds[0] - odds[1]) ** 2))

    def halves(self) -> tuple[RowJudge, RowJudge]:
        """By user."""
        first, second = (self._of(np.flatnonzero(self.truth.index % 2 == half)) for half in (0, 1))
        return first, second

    def _of(self, rows: npt.NDArray[np.int64]) -> RowJudge:
        names = self.frame.columns if hasattr(self.frame, "columns") else list(self.frame)
        frame = {name: column(self.frame, name)[rows] for name in names}
        return RowJudge(RowTruth(self.truth.labels[rows].astype(int), self.truth.users[rows]), frame, self.metrics)

    def predict(self, artifact: Artifact) -> Array:
        """Scores from raw ids, as the artifact ships: false positives of hashed ids are seen."""
        return Scorer(artifact).score(self.frame)

    def quick(self, snapshot: Snapshot) -> Predict:
        """Scores by the graph; every id is looked up once."""
        assert snapshot.graph is not None
        requests = Requests(snapshot, {name: column(self.frame, name) for name in snapshot.graph.columns})

        def predict(weights: Weights) -> Array:
            live = without_dead(snapshot.with_weights(weights))
            return requests.run(live.weights, live.graph).reshape(-1)

        return predict


@dataclass(frozen=True, eq=False)
class ListJudge:
    """Held-out items of users. `lists`: the ranked lists of an artifact, (users, places), -1 where there are fewer."""

    truth: ListTruth
    lists: Callable[[Artifact], npt.NDArray[np.int64]]
    metrics: tuple[str, ...] = ("ndcg@10",)

    @property
    def requests(self) -> int:
        """Users."""
        return self.truth.n_users

    def moved(self, before: Array, after: Array) -> float:
        """Lists say too little of how far they are."""
        return 0.0

    def halves(self) -> tuple[ListJudge, ListJudge]:
        """By place."""
        first, second = (self._of(np.arange(half, self.truth.n_users, 2)) for half in (0, 1))
        return first, second

    def _of(self, users: npt.NDArray[np.int64]) -> ListJudge:
        truth = replace(self.truth, relevant=[self.truth.relevant[i] for i in users])
        return ListJudge(truth, lambda artifact: self.lists(artifact)[users], self.metrics)

    def predict(self, artifact: Artifact) -> Array:
        """Ranked lists."""
        return self.lists(artifact)

    def quick(self, snapshot: Snapshot) -> Predict:
        """The same: a list is as long to make either way."""

        def predict(weights: Weights) -> Array:
            laid, vocabularies = lay_out(snapshot.with_weights(weights))
            return self.lists(Artifact(laid.weights, laid.graph, vocabularies))

        return predict
