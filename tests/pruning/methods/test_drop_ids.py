"""Ids that go from every table at once."""

import numpy as np
import pytest

from recprune.artifact import lay_out
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.pruning.methods import DropIds, DropRows
from recprune.snapshot import Snapshot
from recprune.text import Analyzer
from recprune.weights import Dense, Param, Weights

READS = Context({"word": np.array([1, 9, 4, 2, 0])})


def table(values, column, trained=True, zero=True):
    array = np.array(values, np.float32).reshape(len(values), -1)
    return Param(("word", column), Dense(array), (len(values) - 1,), trained, unknown_is_zero=zero)


def model(zero=True):
    # Reads times squared norm: 1, 9, 16, 18; the last row is that of unknown words.
    return Weights(
        {"idf": table([5, 1, 1, 1, 0], "idf", False, zero), "coef": table([1, 1, 2, 3, 0], "class", True, zero)}
    )


@pytest.mark.parametrize(
    ("keep", "importance", "kept"),
    [(0.5, "expected_loss", [2, 3]), (0.5, "popularity", [1, 2]), (0.26, "magnitude", [2, 3]), (0.25, "magnitude", [3]),
     (1, "random", [0, 1, 2, 3])],
)  # fmt: skip
def test_the_best_ids_stay_in_every_table(keep, importance, kept):
    # Ranked by the trained table alone: the large idf of the first word says nothing.
    found = DropIds("word", keep, importance)(model(), READS)
    for name in ("idf", "coef"):
        before, after = model()[name].value.decode(), found[name].value.decode()
        assert np.flatnonzero(found[name].value.mask()).tolist() == [*kept, 4]
        assert after[kept].tolist() == before[kept].tolist()
        assert not after[np.setdiff1d(np.arange(5), kept)].any()  # what goes reads zeros, not the mean


def test_without_a_meaning_of_zero_the_shared_row_is_the_mean_by_reads():
    found = DropIds("word", 0.5)(model(zero=False), READS)["coef"].value.decode()
    centre = (1 * 1 + 9 * 1 + 4 * 2 + 2 * 3) / 16  # 1.5: distances .25, .25, .25, 2.25; losses .25, 2.25, 1, 4.5
    assert centre == 1.5
    # Words 1 and 3 stay; 0, 2 and the unknown read (1 + 8) / 5.
    np.testing.assert_allclose(found.reshape(-1), [1.8, 1, 1.8, 3, 1.8], rtol=1e-6)


def test_what_went_before_is_not_asked_again():
    first = DropIds("word", 0.5)(model(), READS)
    second = DropIds("word", 0.5)(first, READS)
    assert np.flatnonzero(second["coef"].value.mask()).tolist() == [3, 4]
    # coef keeps the last word alone; of the four that idf still knows half stay, that one and, of equals, the first.
    after = DropIds("word", 0.5)(DropRows("coef", {"uniform": 0.4})(model(), READS), READS)
    assert [np.flatnonzero(after[name].value.mask()).tolist() for name in ("coef", "idf")] == [[3, 4], [0, 3, 4]]


def test_dropped_words_leave_the_vocabulary():
    ops = (
        Op("tokens", "read", ("text",), (), {"vocabulary": "word", "analyzer": Analyzer(pattern=r"\w+").to_json()}),
        Op("tfidf", "weighed", ("read",), ("idf",), {"sublinear": False, "norm": None}),
        Op("pool", "score", ("weighed",), ("coef",), {"mode": "sum"}),
    )
    weights = DropIds("word", 0.5)(model(), READS)
    laid, vocabularies = lay_out(
        Snapshot(weights, Graph(("text",), ops, "score"), {"word": np.array(["a", "b", "c", "d"])})
    )
    assert vocabularies["word"].ids().tolist() == ["c", "d"]
    assert laid.weights["coef"].value.decode().reshape(-1).tolist() == [2, 3, 0]


def test_mistakes_are_named():
    with pytest.raises(RecpruneError, match=r"unknown axis with tables 'words'; did you mean 'word'\?"):
        DropIds("words", 0.5)(model(), READS)
    for keep in (0, 1.1, True, "much"):
        with pytest.raises(RecpruneError, match=r"keep must be in \(0, 1\]"):
            DropIds("word", keep)
    with pytest.raises(RecpruneError, match="no reads were counted for axis 'word'"):
        DropIds("word", 0.5)(model(), Context())
