"""The meaning of every operation, in numpy: the oracle that faster kernels are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.runtime import texts
from recprune.runtime.bags import Bags, look_up
from recprune.runtime.solve import solve_users
from recprune.runtime.trees import TREES, floats
from recprune.text import words
from recprune.vocabulary import Lookup, missing, pair_keys
from recprune.weights import Weights

__all__ = ["execute", "rows_of", "trace"]

Array = npt.NDArray[Any]


Value = Array | Bags


def execute(graph: Graph, weights: Weights, vocabularies: Mapping[str, Lookup], columns: Mapping[str, Any]) -> Array:
    """Run a graph on raw columns (one value a request in each) and give its output, float32.

    What is given under the name of an operation's output is not computed: `rows_of` looks up once what many runs read.
    """
    known: dict[str, Any] = dict(columns)
    last = {name: i for i, op in enumerate(graph.ops) for name in op.inputs}
    for i, op in enumerate(graph.ops):
        if op.output not in columns:
            known[op.output] = _RUN[op.kind](op, [known[name] for name in op.inputs], weights, vocabularies)
        for name in op.inputs:
            if last[name] == i and name != graph.output:
                known.pop(name, None)
    return np.asarray(known[graph.output], dtype=np.float32)


def trace(
    graph: Graph, weights: Weights, vocabularies: Mapping[str, Lookup], columns: Mapping[str, Any]
) -> dict[str, Any]:
    """As `execute`, but what every operation gives, by the name of its output."""
    known = dict(columns)
    for op in graph.ops:
        if op.output not in columns:
            known[op.output] = _RUN[op.kind](op, [known[name] for name in op.inputs], weights, vocabularies)
    return known


def rows_of(graph: Graph, vocabularies: Mapping[str, Lookup], columns: Mapping[str, Any]) -> dict[str, Any]:
    """What the graph's look-ups give for raw columns, beside the columns themselves."""
    known = dict(columns)
    for op in graph.ops:
        if op.kind in ("lookup", "bucket", "words", "history", "tokens", "features") and known.keys() >= {*op.inputs}:
            known[op.output] = _RUN[op.kind](op, [known[name] for name in op.inputs], Weights({}), vocabularies)
    return known


def _lookup(op: Op, inputs: list[Any], weights: Weights, vocabularies: Mapping[str, Lookup]) -> Array:
    keys = inputs[0] if len(inputs) == 1 else pair_keys(*inputs)
    return look_up(vocabularies[op.attrs["vocabulary"]], keys)


def _bucket(op: Op, inputs: list[Any], *_: Any) -> Array:
    values = floats(inputs[0], op.inputs[0])
    edges = np.asarray(op.attrs["edges"], dtype=np.float64)
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))


def _words(op: Op, inputs: list[Any], weights: Weights, vocabularies: Mapping[str, Lookup]) -> Bags:
    texts = ["" if missing(text) else str(text) for text in inputs[0]]
    return Bags.of([words(text) for text in texts], vocabularies[op.attrs["vocabulary"]])


def _history(op: Op, inputs: list[Any], weights: Weights, vocabularies: Mapping[str, Lookup]) -> Bags:
    vocabulary = vocabularies[op.attrs["vocabulary"]]
    lists = [[] if given is None else given for given in inputs[0]]
    for given in lists:
        if isinstance(given, str) or not hasattr(given, "__len__"):
            raise RecpruneError(f"a history in {op.inputs[0]!r} must be a list of ids, got {given!r}")
    return Bags.of(lists, vocabulary).without(len(vocabulary)).distinct()


