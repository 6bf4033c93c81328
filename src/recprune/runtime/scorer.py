"""Score and retrieve straight from an artifact, from raw ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.artifact import Artifact, read
from recprune.errors import RecpruneError
from recprune.runtime.reference import execute
from recprune.runtime.topk import top_k
from recprune.vocabulary import ExactVocabulary

__all__ = ["Recommendations", "Scorer", "column", "load"]

Array = npt.NDArray[Any]
_BATCH = 16384


def load(path: str | Path) -> Scorer:
    """Read an artifact's directory and make it answer. Needs numpy and safetensors, no training framework."""
    return Scorer(read(path))


class Recommendations(tuple[list[Array], list[Array], Array]):
    """What `top_k` answers: for each request the item ids, their scores, and whether the fallback answered."""

    __slots__ = ()

    @property
    def ids(self) -> list[Array]:
        """Item ids of each request, best first; fewer than k where there are fewer candidates."""
        return self[0]

    @property
    def scores(self) -> list[Array]:
        """Their scores."""
        return self[1]

    @property
    def fallback(self) -> Array:
        """True for requests without any known history: popularity answered."""
        return self[2]


class Scorer:
    """A loaded artifact.

    `columns` are what a request must give.
    """

    def __init__(self, artifact: Artifact) -> None:
        if artifact.graph is None:
            raise RecpruneError("this artifact holds weights only: put them back into their model to score")
        self.artifact = artifact
        self.graph = artifact.graph
        self.columns = artifact.graph.columns

    def score(self, frame: Any) -> npt.NDArray[np.float32]:
        """One score a row. `frame`: a pandas or polars frame or a mapping with the artifact's columns; missing values are
        unknown ids."""
        columns = {name: column(frame, name) for name in self.columns}
        rows = {len(values) for values in columns.values()}
        if len(rows) > 1:
            raise RecpruneError(f"the request's columns differ in length: {sorted(rows)}")
        parts = [
            execute(
                self.graph,
                self.artifact.weights,
                self.artifact.vocabularies,
                {name: values[start : start + _BATCH] for name, values in columns.items()},
            )
            for start in range(0, max(rows), _BATCH)
        ]
        scores = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return scores.reshape(len(scores)) if self.graph.items is None else scores

    def top_k(
        self,
        histories: Sequence[Sequence[Any]],
        k: int,
        *,
        candidates: Iterable[Any] | None = None,
        exclude_history: bool = True,
    ) -> Recommendations:
        """The k best items for each history (a list of item ids), the history itself left out.

        With `candidates` only those are ranked. A history without a known item is answered by popularity, and marked.
        """
        if self.graph.items is None:
            raise RecpruneError("this artifact scores pairs; top_k needs a retrieval model")
        if k < 1:
            raise RecpruneError(f"k must be at least 1, got {k}")
        items = self.artifact.vocabularies[self.graph.items]
        if not isinstance(items, ExactVocabulary):
            raise RecpruneError("this artifact does not hold the item ids that top_k would answer with")
        names = items.ids()
        allowed = None
        if candidates is not None:
            allowed = items.lookup(np.asarray(list(candidates)))
            allowed = np.unique(allowed[allowed < len(items)])
        ids: list[Array] = []
        scores: list[Array] = []
        fallback: list[bool] = []
        for start in range(0, len(histories), 256):
            block = [list(history) for history in histories[start : start + 256]]
            known = [self._rows(items, history) for history in block]
            values = execute(self.graph, self.artifact.weights, self.artifact.vocabularies, {self.columns[0]: block})
            for i, seen in enumerate(known):
                row = values[i, : len(names)]
                if not len(seen) and self.graph.fallback is not None:
                    row = self.artifact.weights[self.graph.fallback].value.decode()[: len(names)].reshape(-1)
                found, value = top_k(row, k, exclude=seen if exclude_history else None, candidates=allowed)
                ids.append(names[found])
                scores.append(value)
                fallback.append(not len(seen))
        return Recommendations((ids, scores, np.array(fallback, dtype=bool)))

    @staticmethod
    def _rows(items: ExactVocabulary, history: list[Any]) -> Array:
        if not history:
            return np.zeros(0, np.int64)
        rows = items.lookup(np.asarray(history))
        return rows[rows < len(items)]


def column(frame: Any, name: str) -> Any:
    """A column of a request as an array; missing values become empty text, or NaN among numbers."""
    try:
        values = frame[name]
    except Exception as error:
        given = list(getattr(frame, "columns", None) or (frame.keys() if hasattr(frame, "keys") else []))
        raise RecpruneError(
            f"the request has no column {name!r}; its columns are: {', '.join(map(str, given))}"
        ) from error
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype == object:
        # None and NaN in a column of texts are unknown ids; in a column of numbers they are NaN.
        if all(v is None or isinstance(v, int | float) for v in array):
            return np.array([np.nan if v is None else float(v) for v in array])
        return np.array(["" if v is None or v != v else str(v) for v in array], dtype=np.str_)
    return array
