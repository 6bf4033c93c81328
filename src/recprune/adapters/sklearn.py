"""scikit-learn's text pipelines, naive Bayes and linear classifiers: words (or features) x classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils import column_or_1d

from recprune.adapters.calibration import GraphCalibration
from recprune.adapters.sklearn_parts import (
    Parts,
    analyzer_of,
    head_arrays,
    ids_of,
    output_of,
    parts_of,
    put_together,
)
from recprune.context import ByClass, Context
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Weights

__all__ = ["SklearnAdapter"]

Array = npt.NDArray[Any]
_CALIBRATION = 2000  # rows on which steps see what the model does


class SklearnAdapter:
    """Reads and rebuilds pipelines of a vectorizer, TruncatedSVD and a classifier, and the classifiers alone.

    Axes: `word` (or `feature`, for a classifier alone), `topic` (of TruncatedSVD), `class` (one column for two classes).
    Parameters: `idf`, `components`, `coef`, `bias`. The row of unknown words is zeros, and so is a dropped one: a text of
    such words only gets the prior. Of naive Bayes the log probabilities less their mean over the classes are kept.

    An artifact reads the column `text`; `tokens`, lists of words, where a function of the user's makes them; or
    `features`, mappings of names (the columns' numbers where they have none) to numbers. It gives what `predict_proba`
    gives, of two classes the second; what `decision_function` gives where the classifier has no probabilities; the
    components where there is no classifier.

    A rebuilt pipeline's vectorizer knows the words that are left; a classifier alone takes as many features as before.
    """

    def read(self, model: Any) -> Snapshot:
        """The model's arrays with their axes, its graph, and its vocabulary."""
        parts = parts_of(model)
        axis = "feature" if parts.vectorizer is None else "word"
        params: dict[str, Param] = {}

        def table(name: str, values: Array, column: str, trained: bool = True) -> None:
            rows = np.concatenate([values, np.zeros((1, values.shape[1]))]).astype(np.float32)
            params[name] = Param((axis, column), Dense(rows), (len(values),), trained, unknown_is_zero=True)

        if parts.weighting is not None:
            idf = parts.weighting.idf_ if parts.weighting.use_idf else np.ones(len(parts.vectorizer.vocabulary_))
            table("idf", np.asarray(idf)[:, None], "idf", False)
        if parts.svd is not None:
            table("components", parts.svd.components_.T, "topic")
        if parts.head is not None:
            coef, bias = (np.asarray(array, np.float32) for array in head_arrays(parts.head))
            if parts.svd is None:
                table("coef", coef, "class")
            else:
                params["coef"] = Param(("class", "topic"), Dense(np.ascontiguousarray(coef.T)))
            params["bias"] = Param(("class",), Dense(np.array(bias)))
        ids = ids_of(parts, len(next(iter(params.values())).value.decode()) - 1)
        return Snapshot(Weights(params, {"idf": 1}), _graph(parts, axis), {axis: ids})

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A fitted model of the same class; its vectorizer's vocabulary has lost the words that every table dropped."""
        parts = parts_of(model)
        arrays = {name: param.value.decode().astype(np.float64) for name, param in weights.items()}
        keep = _left(parts, weights)
        if not len(keep):
            raise RecpruneError("no word is left in the vocabulary; keep more of them")
        idf, components = (arrays[name][keep] if name in arrays else None for name in ("idf", "components"))
        coef, bias = np.zeros((0, 0)), np.zeros(0)
        if parts.head is not None:
            coef, bias = arrays["coef"].T if parts.svd is not None else arrays["coef"][keep], arrays["bias"]
        return put_together(model, parts, keep, None if idf is None else idf[:, 0], components, coef, bias)

    def check(self, model: Any, weights: Weights, data: Any) -> None:
        """Nothing to check: words, features and topics may go, and the graph refuses to lose a class."""

    def context(self, model: Any, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """With data `(X, y)` as `fit` takes it: rows that hold each word, also by class, scores on X, a refit."""
        if data is None:
            return Context(seed=seed, say=say)
        if not isinstance(data, tuple) or len(data) != 2:
            raise RecpruneError(f"the data of this model is the pair (X, y) as fit takes it, got {type(data).__name__}")
        parts = parts_of(model)
        axis = "feature" if parts.vectorizer is None else "word"
        x, y = data
        try:
            counted = parts.counted(x)
            y = y if y is None else column_or_1d(y)
        except (ValueError, TypeError, AttributeError) as error:
            raise RecpruneError(f"X does not fit the model: {error}") from error
        rows = self.read(model).weights.sizes[axis] - 1
        if counted.shape[1] != rows:
            raise RecpruneError(f"X does not fit the model: X has {counted.shape[1]} features, the model {rows}")
        if y is not None and len(y) != counted.shape[0]:
            raise RecpruneError(f"X has {counted.shape[0]} rows and y has {len(y)}")
        fit = _Fit(self, model, parts, x, y, counted)
        held = fit.held
        reads = {axis: np.append(np.asarray(held.sum(axis=0)).reshape(-1), 0)}
        by_class = {}
        if fit.labelled:
            classes = np.asarray(held.T @ fit.truth)
            by_class[axis] = ByClass(np.concatenate([classes, np.zeros((1, classes.shape[1]))]), fit.truth.sum(axis=0))
        calibration = GraphCalibration(lambda: self.read(model), fit.columns, fit.gradients)
        # Without y, labels may still be given.
        given = (
            "a model without a classifier" if parts.head is None else "a classifier of texts" if fit.labelled else ""
        )
        return Context(
            reads,
            by_class=by_class,
            trainer=fit.refit if fit.labelled else None,
            calibration=calibration,
            seed=seed,
            say=say,
            given=given,
        )


def _graph(parts: Parts, axis: str) -> Graph:
    ops: list[Op] = []
    if parts.vectorizer is None:
        column = "features"
        ops.append(Op("features", "read", (column,), (), {"vocabulary": axis}))
    else:
        analyzer, own = analyzer_of(parts.vectorizer)
        column = "text" if own is None else "tokens"
        ops.append(Op("tokens", "read", (column,), (), {"vocabulary": axis, "analyzer": analyzer.to_json()}))
    last = "read"
    if parts.weighting is not None:
        attrs = {"sublinear": bool(parts.weighting.sublinear_tf), "norm": parts.weighting.norm}
        ops.append(Op("tfidf", "weighed", (last,), ("idf",), attrs))
        last = "weighed"
    if parts.svd is not None:
        ops.append(Op("pool", "topics", (last,), ("components",), {"mode": "sum"}))
        last = "topics"
    if parts.head is None:
        return Graph((column,), tuple(ops), last)
    if parts.svd is not None:
        ops.append(Op("linear", "logits", (last,), ("coef", "bias")))
    else:
        ops.append(Op("pool", "sums", (last,), ("coef",), {"mode": "sum"}))
        ops.append(Op("shift", "logits", ("sums",), ("bias",)))
    last = "logits"
    for kind in output_of(parts.head):
        ops.append(Op(kind, kind, (last,)))
        last = kind
    return Graph((column,), tuple(ops), last, classes=tuple(np.asarray(parts.head.classes_).tolist()))


def _left(parts: Parts, weights: Weights) -> Array:
    """Rows of the vocabulary that some table keeps; all, for a classifier alone."""
    tables = weights.tables("word" if parts.vectorizer is not None else "feature")
    kept = np.zeros(weights[tables[0]].shape[0] - 1, dtype=bool)
    for name in tables:
        kept |= weights[name].value.mask()[:-1]
    return np.flatnonzero(kept) if parts.vectorizer is not None else np.arange(len(kept))


@dataclass(frozen=True, eq=False)
class _Fit:
    """The model on the data that it was trained on. `counted`: what the first layer reads, (rows, words or features)."""

    adapter: SklearnAdapter
    model: Any
    parts: Parts
    x: Any
    y: Any
    counted: Any

    @property
    def labelled(self) -> bool:
        """Whether there are labels, and a classifier that knows them."""
        return self.y is not None and self.parts.head is not None

    @cached_property
    def held(self) -> Any:
        """Which row holds which word, as ones, scipy CSR."""
        from scipy.sparse import csr_array

        found = csr_array(self.counted, dtype=np.float64, copy=True)  # never the user's own
        found.eliminate_zeros()
        found.data[:] = 1
        return found

    @cached_property
    def truth(self) -> Array:
        """Labels as (rows, classes) of ones and zeros."""
        classes = self.parts.head.classes_
        labels = np.asarray(self.y)
        if unknown := set(np.unique(labels).tolist()) - set(classes.tolist()):
            raise RecpruneError(f"y holds {min(unknown, key=str)!r}, which the model does not know")
        return np.asarray(labels[:, None] == classes[None, :], dtype=np.float64)

    def columns(self, graph: Graph) -> Mapping[str, Array]:
        """The first rows as a request."""
        (column,) = graph.columns
        if self.parts.vectorizer is None:
            from scipy.sparse import csr_array

            ids, rows = ids_of(self.parts, self.counted.shape[1]), csr_array(self.counted[:_CALIBRATION])
            pairs = [slice(*rows.indptr[i : i + 2]) for i in range(rows.shape[0])]
            listed = [dict(zip(ids[rows.indices[at]].tolist(), rows.data[at].tolist(), strict=True)) for at in pairs]
        else:
            own = analyzer_of(self.parts.vectorizer)[1]
            texts = [text for text, _ in zip(self.x, range(_CALIBRATION), strict=False)]
            listed = texts if own is None else [own(text) for text in texts]
        return {column: np.fromiter(listed, dtype=object, count=len(listed))}

    def gradients(self, weights: Weights) -> Mapping[str, Array]:
        """Gradient of the log loss, summed over the rows: probabilities less labels, carried back."""
        if not self.labelled:
            raise RecpruneError("gradients need labels: give data as the pair (X, y)")
        arrays = {name: param.value.decode().astype(np.float64) for name, param in weights.items()}
        if self.parts.svd is None:
            logits = self.counted @ arrays["coef"][:-1] + arrays["bias"]
        else:
            topics = self.counted @ arrays["components"][:-1]
            logits = topics @ arrays["coef"].T + arrays["bias"]
        if logits.shape[1] == 1:
            error = 1 / (1 + np.exp(-np.clip(logits, -60, 60))) - self.truth[:, 1:]
        else:
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = odds / odds.sum(axis=1, keepdims=True) - self.truth
        found = {"bias": error.sum(axis=0)}
        if self.parts.svd is None:
            return found | {"coef": _padded(self.counted.T @ error)}
        back = self.counted.T @ (error @ arrays["coef"])
        return found | {"coef": error.T @ topics, "components": _padded(back)}

    def refit(self, weights: Weights, settings: Mapping[str, Any], say: Callable[[str], None]) -> Weights:
        """The classifier fitted again, by its own `fit` and penalty, on what is left; epochs and rates do not apply."""
        if "sparsity" in settings:
            raise RecpruneError(
                "sparsify trains torch models; here drop_ids and retrain, or a classifier with an L1 penalty"
            )
        smaller = parts_of(self.adapter.rebuild(self.model, weights))
        keep = _left(self.parts, weights)
        if smaller.vectorizer is None:
            keep = np.flatnonzero(weights["coef"].value.mask()[:-1])
            read = self.counted[:, keep]
        else:
            read = smaller.counted(self.x)
        if smaller.svd is not None:
            read = smaller.svd.transform(read)
        head = clone(self.parts.head).fit(read, np.asarray(self.y))
        coef, bias = head_arrays(head)
        if smaller.svd is None:
            whole = np.zeros(weights["coef"].shape)
            whole[keep] = coef
        else:
            whole = coef.T
        for name, array in (("coef", whole), ("bias", np.array(bias))):
            value = weights[name].value.recode(array)
            if value.nbytes <= weights[name].nbytes:
                weights = weights.replace(name, value)
            else:
                say(f"{name} stays as it was: refitted it would take {value.nbytes:,} bytes")
        return weights


def _padded(rows: Array) -> Array:
    """One row of zeros more, that of unknown words."""
    return np.concatenate([np.asarray(rows), np.zeros((1, rows.shape[1]))])