def _take(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    rows = inputs[0].rows if isinstance(inputs[0], Bags) else inputs[0]
    return weights[op.params[0]].value.take(rows)


def _pool(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    bags: Bags = inputs[0]
    sums = weights[op.params[0]].value.pool(bags.rows, bags.offsets, bags.values)
    if op.attrs["mode"] == "sum":
        return sums
    # The mean is over the bag's length, rows of pruned ids included; an empty bag gives zeros.
    return sums / np.maximum(np.diff(bags.offsets), 1).astype(np.float32)[:, None]


def _linear(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    weight, bias = (weights[name].value.decode() for name in op.params)
    result: Array = inputs[0] @ weight.T + bias
    return result


def _cross(op: Op, inputs: list[Any], weights: Weights, vocabularies: Mapping[str, Lookup]) -> Array:
    first, x = inputs
    result: Array = first * _linear(op, [x], weights, vocabularies) + x
    return result


def _fm(op: Op, inputs: list[Any], *_: Any) -> Array:
    width = max(x.shape[1] for x in inputs)
    total = np.zeros((len(inputs[0]), width), np.float32)
    squares = np.zeros_like(total)
    for x in inputs:
        total[:, : x.shape[1]] += x
        squares[:, : x.shape[1]] += x * x
    result: Array = 0.5 * (total * total - squares).sum(axis=1, keepdims=True)
    return result


def _add(op: Op, inputs: list[Any], *_: Any) -> Array:
    result: Array = sum(inputs[1:], start=inputs[0])
    return result


def _shift(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    result: Array = inputs[0] + weights[op.params[0]].value.decode().reshape(1, -1)
    return result


def _recent(op: Op, inputs: list[Any], *_: Any) -> Bags:
    bags: Bags = inputs[0]
    lengths = np.minimum(np.diff(bags.offsets), op.attrs["length"])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    skipped = bags.offsets[1:] - offsets[1:]
    return Bags(bags.rows[np.arange(offsets[-1]) + np.repeat(skipped, lengths)], offsets)


def _places(op: Op, inputs: list[Any], *_: Any) -> Bags:
    offsets = inputs[0].offsets
    later = np.repeat(offsets[1:], np.diff(offsets)) - 1 - np.arange(offsets[-1])
    return Bags(np.minimum(later, op.attrs["length"]), offsets)


def _layer_norm(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    x, width = inputs[0], op.attrs["width"]
    scale, shift = (weights[name].value.decode() for name in op.params)
    mean = x.sum(axis=1, keepdims=True) / width
    squares = np.square(x - mean).sum(axis=1, keepdims=True) + (width - x.shape[1]) * mean**2
    result: Array = (x - mean) / np.sqrt(squares / width + np.float32(1e-5)) * scale + shift
    return result


def _attention(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    *vectors, bags = inputs
    heads = weights.sizes[op.attrs["heads"]]
    # (heads, rows, width): each head for itself.
    query, key, value = (x.reshape(len(x), heads, x.shape[1] // heads).transpose(1, 0, 2) for x in vectors)
    seen = np.zeros(value.shape, np.float32)
    for start, stop in pairwise(bags.offsets.tolist()):
        if start == stop:
            continue
        mine = slice(start, stop)
        match = query[:, mine] @ key[:, mine].transpose(0, 2, 1) * np.float32(op.attrs["factor"])
        match[:, *np.triu_indices(stop - start, 1)] = -np.inf
        share = np.exp(match - match.max(axis=2, keepdims=True))
        seen[:, mine] = share / share.sum(axis=2, keepdims=True) @ value[:, mine]
    return seen.transpose(1, 0, 2).reshape(vectors[2].shape)


def _last(op: Op, inputs: list[Any], *_: Any) -> Array:
    x, bags = inputs
    result = np.zeros((len(bags.offsets) - 1, x.shape[1]), np.float32)
    filled = np.diff(bags.offsets) > 0
    result[filled] = x[bags.offsets[1:][filled] - 1]
    return result


def _solve(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    return solve_users(weights[op.params[0]].value, inputs[0].rows, inputs[0].offsets, **op.attrs)


_RUN: dict[str, Callable[..., Value]] = {
    "lookup": _lookup,
    "bucket": _bucket,
    "words": _words,
    "history": _history,
    "take": _take,
    "pool": _pool,
    "concat": lambda op, inputs, *_: np.concatenate(inputs, axis=1),
    "linear": _linear,
    "cross": _cross,
    "fm": _fm,
    "relu": lambda op, inputs, *_: np.maximum(inputs[0], 0),
    "add": _add,
    "shift": _shift,
    "sum": lambda op, inputs, *_: inputs[0].sum(axis=1, keepdims=True),
    "sigmoid": lambda op, inputs, *_: 1 / (1 + np.exp(-np.clip(inputs[0], -88, 88))),
    "recent": _recent,
    "places": _places,
    "layer_norm": _layer_norm,
    "attention": _attention,
    "last": _last,
    "every": lambda op, inputs, weights, _: weights[op.params[0]].value.decode(),
    "dot": lambda op, inputs, *_: inputs[0] @ inputs[1].T,
    "tokens": texts.tokens,
    "features": texts.features,
    "tfidf": texts.tfidf,
    "softmax": texts.softmax,
    "normalize": texts.normalize,
    "solve": _solve,
    **TREES,
}
