"""An ensemble of trees as steps and adapters see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.weights import Cuts, Dense, Param, Trees, Weights
from recprune.weights.trees import Mode

__all__ = ["Forest", "preorder"]

Array = npt.NDArray[Any]
_SPLITS, _LEAVES = "trees", "leaves"


@dataclass(frozen=True, eq=False)
class Forest:
    """Nodes of all trees in pre-order, one tree after the other.

    `starts`: the first node of each tree. A leaf has `feature` -1; of every other node `feature` is the input that it
    reads: a row whose value is at most `threshold`, or, where `category` is not -1, in that row of `sets`, goes to the
    next node, every other one to `right`, and a missing value where `missing` (True: the next) says. `values`: (leaves,
    width) float64, in the order of the leaves. `inputs`, `outputs`, `mode`: see `weights.Trees`.
    """

    starts: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_]
    category: npt.NDArray[np.int32]
    right: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    inputs: int
    outputs: int = 1
    mode: Mode = "sum"
    sets: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))

    @classmethod
    def of(cls, weights: Weights, verb: str = "this") -> Forest:
        """The ensemble of some weights. Raises RecpruneError, naming the step `verb`, where there is none."""
        if _SPLITS not in weights or not isinstance(trees := weights[_SPLITS].value, Trees):
            raise RecpruneError(f"{verb} is for models of trees, this one has none")
        tests = trees.tests
        inner = trees.test >= 0
        made = np.where(inner, trees.test, 0)

        def spread(values: Array, otherwise: Any) -> Array:
            return np.where(inner, values[made], otherwise) if len(values) else np.full(len(made), otherwise)

        asked = spread(tests.by_category, False)
        threshold = spread(tests.thresholds.astype(np.float64), 0.0)
        return cls(
            trees.starts,
            spread(tests.inputs, -1).astype(np.int32),
            np.where(asked, 0.0, threshold),
            spread(tests.passes_missing, False).astype(bool),
            np.where(asked, threshold, -1).astype(np.int32),
            trees.right.astype(np.int64),
            weights[_LEAVES].value.decode().astype(np.float64),
            len(tests.counts),
            trees.outputs,
            trees.mode,
            tests.members,
        )

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.starts)

    @property
    def turns(self) -> int:
        """How many trees take turns: one for each output where a leaf holds a single one of several."""
        return self.outputs // int(self.values.shape[1])

    @cached_property
    def tree(self) -> npt.NDArray[np.int64]:
        """The tree of each node."""
        marks = np.zeros(len(self.feature), np.int64)
        marks[self.starts[1:]] = 1
        return np.cumsum(marks)

    @cached_property
    def leaf(self) -> npt.NDArray[np.int64]:
        """The number of the leaf that each node is, or of the first one below it."""
        leaves = self.feature < 0
        return np.cumsum(leaves) - leaves

    @cached_property
    def levels(self) -> list[npt.NDArray[np.int64]]:
        """Nodes by depth, the roots first."""
        found = [self.starts]
        while True:
            inner = found[-1][self.feature[found[-1]] >= 0]
            if not len(inner):
                return found
            found.append(np.concatenate([inner + 1, self.right[inner]]))

    def weights(self) -> Weights:
        """As the two parameters of a snapshot: the splits, and the values of the leaves as float32."""
        leaves = Dense(np.ascontiguousarray(self.values, dtype=np.float32))
        return Weights({_SPLITS: Param(("",), self.coded, (), False), _LEAVES: Param(("", ""), leaves)})

    @cached_property
    def coded(self) -> Trees:
        """The splits as they are stored."""
        inner = np.flatnonzero(self.feature >= 0)
        used, sets = np.unique(self.category[inner[self.category[inner] >= 0]], return_inverse=True)
        bitmaps, same = np.unique(self.sets[used], axis=0, return_inverse=True) if len(used) else (self.sets[:0], sets)
        if len(used):
            width = int(np.flatnonzero(bitmaps.any(axis=0)).max(initial=-1)) + 1
            bitmaps = bitmaps[:, :width]
        threshold = self.threshold[inner].copy()
        asked = self.category[inner] >= 0
        threshold[asked] = same.reshape(-1)[sets.reshape(-1)]
        feature, missing = self.feature[inner], self.missing[inner]
        order = np.lexsort((missing, threshold, feature))
        feature, threshold, missing = feature[order], threshold[order], missing[order]
        fresh = np.ones(len(order), bool)
        fresh[1:] = (np.diff(feature) != 0) | (np.diff(threshold) != 0) | (np.diff(missing) != 0)
        made = np.empty(len(order), np.int64)
        made[order] = np.cumsum(fresh) - 1
        nodes = np.full(len(self.feature), -1, np.int64)
        nodes[inner] = made
        categorical = np.unique(self.feature[inner[asked]])
        if np.isin(self.feature[inner[~asked]], categorical).any():
            raise RecpruneError("an input of trees is compared with numbers or with sets of categories, not with both")
        tests = Cuts.encode(
            feature[fresh], threshold[fresh], missing[fresh], self.inputs, bitmaps, tuple(categorical.tolist())
        )
        return Trees.encode(nodes, tests, self.trees, self.outputs, self.mode)

    def into(self, weights: Weights) -> Weights:
        """`weights` with this ensemble in place of theirs; the values of the leaves stored as they were."""
        changed = {
            _SPLITS: replace(weights[_SPLITS], value=self.coded),
            _LEAVES: replace(weights[_LEAVES], value=weights[_LEAVES].value.recode(self.values)),
        }
        return Weights({name: changed.get(name, param) for name, param in weights.items()}, weights.sizes)

    def take(self, trees: Sequence[int] | Array) -> Forest:
        """Some of the trees, in this order."""
        trees = np.asarray(trees, np.int64)
        bounds = np.append(self.starts, len(self.feature))
        sizes = np.diff(bounds)[trees]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        shift = np.repeat(self.starts[trees] - starts, sizes)
        return self._nodes(np.arange(sizes.sum()) + shift, starts, shift)

    def collapse(self, nodes: Array, values: Array) -> Forest:
        """Make leaves of the nodes at `nodes` (no one below another) with these `values` (nodes, width)."""
        order = np.argsort(nodes)
        nodes, values = np.asarray(nodes, np.int64)[order], np.asarray(values)[order]
        gone = np.zeros(len(self.feature) + 1, np.int64)
        np.add.at(gone, nodes + 1, 1)
        np.add.at(gone, self.ends[nodes], -1)
        keep = np.flatnonzero(np.cumsum(gone)[:-1] == 0)
        place = np.full(len(self.feature), -1, np.int64)
        place[keep] = np.arange(len(keep))
        table = np.zeros((len(self.feature), self.values.shape[1]))
        leaves = self.feature < 0
        table[leaves] = self.values
        table[nodes] = values
        feature = self.feature.copy()
        feature[nodes] = -1
        right = place[self.right[keep]]
        right[feature[keep] < 0] = 0
        ended = keep[feature[keep] < 0]
        return replace(
            self, starts=place[self.starts], feature=feature[keep], threshold=self.threshold[keep],
            missing=self.missing[keep], category=self.category[keep], right=right, values=table[ended],
        )  # fmt: skip

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """Behind the last node below each node."""
        size = np.ones(len(self.feature), np.int64)
        for level in reversed(self.levels):
            inner = level[self.feature[level] >= 0]
            size[inner] = 1 + size[inner + 1] + size[self.right[inner]]
        return np.arange(len(size)) + size

    def _nodes(self, order: Array, starts: Array, shift: Array) -> Forest:
        leaves = order[self.feature[order] < 0]
        right = np.where(self.feature[order] >= 0, self.right[order] - shift, 0)
        return replace(
            self, starts=starts, feature=self.feature[order], threshold=self.threshold[order],
            missing=self.missing[order], category=self.category[order], right=right, values=self.values[self.leaf[leaves]],
        )  # fmt: skip


def preorder(starts: Array, left: Array, right: Array) -> tuple[Array, Array, Array]:
    """Order nodes whose children are given by number within their tree, a leaf having a negative `left`.

    `starts`: where the nodes of each tree begin; the first one is its root. Gives the nodes in pre-order, where each tree
    begins among them, and for each the place of its right child. Raises RecpruneError for a child that is none of its
    tree's nodes, and for a node that is reached twice, as in a cycle.
    """
    count = len(left)
    sizes = np.diff(np.append(starts, count))
    base, room = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    inner = left >= 0
    for children in (left, right):
        wrong = np.flatnonzero(inner & ((children < 0) | (children >= room)))
        if len(wrong):
            tree = int(np.searchsorted(starts, wrong[0], side="right")) - 1
            raise RecpruneError(
                f"tree {tree}: node {wrong[0] - starts[tree]} has child {children[wrong[0]]} among {sizes[tree]} nodes"
            )
    left, right = left + base, right + base
    levels, seen, first = [np.asarray(starts, np.int64)], np.zeros(count, bool), np.zeros(count, np.int64)
    while len(levels[-1]):
        level = levels[-1]
        first[level] = np.arange(len(level))
        if seen[level].any() or (first[level] != np.arange(len(level))).any():
            raise RecpruneError("a node of a tree is reached twice: the tree has a cycle, or two nodes share a child")
        seen[level] = True
        parents = level[inner[level]]
        levels.append(np.concatenate([left[parents], right[parents]]))
    size = np.ones(count, np.int64)
    for level in reversed(levels):
        parents = level[inner[level]]
        size[parents] = 1 + size[left[parents]] + size[right[parents]]
    place = np.zeros(count, np.int64)
    begins = np.concatenate([[0], np.cumsum(size[starts])[:-1]]).astype(np.int64)
    place[starts] = begins
    for level in levels:
        parents = level[inner[level]]
        place[left[parents]] = place[parents] + 1
        place[right[parents]] = place[parents] + 1 + size[left[parents]]
    order = np.empty(int(seen.sum()), np.int64)
    order[place[seen]] = np.flatnonzero(seen)
    return order, begins, np.where(inner[order], place[right[order] % max(count, 1)], 0)
