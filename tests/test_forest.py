"""The view of an ensemble: its nodes in order, trees taken out of it, nodes made leaves."""

from dataclasses import replace

import numpy as np
import pytest

from recprune.errors import RecpruneError
from recprune.forest import Forest, preorder
from recprune.weights import Dense, Param, Quantized, Weights

from .weights.test_trees import grown


def test_preorder_of_two_trees_with_a_node_that_nothing_reaches():
    # 0 -> (2, 1), 1 -> (4, 3), node 5 is left over; the second tree is a leaf.
    left, right = np.array([2, 4, -1, -1, -1, -1, -1]), np.array([1, 3, -1, -1, -1, -1, -1])
    order, begins, after = preorder(np.array([0, 6]), left, right)
    assert order.tolist() == [0, 2, 1, 4, 3, 6]
    assert begins.tolist() == [0, 5]
    assert after[[0, 2]].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ([1, -1, -1], [10**6, -1, -1], "tree 0: node 0 has child 1000000 among 3 nodes"),
        ([1, -1, -1], [-7, -1, -1], "child -7"),
        ([1, 0, -1], [2, 2, -1], "reached twice"),
        ([1, 1, -1], [2, 2, -1], "reached twice"),
        ([1, -1, -1], [1, -1, -1], "reached twice"),
        ([0, -1, -1], [1, -1, -1], "reached twice"),
    ],
)
def test_children_that_make_no_tree(left, right, message):
    # C15: a child of 10^6 among three nodes, and every kind of cycle.
    with pytest.raises(RecpruneError, match=message):
        preorder(np.array([0]), np.array(left), np.array(right))


def test_a_child_in_another_tree():
    with pytest.raises(RecpruneError, match="tree 1: node 0 has child 3 among 3 nodes"):
        preorder(np.array([0, 3]), np.array([1, -1, -1, 3, -1, -1]), np.array([2, -1, -1, 2, -1, -1]))


def test_trees_are_taken_in_any_order():
    forest = grown(5, trees=6)
    x = np.random.default_rng(0).normal(size=(50, 3))
    reached = forest.weights()["trees"].value.reach(x)
    found = forest.take([4, 0, 2])
    again = found.weights()["trees"].value.reach(x)
    np.testing.assert_allclose(found.values[again], forest.values[reached[:, [4, 0, 2]]])


def test_a_node_made_a_leaf():
    forest = grown(7, trees=3, splits=9)
    inner = np.flatnonzero(forest.feature >= 0)
    chosen = [node for node in inner if forest.ends[node] - node >= 5][:1]
    fewer = forest.collapse(np.array(chosen), np.array([[100.0]]))
    below = forest.feature[chosen[0] : forest.ends[chosen[0]]]
    assert len(fewer.values) == len(forest.values) - int((below < 0).sum()) + 1
    x = np.random.default_rng(0).normal(size=(200, 3))
    before, after = (f.values[f.weights()["trees"].value.reach(x)][..., 0] for f in (forest, fewer))
    changed = before != after
    assert changed.any()
    assert set(after[changed]) == {100.0}
    roots = forest.collapse(forest.starts[::-1], np.arange(3.0)[:, None])
    assert roots.values[:, 0].tolist() == [2, 1, 0]
    assert roots.weights()["trees"].value.splits == 0


def test_leaves_stay_stored_as_they_were():
    forest = grown(5)
    weights = forest.weights()
    coded = weights.replace("leaves", Quantized.encode(weights["leaves"].value.decode(), 4, "per_tensor"))
    with_more = Weights({"table": Param(("a", "b"), Dense(np.ones((2, 2), np.float32))), **coded})
    found = forest.take([0, 1]).into(with_more)
    assert list(found) == list(with_more)
    assert found["leaves"].value.bits == 4
    assert found["trees"].value.trees == 2


def test_what_has_no_trees_says_so():
    weights = Weights({"table": Param(("a", "b"), Dense(np.ones((2, 2), np.float32)))})
    with pytest.raises(RecpruneError, match="drop_trees is for models of trees, this one has none"):
        Forest.of(weights, "drop_trees")


def test_an_input_is_of_numbers_or_of_categories():
    forest = grown(5, inputs=1)
    mixed = forest.category.copy()
    mixed[np.flatnonzero(mixed >= 0)[0]] = -1
    with pytest.raises(RecpruneError, match="not with both"):
        replace(forest, category=mixed).weights()
