"""The meaning of the operations over texts and named features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.graph import Op
from recprune.runtime.bags import Bags
from recprune.text import Analyzer, escape
from recprune.vocabulary import Lookup, missing
from recprune.weights import Weights

__all__ = ["features", "normalize", "softmax", "tfidf", "tokens"]

Array = npt.NDArray[Any]


def tokens(op: Op, inputs: list[Any], weights: Weights, vocabularies: Mapping[str, Lookup]) -> Bags:
    """The n-grams of each text that the vocabulary has; with an analyzer without a pattern, of each list of words."""
    analyze, vocabulary = Analyzer.from_json(op.attrs["analyzer"]), vocabularies[op.attrs["vocabulary"]]
    if analyze.pattern is None:
        for given in inputs[0]:
            if given is not None and (isinstance(given, str) or not hasattr(given, "__len__")):
                raise RecpruneError(f"column {op.inputs[0]!r} must hold lists of words, got {given!r}")
        lists = [[] if given is None else analyze(given) for given in inputs[0]]
    else:
        lists = [analyze("" if missing(text) else str(text)) for text in inputs[0]]
    lists = [[escape(term) for term in terms] for terms in lists]
    return Bags.of(lists, vocabulary).without(len(vocabulary))


def features(op: Op, inputs: list[Any], weights: Weights, vocabularies: Mapping[str, Lookup]) -> Bags:
    """The features of each request, a mapping of names to numbers; what is not named is zero, unknown names do not count."""
    vocabulary = vocabularies[op.attrs["vocabulary"]]
    for given in inputs[0]:
        if not isinstance(given, Mapping):
            raise RecpruneError(f"column {op.inputs[0]!r} must hold mappings of features to numbers, got {given!r}")
    found = Bags.of([list(given) for given in inputs[0]], vocabulary)
    try:
        values = np.array([value for given in inputs[0] for value in given.values()], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RecpruneError(f"column {op.inputs[0]!r} must map features to numbers: {error}") from error
    if not np.isfinite(values).all():
        raise RecpruneError(f"column {op.inputs[0]!r} holds NaN or infinity")
    return Bags(found.rows, found.offsets, values.astype(np.float32)).without(len(vocabulary))


def tfidf(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Bags:
    """Counts of the distinct rows of each bag, perhaps their logarithms, times idf, perhaps divided by their norm."""
    bags: Bags = inputs[0]
    table = weights[op.params[0]].value
    size = max(table.shape[0], 1)
    keys, counts = np.unique(bags.bag() * size + bags.rows, return_counts=True)
    bag, rows = np.divmod(keys, size)
    values = counts.astype(np.float64)
    if op.attrs["sublinear"]:
        values = np.log(values) + 1
    values *= table.take(rows)[:, 0]
    many = len(bags.offsets) - 1
    if op.attrs["norm"] is not None:
        parts = np.abs(values) if op.attrs["norm"] == "l1" else values**2
        norm = np.bincount(bag, parts, many)
        norm = norm if op.attrs["norm"] == "l1" else np.sqrt(norm)
        values = values / np.where(norm > 0, norm, 1)[bag]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(bag, minlength=many))]).astype(np.int64)
    return Bags(rows, offsets, values.astype(np.float32))


def softmax(op: Op, inputs: list[Any], *_: Any) -> Array:
    """Probabilities of the columns."""
    x = inputs[0] - inputs[0].max(axis=1, keepdims=True)
    odds = np.exp(x)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def normalize(op: Op, inputs: list[Any], *_: Any) -> Array:
    """Divide by the sum over the columns; a row of zeros becomes equal shares."""
    total = inputs[0].sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, inputs[0] / np.where(total > 0, total, 1), 1 / inputs[0].shape[1]))
