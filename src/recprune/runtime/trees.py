"""The meaning of the operations of trees: from raw columns to the leaves that they reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.graph import Op
from recprune.vocabulary import missing
from recprune.weights import Trees, Weights

__all__ = ["TREES", "floats"]

Array = npt.NDArray[Any]
_ZERO = float(np.float32(1e-35))  # what LightGBM takes for zero
_BLOCK = 1 << 20  # leaf values in memory at once


def floats(given: Any, name: str) -> Array:
    """A raw column as numbers, NaN where one is missing. Raises RecpruneError for texts that are none."""
    values = np.asarray(given)
    try:
        if values.dtype.kind not in "iuf":
            values = np.array([np.nan if missing(v) or v == "" else float(v) for v in values.tolist()], np.float64)
    except (TypeError, ValueError) as error:
        raise RecpruneError(f"column {name!r} must hold numbers: {error}") from error
    return values


def _numbers(op: Op, inputs: list[Any], *_: Any) -> Array:
    result = np.empty((len(inputs[0]), len(inputs)), op.attrs["dtype"])
    with np.errstate(over="ignore"):  # a double beyond float32 is infinite there, as in the library
        for i, (column, name) in enumerate(zip(inputs, op.inputs, strict=True)):
            result[:, i] = floats(column, name)
    # Thresholds are finite: LightGBM's infinite one, which lets pass whatever is not missing, is the largest number.
    limit = np.finfo(result.dtype)
    np.clip(result, limit.min, limit.max, out=result)
    if op.attrs["tiny"] != "kept":
        result[np.abs(result) <= _ZERO] = 0 if op.attrs["tiny"] == "zero" else np.nan
    return result


def _category(op: Op, inputs: list[Any], *_: Any) -> Array:
    places = {value: float(i) for i, value in enumerate(op.attrs["categories"])}
    found = [np.nan if missing(value) else places.get(value, np.nan) for value in np.asarray(inputs[0]).tolist()]
    return np.array(found, np.float64).reshape(-1, 1)


def _trees(op: Op, inputs: list[Any], weights: Weights, _: Any) -> Array:
    trees, leaves = (weights[name].value for name in op.params)
    assert isinstance(trees, Trees)
    x, width = inputs[0], leaves.shape[1]
    result = np.empty((len(x), trees.outputs))
    step = max(1, _BLOCK // (trees.trees * width))
    for start in range(0, len(x), step):
        reached = trees.reach(x[start : start + step])
        # Trees of one number a leaf take turns with the outputs. Doubles, so that a thousand small leaves add up.
        values = leaves.take(reached).reshape(len(reached), -1, trees.outputs)
        result[start : start + step] = values.sum(axis=1, dtype=np.float64)
    if trees.mode == "mean":
        result /= trees.trees * width / trees.outputs
    return result


TREES: Mapping[str, Callable[..., Array]] = {
    "numbers": _numbers,
    "category": _category,
    "trees": _trees,
    "scale": lambda op, inputs, *_: inputs[0] * op.attrs["factor"],
    "exp": lambda op, inputs, *_: np.exp(inputs[0]),
}
