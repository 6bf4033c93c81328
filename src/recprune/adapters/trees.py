"""What the adapters of tree libraries share: the graph around the trees, and what steps may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from recprune.adapters.calibration import GraphCalibration, no_gradients
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.graph import Graph, Op
from recprune.runtime.scorer import column
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Weights

__all__ = ["Input", "input_columns", "tree_context", "tree_snapshot"]

Array = npt.NDArray[Any]
Link = Literal["identity", "sigmoid", "softmax", "exp"]


@dataclass(frozen=True)
class Input:
    """What one input of the trees reads: a column of numbers, `tiny` ones taken so, or one of `categories`."""

    column: str
    tiny: Literal["kept", "zero", "missing"] = "kept"
    categories: tuple[Any, ...] | None = None


def tree_snapshot(
    forest: Forest,
    inputs: Sequence[Input],
    dtype: str,
    link: Link = "identity",
    base: Array | None = None,
    factor: float = 1.0,
) -> Snapshot:
    """The graph of an ensemble over raw columns: `link(factor * (trees + base))`.

    `inputs`: numbers first, those with the same `tiny` together, then categories. `dtype`: what the
    library rounds numbers to before it compares them.
    """
    ops: list[Op] = []

    def op(kind: str, output: str, reads: Sequence[str], params: tuple[str, ...] = (), **attrs: Any) -> str:
        ops.append(Op(kind, output, tuple(reads), params, attrs))
        return output

    read = []
    for tiny in dict.fromkeys(i.tiny for i in inputs if i.categories is None):
        names = [i.column for i in inputs if i.categories is None and i.tiny == tiny]
        read.append(op("numbers", f"numbers, tiny {tiny}", names, dtype=dtype, tiny=tiny))
    for given in inputs:
        if given.categories is not None:
            name = f"category {given.column}"
            read.append(op("category", name, [given.column], categories=list(given.categories)))
    last = op("trees", "raw", [op("concat", "inputs", read) if len(read) > 1 else read[0]], ("trees", "leaves"))
    params = dict(forest.weights())
    if base is not None:
        params["base"] = Param(("",), Dense(np.asarray(base, np.float32)), (), False)
        last = op("shift", "shifted", [last], ("base",))
    if factor != 1:
        last = op("scale", "scaled", [last], factor=factor)
    if link != "identity":
        last = op(link, "score", [last])
    return Snapshot(Weights(params), Graph(tuple(dict.fromkeys(i.column for i in inputs)), tuple(ops), last))


def input_columns(x: Any, names: Sequence[str]) -> dict[str, Array]:
    """Columns of what `fit` takes, by name: of a frame or mapping its own, of a matrix those at the places of `names`."""
    if hasattr(x, "columns") or isinstance(x, Mapping):
        return {name: column(x, name) for name in names}
    matrix = np.asarray(x)
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise RecpruneError(f"the model reads {len(names)} features, the data has shape {matrix.shape}")
    return {name: matrix[:, i] for i, name in enumerate(names)}


def tree_context(
    read: Callable[[], Snapshot],
    names: Sequence[str],
    data: Any,
    classes: Array | None,
    outputs: int,
    seed: int,
    say: Callable[[str], None],
) -> Context:
    """Steps see the rows of `data`, a pair (X, y) as `fit` takes it.

    `names`: of all features in the order of a matrix. `classes`: of a classifier, so that a label becomes its number.
    """
    if data is None:
        return Context(seed=seed, say=say)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise RecpruneError(f"the data of a model of trees is a pair (X, y), got {type(data).__name__}")
    columns, y = input_columns(data[0], names), np.asarray(data[1]).reshape(-1)
    rows = {len(values) for values in columns.values()}
    if rows != {len(y)}:
        raise RecpruneError(f"X has {', '.join(map(str, sorted(rows)))} rows, y has {len(y)}")
    if classes is not None:
        order = np.argsort(classes)
        y = order[np.minimum(np.searchsorted(classes, y, sorter=order), len(classes) - 1)]
    labels = np.asarray(y, np.float64).reshape(-1, 1)
    if outputs > 1:
        labels = (labels == np.arange(outputs)).astype(np.float64)

    calibration = GraphCalibration(read, lambda graph: {name: columns[name] for name in graph.columns}, no_gradients)
    return Context(calibration=calibration, labels=labels, seed=seed, say=say, given="a model of trees")
