"""Score and retrieve straight from an artifact, from raw ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.artifact import Artifact, read
from recprune.errors import RecpruneError
from recprune.runtime.reference import execute, rows_of
from recprune.runtime.topk import top_k
from recprune.vocabulary import ExactVocabulary

__all__ = ["Recommendations", "Scorer", "column", "load"]

Array = npt.NDArray[Any]
_BATCH = 16384


def load(path: str | Path, *, decimals: int | None = None) -> Scorer:
    """Read an artifact's directory and make it answer. Needs numpy and safetensors, no training framework."""
    return Scorer(read(path), decimals=decimals)


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

    `columns` are what a request must give. `classes`: of a classifier, what the columns of its scores are the
    probabilities of; where `score` gives one column, it is the second of two. None for other models.
    `decimals`: 0 to 6 to which every score is rounded before anything else is done with it, so that lists tell no more than
    rounded scores do: items that are equal then stand in the order of the catalogue. None: scores as they are.
    """

    def __init__(self, artifact: Artifact, *, decimals: int | None = None) -> None:
        if artifact.graph is None:
            raise RecpruneError("this artifact holds weights only: put them back into their model to score")
        if decimals is not None and (not isinstance(decimals, int) or not 0 <= decimals <= 6):
            raise RecpruneError(f"decimals must be a whole number from 0 to 6, got {decimals!r}")
        self.decimals = decimals
        self.artifact = artifact
        self.graph = artifact.graph
        self.columns = artifact.graph.columns
        self.classes = artifact.graph.classes

    @np.errstate(all="ignore")  # what overflows is refused, not warned of
    def score(self, frame: Any) -> npt.NDArray[np.float32]:
        """One score a row, (rows,); (rows, columns) for a model of several classes or one that gives vectors.

        `frame`: a pandas or polars frame, or a mapping of lists or arrays, with the artifact's columns. An id may come as
        text or number; a missing one (None, NaN) is the id "" where the model knows that, else unknown. Raises RecpruneError
        for a column that is missing, of another length, or of texts where numbers are due, and for a score that is not
        finite.
        """
        if self.graph.items is not None:
            how = "finds items for a text: call similar" if self._of_texts else "ranks items by a history: call top_k"
            raise RecpruneError(f"this artifact {how}")
        columns = {name: column(frame, name) for name in self.columns}
        rows = {len(values) for values in columns.values()}
        if len(rows) > 1:
            raise RecpruneError(f"the request's columns differ in length: {sorted(rows)}")
        parts = [
            self._execute({name: values[start : start + _BATCH] for name, values in columns.items()})
            for start in range(0, max(rows), _BATCH)
        ]
        if not parts:  # no rows: run on none of them to know the shape
            parts = [self._execute(columns)]
        found = np.concatenate(parts)
        return found[:, 0] if found.shape[1] == 1 else found

    @np.errstate(all="ignore")
    def top_k(
        self,
        histories: Sequence[Sequence[Any]],
        k: int,
        *,
        candidates: Iterable[Any] | None = None,
        exclude_history: bool = True,
    ) -> Recommendations:
        """The k best items for each history (a list of item ids, the latest last), the history itself left out.

        An item that comes again counts once, at its first place, as in training. The order matters to models of sequences.
        With `candidates` only those are ranked. A history without a known item is answered by popularity, and marked.
        Raises RecpruneError for a model that scores pairs, and for histories that are no lists of ids.
        """
        if self.graph.items is None:
            raise RecpruneError("this artifact scores pairs; top_k needs a retrieval model")
        if self._of_texts:
            raise RecpruneError("this artifact finds items for a text: call similar")
        if isinstance(histories, str) or any(isinstance(h, str) or not hasattr(h, "__len__") for h in histories):
            raise RecpruneError("histories must be a list of lists of item ids")
        items = self._items(k)
        if len(self.columns) != 1:
            raise RecpruneError(
                f"top_k answers to one column of histories, this artifact reads: {', '.join(self.columns)}"
            )
        allowed = self._allowed(items, candidates)
        read = next((op for op in self.graph.ops if op.kind == "history" and op.inputs == self.columns), None)
        if read is None or read.attrs["vocabulary"] != self.graph.items:
            raise RecpruneError("this artifact reads no histories of the items that it ranks")
        ids: list[Array] = []
        scores: list[Array] = []
        fallback: list[bool] = []
        for start in range(0, len(histories), 256):
            block = {self.columns[0]: [list(history) for history in histories[start : start + 256]]}
            known = rows_of(self.graph, self.artifact.vocabularies, block)
            values = self._execute(known)
            for row, seen in zip(values, known[read.output].split(), strict=True):
                row = row[: len(items)]
                if not len(seen) and self.graph.fallback is not None:
                    row = self._rounded(
                        self.artifact.weights[self.graph.fallback].value.decode()[: len(items)].reshape(-1)
                    )
                found, value = top_k(row, k, exclude=seen if exclude_history else None, candidates=allowed)
                ids.append(items[found])  # only what is answered is decoded
                scores.append(value)
                fallback.append(not len(seen))
        return Recommendations((ids, scores, np.array(fallback, dtype=bool)))

    def _execute(self, columns: Mapping[str, Any]) -> Array:
        return self._rounded(execute(self.graph, self.artifact.weights, self.artifact.vocabularies, columns))

    def _rounded(self, scores: Array) -> Array:
        scores = _finite(scores)
        if self.decimals is None:
            return scores
        return (np.round(scores.astype(np.float64), self.decimals) + 0.0).astype(np.float32)  # -0 is 0

    @np.errstate(all="ignore")
    def similar(self, texts: Sequence[Any], k: int, *, candidates: Iterable[Any] | None = None) -> Recommendations:
        """The k items whose texts are nearest to each text (a list of words, where the model reads lists).

        Items that share nothing with a text are left out, so there may be fewer, and none for a text of unknown words. There
        is no fallback. Raises RecpruneError for a model that reads something else.
        """
        if not self._of_texts:
            raise RecpruneError("this artifact does not find items for a text")
        if isinstance(texts, str) or not hasattr(texts, "__len__"):
            raise RecpruneError("similar takes a list of texts")
        items = self._items(k)
        names, allowed = items, self._allowed(items, candidates)
        ids: list[Array] = []
        scores: list[Array] = []
        for start in range(0, len(texts), 256):
            block = np.fromiter(texts[start : start + 256], dtype=object, count=len(texts[start : start + 256]))
            values = self._execute({self.columns[0]: block})
            for row in values:
                found, value = top_k(row[: len(names)], k, candidates=allowed)
                ids.append(names[found[value > 0]])
                scores.append(value[value > 0])
        return Recommendations((ids, scores, np.zeros(len(texts), dtype=bool)))

    @property
    def _of_texts(self) -> bool:
        return self.graph.items is not None and any(op.kind == "tokens" for op in self.graph.ops)

    def _items(self, k: Any) -> ExactVocabulary:
        if not isinstance(k, int | np.integer) or k < 1:
            raise RecpruneError(f"k must be a whole number of at least 1, got {k!r}")
        items = self.artifact.vocabularies[self.graph.items or ""]
        if not isinstance(items, ExactVocabulary):
            raise RecpruneError("this artifact does not hold the item ids that it would answer with")
        return items

    @staticmethod
    def _allowed(items: ExactVocabulary, candidates: Iterable[Any] | None) -> Array | None:
        if candidates is None:
            return None
        rows = items.lookup(np.array(list(candidates), dtype=object))
        return np.unique(rows[rows < len(items)])


def _finite(scores: Array) -> Array:
    """Weights that are finite may still overflow: an artifact can be made up."""
    if not np.isfinite(scores).all():
        raise RecpruneError("the artifact's weights are too large: a score is not finite")
    return scores


def column(frame: Any, name: str) -> Array:
    """A column of a request as an array; lists keep their values as they are. RecpruneError where there is none."""
    try:
        values = frame[name]
    except Exception as error:
        columns = getattr(frame, "columns", None)
        given = frame if columns is None and hasattr(frame, "keys") else columns
        raise RecpruneError(
            f"the request has no column {name!r}; its columns are: {', '.join(map(str, [] if given is None else given))}"
        ) from error
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if not isinstance(values, list | tuple | np.ndarray) or getattr(values, "ndim", 1) == 0:
        raise RecpruneError(f"column {name!r} must be a list or an array, got {type(values).__name__}")
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values
    # A list keeps its values as they are: numpy would turn ["a", nan] into texts, and lists of ids into a table.
    return np.fromiter(values, dtype=object, count=len(values))
