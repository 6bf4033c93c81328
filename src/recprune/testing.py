"""The contract of a step, for authors of new ones: `check_step` in a test holds a step to it."""

from __future__ import annotations

import json

import numpy as np

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import Step
from recprune.weights import Weights

__all__ = ["check_step"]


def check_step(step: Step, weights: Weights, context: Context) -> Weights:
    """Run a step, check what every step promises, and give what it made of the weights.

    A step leaves its input as it is, gives the same for the same seed, comes back from its JSON, says in one line what it
    does and names what it touches; what it gives is finite, decodes to the shapes of its axes and is never larger.

    Raises AssertionError with the promise that is broken.

    >>> from recprune.pruning.methods import Quantize
    >>> from recprune.weights import Dense, Param
    >>> weights = Weights({"table": Param(("book", "factor"), Dense(np.ones((5, 8), np.float32)))})
    >>> check_step(Quantize("table", bits=8), weights, Context()).nbytes
    50
    """
    before = _content(weights)
    result = step(weights, context)
    assert _content(weights) == before, f"{step.verb} changed its input"
    assert _content(step(weights, context)) == _content(result), f"{step.verb} is not deterministic"
    _check_json(step)
    assert len(step.describe().splitlines()) == 1, f"{step.verb} does not say in one line what it does"
    touched = step.touches(weights)
    assert set(touched) <= set(weights), f"{step.verb} touches what there is not"
    assert list(result) == list(weights), f"{step.verb} changed the names of parameters"
    for name, param in result.items():
        if name not in touched:
            assert param.value is weights[name].value, f"{step.verb} changed {name!r}, which it does not name"
        values = param.value.decode()
        assert values.shape == param.shape, f"{name!r} does not decode to its shape"
        assert np.isfinite(values).all(), f"{step.verb} left NaN or infinity in {name!r}"
        assert param.axes == weights[name].axes, f"{step.verb} renamed the axes of {name!r}"
        if values.ndim and len(values):
            rows = np.array([len(values) - 1, 0])
            assert np.allclose(param.value.take(rows), values[rows], atol=1e-5), f"rows of {name!r} differ when taken"
    Weights(result, result.sizes)  # sizes of axes fit everywhere
    assert result.nbytes <= weights.nbytes, f"{step.verb} made {weights.nbytes} bytes into {result.nbytes}"
    return result


def _content(weights: Weights) -> list[tuple[str, str, list[bytes]]]:
    """Everything that is stored."""
    return [
        (name, json.dumps([param.axes, param.protected, param.value.spec()]),
         [array.tobytes() for array in param.value.arrays().values()])
        for name, param in weights.items()
    ]  # fmt: skip


def _check_json(step: Step) -> None:
    text = json.dumps(step.to_json())
    ((verb, fields),) = json.loads(text).items()
    assert verb == step.verb, f"{type(step).__name__} is written under {verb!r}"
    assert type(step).from_fields(fields) == step, f"{verb} does not come back from its JSON"
    try:
        type(step).from_fields(fields | {"no such field": 1})
    except RecpruneError:
        return
    raise AssertionError(f"{verb} takes a field that it does not have")
