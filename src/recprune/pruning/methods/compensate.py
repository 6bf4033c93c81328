"""Refit layers so that what is kept makes up for what went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Calibration, Context
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.pruning.step import Step
from recprune.snapshot import Snapshot
from recprune.weights import Encoding, Quantized, Weights

__all__ = ["Compensate", "refittable"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Compensate(Step):
    """Refit the layers that `target` matches by least squares, in closed form, without labels or training.

    After columns, neurons or rows were cut, or values coded, a layer reads other inputs than it was trained for. Its
    weights and bias become those whose output is nearest to the original's on calibration requests, one layer after the
    other, each on the inputs that the layers before it now give (in the spirit of the optimal brain surgeon: Hassibi and
    Stork 1993). What is added to the output of a layer (biases of ids, products of factors) may have changed too: the
    layer then aims at the original sum. `ridge`, in units of the mean square of an input, pulls towards the weights as
    they are, which stay where the requests say nothing.

    Quantized weights are rounded column by column, the error of each made up for by the columns that follow (Frantar et
    al. 2023). A layer that lost outputs is left as it is: the next one makes up for it.
    """

    verb: ClassVar[str] = "compensate"
    trains: ClassVar[bool] = True
    target: str = "*"
    ridge: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.ridge) not in (int, float) or not 0 < self.ridge < np.inf:
            raise RecpruneError(f"ridge must be above 0, got {self.ridge!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Refit layer after layer."""
        found = context.calibration
        graph = None if found is None else found.original.graph
        if found is None or graph is None:
            raise context.lacks(
                "compensate refits layers to what the model does on data",
                "has no layers whose inputs and outputs are known; leave compensate out",
                "give data to compress, and a model that has a graph",
            )
        names = self.touches(weights)
        layers = _layers(graph)
        chosen = [op for op in layers if op.params[0] in names]
        if not chosen:
            known = ", ".join(op.params[0] for op in layers)
            raise RecpruneError(f"compensate: target {self.target!r} is no layer; layers are: {known}")
        before = found.outputs(found.original.weights)
        for op in chosen:
            if weights[op.params[0]].shape[0] == found.original.weights[op.params[0]].shape[0]:
                weights = self._refit(weights, op, found, before, names)
        return weights

    def _refit(
        self, weights: Weights, op: Op, found: Calibration, before: Mapping[str, Any], names: list[str]
    ) -> Weights:
        now = found.outputs(weights)
        if op.inputs[-1] not in now or not now[op.inputs[-1]].size:  # all that it read was dropped
            return weights
        x, wanted = (_rows(v) for v in (now[op.inputs[-1]], _wanted(op, found.original, before, now)))
        stored, (weight, bias) = weights[op.params[0]].value, (_float64(weights[name].value) for name in op.params)
        missing = wanted - x @ weight.T - bias
        if np.abs(missing).max(initial=0) < 1e-6:
            return weights
        free = op.params[1] in names  # whether the bias may move
        apart = x - x.mean(axis=0) if free else x
        products = apart.T @ apart / len(x)
        products[np.diag_indices(len(products))] += self.ridge * max(float(np.square(x).mean()), 1e-12)
        weight = weight + np.linalg.solve(products, apart.T @ missing / len(x)).T
        choices = [stored, stored.recode(weight)]
        if isinstance(stored, Quantized):
            choices.append(_rounded(weight, stored, products))
        best, error = weights, np.inf
        for value in choices:  # as it is, too: rounding can cost more than the refit gains
            if value.nbytes > stored.nbytes:
                continue  # a sparse matrix would fill up
            left = wanted - x @ _float64(value).T
            changed, mean = weights.replace(op.params[0], value), bias
            if free:
                changed = changed.replace(op.params[1], weights[op.params[1]].value.recode(left.mean(axis=0)))
                mean = _float64(changed[op.params[1]].value)
            now_left = float(np.square(left - mean).mean())
            if now_left < error:
                best, error = changed, now_left
        return best

    def touches(self, weights: Weights) -> list[str]:
        """The layers among what `target` matches: trained, and no tables."""
        return [n for n in weights.match(self.target) if weights[n].trained and not weights[n].protected]

    def describe(self) -> str:
        """In words."""
        what = "all layers" if self.target == "*" else self.target
        return f"refit {what} by least squares, so that what is kept makes up for what went"


def refittable(snapshot: Snapshot) -> bool:
    """Whether a model has a layer that `compensate` can refit."""
    names = Compensate().touches(snapshot.weights)
    return snapshot.graph is not None and any(op.params[0] in names for op in _layers(snapshot.graph))


def _layers(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.kind in ("linear", "cross")]


def _rows(values: Array) -> npt.NDArray[np.float64]:
    return values.reshape(-1, values.shape[-1]).astype(np.float64)


def _float64(value: Encoding) -> npt.NDArray[np.float64]:
    return value.decode().astype(np.float64)


def _wanted(op: Op, original: Snapshot, before: Mapping[str, Any], now: Mapping[str, Any]) -> Array:
    """What x @ weight.T + bias should give."""
    assert original.graph is not None
    if op.kind == "cross":
        weight, bias = (_float64(original.weights[name].value) for name in op.params)
        return np.asarray(before[op.inputs[1]] @ weight.T + bias)
    readers = [other for other in original.graph.ops if op.output in other.inputs]
    if len(readers) == 1 and readers[0].kind == "add":
        (add,) = readers
        others = [now[name].astype(np.float64) for name in add.inputs if name != op.output]
        return np.asarray(before[add.output] - sum(others))
    return np.asarray(before[op.output], dtype=np.float64)


def _rounded(weight: Array, stored: Quantized, products: Array) -> Quantized:
    """Codes for `weight` whose errors, seen through inputs with these mean products, cancel as far as they can."""
    # Row i of the upper factor of the inverse says how an error in column i is best spread over the later ones.
    upper = np.linalg.cholesky(np.linalg.inv(products)).T
    weight, coded = weight.copy(), stored.recode(weight)
    for i in range(weight.shape[1]):
        nearest = coded.rounded(weight).decode()[:, i]
        weight[:, i + 1 :] -= ((weight[:, i] - nearest) / upper[i, i])[:, None] * upper[i, i + 1 :]
        weight[:, i] = nearest
    return coded.rounded(weight)
