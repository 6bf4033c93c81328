"""Texts, named features and several classes, worked by hand."""

from itertools import pairwise

import numpy as np
import pytest

from recprune.artifact import Artifact, read, write
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.runtime import Scorer
from recprune.runtime.bags import Bags
from recprune.text import Analyzer
from recprune.vocabulary import ExactVocabulary
from recprune.weights import Codebook, Dense, LowRank, Param, Quantized, Sparse, Weights
from tests.runtime.test_reference import run

TEXTS = np.array(["a c b a", "x", None, "B b"], dtype=object)
WORDS = {"analyzer": Analyzer(pattern=r"\w+").to_json()}


def test_tokens_are_rows_of_known_words_as_often_as_they_are_there():
    found = run("tokens", TEXTS, **WORDS)
    assert (found.rows.tolist(), found.offsets.tolist()) == ([0, 2, 1, 0, 1, 1], [0, 4, 4, 4, 6])


def test_lists_of_words():
    analyzer = Analyzer(False, pattern=None, ngrams=(1, 1)).to_json()
    found = run("tokens", np.array([["a", "c"], None, ()], dtype=object), analyzer=analyzer)
    assert (found.rows.tolist(), found.offsets.tolist()) == ([0, 2], [0, 2, 2, 2])
    with pytest.raises(RecpruneError, match="'in0' must hold lists of words"):
        run("tokens", TEXTS, analyzer=analyzer)


def test_features_are_named_numbers():
    found = run("features", [{"a": 2.5, "x": 9}, {}, {"c": -1, "b": 0}])
    assert (found.rows.tolist(), found.offsets.tolist()) == ([0, 2, 1], [0, 1, 1, 3])
    assert found.values.tolist() == [2.5, -1, 0]
    for given, message in (([3], "mappings of features"), ([{"a": "much"}], "to numbers"), ([{"a": np.nan}], "NaN")):
        with pytest.raises(RecpruneError, match=message):
            run("features", given)


def test_tfidf_by_hand():
    # Twice a (idf 1.5) and once b (idf 4): 3 and 4, of norm 5; a bag of nothing stays nothing.
    bags = Bags(np.array([0, 1, 0]), np.array([0, 3, 3]))
    idf = [[1.5], [4], [1], [0]]
    found = run("tfidf", bags, params=[idf], sublinear=False, norm="l2")
    assert (found.rows.tolist(), found.offsets.tolist()) == ([0, 1], [0, 2, 2])
    np.testing.assert_allclose(found.values, [0.6, 0.8])
    np.testing.assert_allclose(run("tfidf", bags, params=[idf], sublinear=False, norm="l1").values, [3 / 7, 4 / 7])
    logs = run("tfidf", bags, params=[idf], sublinear=True, norm=None).values
    np.testing.assert_allclose(logs, [1.5 * (1 + np.log(2)), 4])
    # Pooled: 0.6 times the row of a and 0.8 times that of b.
    np.testing.assert_allclose(
        run("pool", found, params=[[[10, 0], [0, 10], [7, 7], [9, 9]]], mode="sum"), [[6, 8], [0, 0]]
    )


def test_every_encoding_pools_rows_that_count_more_or_less():
    rng = np.random.default_rng(0)
    table = np.where(rng.random((30, 5)) < 0.5, 0, rng.integers(-3, 4, (30, 5))).astype(np.float32)
    rows, offsets = rng.integers(0, 30, 40), np.array([0, 0, 7, 25, 40])
    values = rng.normal(size=40).astype(np.float32)
    for value in (Dense(table), Quantized.encode(table, 8), Sparse.from_dense(table), LowRank.encode(table, 5),
                  Codebook.encode(table, 5)):  # fmt: skip
        scaled = value.decode()[rows] * values[:, None]
        expected = [scaled[a:b].sum(axis=0) for a, b in pairwise(offsets)]
        np.testing.assert_allclose(value.pool(rows, offsets, values), expected, atol=1e-4)


def test_softmax_and_shares():
    assert run("softmax", np.array([[0, np.log(3)], [1e4, 1e4]])).tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert run("normalize", np.array([[1, 3], [0, 0]])).tolist() == [[0.25, 0.75], [0.5, 0.5]]


def classifier(classes=("x", "y", "z"), width=3):
    ops = (
        Op("tokens", "read", ("text",), (), {"vocabulary": "word", **WORDS}),
        Op("pool", "sums", ("read",), ("coef",), {"mode": "sum"}),
        Op("softmax", "share", ("sums",)),
    )
    vocabulary, _ = ExactVocabulary.build([np.array(["a", "b"])])
    table = Param(("word", "class"), Dense(np.eye(3, width, dtype=np.float32)), (2,), unknown_is_zero=True)
    return Artifact(Weights({"coef": table}), Graph(("text",), ops, "share", classes=classes), {"word": vocabulary})


def test_several_classes_are_columns_and_have_names(tmp_path):
    write(classifier(), tmp_path / "a")
    artifact = read(tmp_path / "a")
    assert artifact.weights["coef"].unknown_is_zero
    scorer = Scorer(artifact)
    assert scorer.classes == ("x", "y", "z")
    # "a" has odds e : 1 : 1, a text of unknown words equal shares.
    np.testing.assert_allclose(
        scorer.score({"text": ["a", "?"]}), [np.array([np.e, 1, 1]) / (np.e + 2), [1 / 3] * 3], 1e-6
    )
    assert scorer.score({"text": []}).shape == (0, 3)


@pytest.mark.parametrize(
    ("classes", "width", "message"),
    [
        (("x", "y"), 3, "3 columns for 2 classes"),
        (("x",), 1, "1 columns for 1 classes"),
        ((None, 1, 2), 3, "classes are"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes, width, message):
    with pytest.raises(RecpruneError, match=message):
        classifier(classes, width)


def test_an_older_recprune_reads_graphs_without_the_new_operations():
    plain = Graph(("a",), (Op("lookup", "r", ("a",), (), {"vocabulary": "a"}),), "r").to_json()
    assert plain["version"] == 1
    assert "classes" not in plain
