"""Inputs that no split reads are not shipped, and what is left scores as before."""

import numpy as np

from recprune.adapters.trees import Input, tree_snapshot
from recprune.artifact import Artifact, lay_out
from recprune.forest import Forest
from recprune.runtime import Scorer


def snapshot(reads):
    """One tree with a split of each input in `reads`, of three numbers and a category."""
    feature = [part for f in reads for part in (f, -1)] + [-1]
    right = [at + 2 if f >= 0 else 0 for at, f in enumerate(feature)]
    category = [0 if f == 3 else -1 for f in feature]
    forest = Forest(
        np.array([0]), np.array(feature, np.int32), np.zeros(len(feature)), np.zeros(len(feature), bool),
        np.array(category, np.int32), np.array(right), np.arange(len(reads) + 1.0)[:, None], 4,
        sets=np.array([[True, False]]),
    )  # fmt: skip
    names = [Input("x"), Input("z"), Input("y", "missing"), Input("g", categories=("a", "b"))]
    return tree_snapshot(forest, names, "float64", "sigmoid")


def shipped(reads):
    laid, vocabularies = lay_out(snapshot(reads))
    return Scorer(Artifact(laid.weights, laid.graph, vocabularies))


ROWS = {"x": [0, 1, 1, 1, 1], "z": [1, -1, 1, 1, 1], "y": [1, 1, -1, 0, 1], "g": ["b", "b", "b", "b", "a"]}


def leaves(scorer):
    scores = scorer.score({name: ROWS[name] for name in scorer.columns}).astype(float)
    return np.round(np.log(scores / (1 - scores))).astype(int).tolist()


def test_all_are_read():
    scorer = shipped([0, 1, 2, 3])
    assert scorer.columns == ("x", "z", "y", "g")
    assert leaves(scorer) == [0, 1, 2, 4, 3]


def test_columns_and_categories_go():
    scorer = shipped([2, 1])
    assert scorer.columns == ("z", "y")
    assert [op.kind for op in scorer.graph.ops] == ["numbers", "numbers", "concat", "trees", "sigmoid"]
    assert leaves(scorer) == [2, 1, 0, 2, 2]
    scorer = shipped([3])
    assert scorer.columns == ("g",)
    assert leaves(scorer) == [1, 1, 1, 1, 0]


def test_one_column_stays_where_there_is_only_a_leaf():
    scorer = shipped([])
    assert scorer.columns == ("x",)
    assert leaves(scorer) == [0] * 5
