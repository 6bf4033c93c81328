"""scikit-learn's forests: random forests and extra trees, classifiers and regressors."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.adapters.trees import Input, tree_context, tree_snapshot
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.forest import Forest, preorder
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["SklearnTreesAdapter"]

Array = npt.NDArray[Any]
_LEFT_BEHIND = ("oob_score_", "oob_decision_function_", "oob_prediction_", "_estimators_samples")


class SklearnTreesAdapter:
    """Reads and rebuilds fitted forests.

    A classifier of two classes gives the probability of the second, one of more a column for each class. What training
    left behind (impurities, counts of samples, out-of-bag arrays) is not read. scikit-learn rounds inputs to float32
    before it compares them with thresholds of float64, so a threshold rounded down to float32 sends every row the same way.
    """

    def read(self, model: Any) -> Snapshot:
        """All trees, averaged."""
        states = [tree.tree_.__getstate__() for tree in _fitted(model)]
        nodes = np.concatenate([state["nodes"] for state in states])
        starts = np.concatenate([[0], np.cumsum([len(state["nodes"]) for state in states])[:-1]]).astype(np.int64)
        order, begins, right = preorder(starts, nodes["left_child"], nodes["right_child"])
        nodes = nodes[order]
        values = np.concatenate([state["values"][:, 0, :] for state in states])[order]
        if hasattr(model, "classes_"):
            values = values / values.sum(axis=1, keepdims=True)
            values = values[:, 1:] if values.shape[1] == 2 else values
        leaves = nodes["left_child"] < 0
        forest = Forest(
            starts=begins,
            feature=np.where(leaves, -1, nodes["feature"]).astype(np.int32),
            threshold=_rounded_down(nodes["threshold"]),
            missing=nodes["missing_go_to_left"].astype(bool),
            category=np.full(len(nodes), -1, np.int32),
            right=right,
            values=values[leaves],
            inputs=model.n_features_in_,
            outputs=values.shape[1],
            mode="mean",
        )
        return tree_snapshot(forest, [Input(name) for name in _names(model)], "float32")

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A fitted estimator of the same class and settings with these trees."""
        forest = Forest.of(weights)
        first = _fitted(model)[0]
        dtype = first.tree_.__getstate__()["nodes"].dtype
        bounds = np.append(forest.starts, len(forest.feature))
        depth = np.zeros(len(forest.feature), np.int64)
        for i, level in enumerate(forest.levels):
            depth[level] = i
        shape = (len(forest.feature), 1, len(model.classes_) if hasattr(model, "classes_") else 1)
        values = np.zeros(shape)
        leaves = forest.feature < 0
        values[leaves, 0] = forest.values if forest.values.shape[1] == shape[2] else _both(forest.values)
        trees = []
        for start, stop in itertools.pairwise(bounds):
            here = slice(start, stop)
            inner = ~leaves[here]
            nodes = np.zeros(stop - start, dtype)
            nodes["left_child"] = np.where(inner, np.arange(1, stop - start + 1), -1)
            nodes["right_child"] = np.where(inner, forest.right[here] - start, -1)
            nodes["feature"] = np.where(inner, forest.feature[here], -2)
            nodes["threshold"] = np.where(inner, forest.threshold[here], -2)
            nodes["missing_go_to_left"] = forest.missing[here]
            nodes["n_node_samples"] = nodes["weighted_n_node_samples"] = 1
            tree = copy.copy(first)
            tree.tree_ = type(first.tree_)(model.n_features_in_, first.tree_.n_classes, first.tree_.n_outputs)
            tree.tree_.__setstate__(
                {
                    "max_depth": int(depth[here].max()),
                    "node_count": len(nodes),
                    "nodes": nodes,
                    "values": np.ascontiguousarray(values[here]),
                }
            )
            trees.append(tree)
        rebuilt = copy.copy(model)
        rebuilt.estimators_, rebuilt.n_estimators = trees, len(trees)
        for name in _LEFT_BEHIND:
            rebuilt.__dict__.pop(name, None)
        return rebuilt

    def context(self, model: Any, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """The rows of `data`, a pair (X, y)."""
        classes = getattr(model, "classes_", None)
        outputs = 1 if classes is None or len(classes) == 2 else len(classes)
        return tree_context(lambda: self.read(model), _names(model), data, classes, outputs, seed, say)

    def check(self, model: Any, weights: Weights, data: Any) -> None:
        """Nothing to check: trees have no axes to cut."""


def _fitted(model: Any) -> list[Any]:
    trees = getattr(model, "estimators_", None)
    if not trees:
        raise RecpruneError(f"this {type(model).__name__} is not fitted: call fit first")
    if model.n_outputs_ != 1:
        raise RecpruneError(f"forests of one target are supported, this one has {model.n_outputs_}")
    if hasattr(model, "classes_") and len(model.classes_) < 2:
        raise RecpruneError(f"this {type(model).__name__} knows one class only: {model.classes_[0]!r}")
    return list(trees)


def _names(model: Any) -> list[str]:
    given = getattr(model, "feature_names_in_", None)
    return [f"x{i}" for i in range(model.n_features_in_)] if given is None else [str(name) for name in given]


def _both(second: Array) -> Array:
    return np.concatenate([1 - second, second], axis=1)


def _rounded_down(thresholds: Array) -> npt.NDArray[np.float64]:
    limit = np.finfo(np.float32)
    near = np.clip(thresholds, float(limit.min), float(limit.max)).astype(np.float32)
    near = np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
    return np.clip(near, limit.min, limit.max).astype(np.float64)
