"""What cannot be read is refused before the first request: operations over histories and whole tables."""

import numpy as np
import pytest

from recprune.artifact.fit import check
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.text import Analyzer
from recprune.vocabulary import ListedVocabulary
from recprune.weights import Dense, Param, Weights

IDS = ListedVocabulary(np.array(["a", "b", "c"]))
SHAPES = {"t": (4, 6), "narrow": (4, 5), "p": (9, 6), "w": (6, 6), "b": (6,), "short": (5,)}
WEIGHTS = Weights(
    {n: Param(("",) * len(s), Dense(np.ones(s, np.float32))) for n, s in SHAPES.items()}, {"head": 2, "4": 4}
)


def op(kind, output, *inputs, params=(), **attrs):
    return Op(kind, output, inputs, params, attrs)


FOLD = {"whole": 1.0, "read": 2.0, "target": 1.0, "l2": 0.1}
START = (
    op("history", "h", "items", vocabulary="v"),
    op("recent", "r", "h", length=8),
    op("take", "x", "r", params=("t",)),
    op("last", "u", "x", "r"),
    op("every", "e", params=("t",)),
)


def fits(*ops, output="s", items="v"):
    check(Graph(("items",), (*START, *ops), output, items), WEIGHTS, {"v": IDS})


def test_a_whole_model_fits():
    fits(
        op("places", "at", "r", length=8),
        op("take", "placed", "at", params=("p",)),
        op("add", "y", "x", "placed"),
        op("layer_norm", "n", "y", params=("b", "b"), width=7),
        op("linear", "q", "n", params=("w", "b")),
        op("attention", "a", "q", "q", "x", "r", heads="head", factor=0.5),
        op("last", "user", "a", "r"),
        op("linear", "l", "e", params=("w", "b")),
        op("dot", "s", "user", "l"),
    )


def test_users_that_are_solved_fit():
    fits(op("solve", "n", "h", params=("t",), **FOLD), op("dot", "s", "n", "e"))


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([op("dot", "s", "u", "u")], "'s': dot cannot read 6 vectors, 6 vectors"),
        ([op("dot", "s", "x", "e")], "'s': dot cannot read 6 steps, 6 items"),
        ([op("every", "n", params=("narrow",)), op("dot", "s", "u", "n")], "dot cannot read 6 vectors, 5 items"),
        ([op("every", "n", params=("p",)), op("dot", "s", "u", "n")], "the output 's' has 9 vectors, a score needs 4"),
        ([op("every", "n", params=("b",)), op("dot", "s", "u", "n")], r"'n': every cannot read 'b' of shape \(6,\)"),
        ([op("last", "s", "x", "h")], "'s': last cannot read 6 steps, 4 bags"),
        ([op("take", "y", "h", params=("t",)), op("add", "s", "x", "y")], "'s': add cannot read 6 steps, 6 steps"),
        ([op("last", "s", "u", "r")], "'s': last cannot read 6 vectors, 4 bags"),
        ([op("recent", "s", "x", length=2)], "'s': recent cannot read 6 steps"),
        ([op("places", "at", "r", length=3), op("take", "s", "at", params=("p",))], "take cannot read 4 bags"),
        ([op("layer_norm", "s", "x", params=("b", "b"), width=5)], "'s': layer_norm cannot read 6 steps"),
        ([op("layer_norm", "s", "x", params=("b", "short"), width=6)], "'s': layer_norm cannot read 6 steps"),
        ([op("attention", "s", "x", "x", "x", "r", heads="4", factor=1)], "'s': attention cannot read 6 steps"),
        ([op("attention", "s", "x", "x", "x", "r", heads="gone", factor=1)], "'s': attention cannot read 6 steps"),
        ([op("attention", "s", "x", "x", "x", "x", heads="head", factor=1)], "'s': attention cannot read 6 steps"),
        ([op("add", "s", "x", "e")], "'s': add cannot read 6 steps, 6 items"),
        (
            [op("solve", "n", "r", params=("t",), **FOLD), op("dot", "s", "n", "n")],
            "dot cannot read 6 vectors, 6 vectors",
        ),
        ([op("solve", "s", "x", params=("t",), **FOLD)], "'s': solve cannot read 6 steps"),
        ([op("solve", "s", "r", params=("p",), **FOLD)], r"'s': solve cannot read 4 bags with 'p' of shape \(9, 6\)"),
        ([op("relu", "s", "x")], "the output 's' has 6 steps"),
        ([op("tfidf", "s", "h", params=("p",), sublinear=False, norm=None)], "'s': tfidf cannot read 4 bags"),
        ([op("tfidf", "s", "u", params=("t",), sublinear=False, norm=None)], "'s': tfidf cannot read 6 vectors"),
        ([op("tfidf", "s", "h", params=("t",), sublinear=False, norm="l1")], "the output 's' has 4 bags"),
        ([op("softmax", "s", "h")], "'s': softmax cannot read 4 bags"),
        ([op("tokens", "s", "u", vocabulary="v", analyzer=Analyzer().to_json())], "'s': tokens cannot read 6 vectors"),
    ],
)
def test_what_does_not_fit_is_named(ops, message):
    with pytest.raises(RecpruneError, match=message):
        fits(*ops)
