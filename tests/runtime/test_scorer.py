"""Scores and recommendations from raw requests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recprune.artifact import Artifact, lay_out, write
from recprune.errors import RecpruneError
from recprune.runtime import Scorer, load
from recprune.runtime import scorer as scorer_module
from recprune.weights import Dense, Param, Weights

from ..small import ITEMS, like, next_item, op, request


def scorer(snapshot=None, fingerprint=None):
    laid, vocabularies = lay_out(snapshot or like(), fingerprint)
    return Scorer(Artifact(laid.weights, laid.graph, vocabularies))


def by_hand(frame):
    """The like model written out in plain numpy."""
    snapshot = like()
    w = {name: param.value.decode().astype(np.float64) for name, param in snapshot.weights.items()}
    scores = []
    for user, book, title, age in zip(*(frame[c] for c in ("user", "book", "title", "age")), strict=True):
        row = {axis: {str(i): n for n, i in enumerate(ids)} for axis, ids in snapshot.ids.items()}
        u, b = row["user"].get(str(user), 6), row["book"].get(str(book), 8)
        title_rows = [row["title"].get(word, 3) for word in str(title).lower().replace(",", " ").split()]
        a = 3 if np.isnan(age) else int(age >= 18) + int(age >= 30.5)
        pooled = w["title.factor"][title_rows].mean(axis=0) if title_rows else np.zeros(2)
        x = np.concatenate([w["user.factor"][u], w["book.factor"][b], pooled, w["age.factor"][a]])
        hidden = np.maximum(w["hidden.weight"] @ x + w["hidden.bias"], 0)
        logit = w["out.weight"] @ hidden + w["out.bias"] + w["book.bias"][b]
        scores.append(1 / (1 + np.exp(-logit[0])))
    return np.array(scores)


def test_scores_are_the_model_written_out():
    frame = request(200)
    found = scorer().score(frame)
    assert found.dtype == np.float32
    assert found.shape == (200,)
    np.testing.assert_allclose(found, by_hand(frame), atol=1e-6)


def test_any_frame_gives_the_same_scores():
    frame = request()
    expected = scorer().score(frame)
    objects = {name: np.array(values.tolist(), dtype=object) for name, values in frame.items()}
    for other in (
        pd.DataFrame(frame),
        pl.DataFrame(frame),
        {name: values.tolist() for name, values in frame.items()},
        {name: tuple(values.tolist()) for name, values in frame.items()},
        objects,
        pd.DataFrame(objects),
        pd.DataFrame(frame).convert_dtypes(),
        pd.DataFrame(frame).assign(user=lambda f: f["user"].astype("category"), extra=1),
        pl.DataFrame(frame).with_columns(pl.col("book").cast(pl.Categorical), pl.col("age").fill_nan(None)),
    ):
        np.testing.assert_array_equal(scorer().score(other), expected)


def test_missing_values_are_unknown():
    frame = {"user": ["u1", "zz"] * 3, "book": ["unknown"] * 6, "title": [""] * 6, "age": [np.nan] * 6}
    expected = scorer().score(frame)
    for none in (None, float("nan"), pd.NA):
        other = frame | {"user": ["u1", none] * 3, "book": [none] * 6, "title": [none] * 6, "age": [none] * 6}
        np.testing.assert_array_equal(scorer().score(other), expected)
        np.testing.assert_array_equal(scorer().score(pd.DataFrame(other)), expected)
    nulls = pl.DataFrame(frame | {"user": ["u1", None] * 3, "book": [None] * 6, "title": [None] * 6, "age": [None] * 6})
    np.testing.assert_array_equal(scorer().score(nulls), expected)


def test_integer_ids_with_one_missing_stay_known():
    # A column of integers with one missing comes as floats from pandas.
    snapshot = like()
    for ids in (np.arange(6), np.arange(6).astype(np.str_)):
        known = scorer(type(snapshot)(snapshot.weights, snapshot.graph, dict(snapshot.ids) | {"user": ids}))
        frame = {"book": ["x"] * 3, "title": [""] * 3, "age": [20.0] * 3}
        expected = known.score(frame | {"user": ["3", "5", "unknown"]})
        assert len(set(expected.tolist())) == 3
        for users in ([3, 5, None], np.array([3.0, 5.0, np.nan]), pd.Series([3, 5, None]), pl.Series([3, 5, None])):
            np.testing.assert_array_equal(known.score(frame | {"user": users}), expected)


def test_a_row_scores_the_same_alone_in_a_batch_and_with_more_padding():
    # Case C8.
    frame = request(60)
    together = scorer().score(frame)
    alone = [scorer().score({name: values[i : i + 1] for name, values in frame.items()})[0] for i in range(60)]
    np.testing.assert_allclose(alone, together, atol=1e-6)
    # More rows, longer titles and longer ids in other rows.
    longer = {name: np.concatenate([values, values[:1]]) for name, values in frame.items()}
    longer["title"] = np.concatenate([frame["title"], ["the night " * 500]])
    longer["user"] = np.concatenate([frame["user"], ["u" * 5000]])
    np.testing.assert_allclose(scorer().score(longer)[:60], together, atol=1e-6)


def test_batches_join_without_a_seam(monkeypatch):
    frame = request(50)
    expected = scorer().score(frame)
    for size in (1, 7, 49, 50, 51):
        monkeypatch.setattr(scorer_module, "_BATCH", size)
        np.testing.assert_allclose(scorer().score(frame), expected, atol=1e-6)


def test_more_rows_than_a_batch():
    frame = request(50)
    many = {name: np.resize(values, 16384 + 60) for name, values in frame.items()}
    found = scorer().score(many)
    assert found.shape == (16444,)
    np.testing.assert_allclose(found, np.resize(scorer().score(frame), 16444), atol=1e-6)


def test_no_rows_give_no_scores():
    assert scorer().score({name: values[:0] for name, values in request().items()}).shape == (0,)


def test_columns_say_what_is_needed():
    assert scorer().columns == ("user", "book", "title", "age")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {k: v for k, v in f.items() if k != "age"}, "no column 'age'; its columns are: user, book, title"),
        (lambda f: pd.DataFrame(f).drop(columns="age"), "no column 'age'; its columns are: user, book, title"),
        (lambda f: pl.DataFrame(f).drop("age"), "no column 'age'; its columns are: user, book, title"),
        (lambda f: f | {"age": f["age"][:5]}, r"differ in length: \[5, 40\]"),
        (lambda f: f | {"age": ["old"] * 40}, "column 'age' must hold numbers"),
        (lambda f: f | {"age": [[1]] * 40}, "column 'age' must hold numbers"),
        (lambda f: f | {"user": "u1"}, "column 'user' must be a list or an array, got str"),
        (lambda f: f | {"user": 5}, "column 'user' must be a list or an array"),
        (lambda f: [1, 2], "no column 'user'"),
        (lambda f: None, "no column 'user'"),
    ],
)
def test_a_request_that_cannot_be_scored_is_named(change, message):
    with pytest.raises(RecpruneError, match=message):
        scorer().score(change(request()))


def test_weights_alone_cannot_score():
    with pytest.raises(RecpruneError, match="weights only"):
        Scorer(Artifact(like().weights, None, {}))


# Retrieval


def items():
    return scorer(next_item())


def test_the_best_items_by_hand():
    # History a and b: rows sum to [3, 3, 3, 0.5]; a and b are left out.
    found = items().top_k([["a", "b"], ["d"]], 3)
    assert [x.tolist() for x in found.ids] == [["c", "d"], ["c", "b", "a"]]
    assert [x.tolist() for x in found.scores] == [[3, 0.5], [4, 0.5, 0]]
    assert found.fallback.tolist() == [False, False]


def test_the_history_may_come_back():
    found = items().top_k([["a", "b"]], 2, exclude_history=False)
    # a, b and c all score 3: the earlier row first.
    assert found.ids[0].tolist() == ["a", "b"]


def test_candidates_limit_the_answer_and_nothing_fills_it_up():
    # Case C13: two candidates, k = 10.
    found = items().top_k([["a"], []], 10, candidates=["d", "b", "unheard of", "b"])
    assert [x.tolist() for x in found.ids] == [["b", "d"], ["b", "d"]]
    assert found.fallback.tolist() == [False, True]


def test_without_a_known_history_popularity_answers_and_says_so():
    found = items().top_k([[], ["unheard of"], ["a"], [None]], 2)
    assert [x.tolist() for x in found.ids] == [["b", "c"], ["b", "c"], ["b", "c"], ["b", "c"]]
    assert found.fallback.tolist() == [True, True, False, True]
    assert found.scores[0].tolist() == [4, 3]


def test_more_histories_than_a_block():
    many = items().top_k([["d"], ["a"]] * 200, 1)
    assert [x.tolist() for x in many.ids] == [["c"], ["b"]] * 200
    assert items().top_k([], 1).ids == []


@pytest.mark.parametrize(
    ("histories", "k", "message"),
    [
        ([["a"]], 0, "k must be"),
        ([["a"]], 1.5, "k must be"),
        ([["a"]], "3", "k must be"),
        (["a", "b"], 1, "list of lists"),
        ("ab", 1, "list of lists"),
        ([5], 1, "list of lists"),
    ],
)
def test_requests_that_are_no_histories_are_named(histories, k, message):
    with pytest.raises(RecpruneError, match=message):
        items().top_k(histories, k)


def test_each_kind_of_model_names_its_own_call():
    with pytest.raises(RecpruneError, match="call top_k"):
        items().score({"items": [["a"]]})
    with pytest.raises(RecpruneError, match="scores pairs"):
        scorer().top_k([["a"]], 1)


def test_an_artifact_of_hashes_cannot_name_items():
    snapshot = next_item()
    laid, vocabularies = lay_out(snapshot, 8)
    assert vocabularies["item"].spec()["vocabulary"] == "exact"
    assert Scorer(Artifact(laid.weights, laid.graph, vocabularies)).top_k([["d"]], 1).ids[0].tolist() == ["c"]


def test_a_history_may_be_read_by_a_model_of_pairs(tmp_path):
    snapshot = next_item()
    weights = Weights(
        {
            "item": Param(("item", "item.factor"), Dense(np.array([[1], [2], [4], [8], [0]], np.float32)), (4,)),
        }
    )
    graph = type(snapshot.graph)(
        ("items", "asked"),
        (
            op("history", "read", "items", vocabulary="item"),
            op("pool", "taste", "read", params=("item",), mode="sum"),
            op("lookup", "row", "asked", vocabulary="item"),
            op("take", "item factor", "row", params=("item",)),
            op("fm", "score", "taste", "item factor"),
        ),
        "score",
    )
    laid, vocabularies = lay_out(type(snapshot)(weights, graph, {"item": ITEMS}))
    write(Artifact(laid.weights, laid.graph, vocabularies), tmp_path / "artifact")
    known = load(tmp_path / "artifact")
    histories = [["a", "b"], ["d"], [], ["a", "c"]]
    expected = [(1 + 2) * 4, 8 * 2, 0, 5 * 8]
    asked = ["c", "b", "a", "d"]
    assert known.score({"items": histories, "asked": asked}).tolist() == expected
    assert known.score(pd.DataFrame({"items": histories, "asked": asked})).tolist() == expected
    assert known.score(pl.DataFrame({"items": histories, "asked": asked})).tolist() == expected
    # Lists of one length must not become a table.
    assert known.score({"items": [["a"], ["b"]], "asked": ["a", "a"]}).tolist() == [1, 2]


def test_items_are_not_ranked_by_histories_of_something_else():
    snapshot = next_item()
    laid, vocabularies = lay_out(snapshot)
    ops = tuple(replace(op, attrs={"vocabulary": "other"}) if op.kind == "history" else op for op in laid.graph.ops)
    vocabularies = {**vocabularies, "other": vocabularies["item"]}
    with pytest.raises(RecpruneError, match="reads no histories of the items"):
        Scorer(Artifact(laid.weights, replace(laid.graph, ops=ops), vocabularies)).top_k([["a"]], 1)


# Rounding


def test_scores_are_rounded_before_they_leave():
    frame = request(200)
    laid, vocabularies = lay_out(like())
    rounded = Scorer(Artifact(laid.weights, laid.graph, vocabularies), decimals=2).score(frame)
    np.testing.assert_array_equal(rounded, np.round(scorer().score(frame).astype(float), 2).astype(np.float32))
    assert len(set(rounded.tolist())) < len(set(scorer().score(frame).tolist()))


def test_a_list_tells_no_more_than_rounded_scores():
    # What a says of b, c and d is .4, .45 and -.3: 0 to no decimals.
    snapshot = next_item()
    matrix = np.zeros((5, 5), np.float32)
    matrix[0, 1:4] = 0.4, 0.45, -0.3
    snapshot = snapshot.with_weights(snapshot.weights.replace("similar", Dense(matrix)))
    laid, vocabularies = lay_out(snapshot)
    artifact = Artifact(laid.weights, laid.graph, vocabularies)
    exact, rounded = Scorer(artifact).top_k([["a"]], 3), Scorer(artifact, decimals=0).top_k([["a"]], 3)
    assert exact.ids[0].tolist() == ["c", "b", "d"]
    # The order is that of the catalogue, for one item as for three.
    assert rounded.ids[0].tolist() == ["b", "c", "d"]
    assert str(rounded.scores[0].tolist()) == "[0.0, 0.0, 0.0]"
    assert Scorer(artifact, decimals=0).top_k([["a"]], 1).ids[0].tolist() == ["b"]


@pytest.mark.parametrize("decimals", [-1, 7, 1.0, "2"])
def test_decimals_that_are_none_are_named(decimals):
    laid, vocabularies = lay_out(like())
    with pytest.raises(RecpruneError, match="decimals must be a whole number from 0 to 6, got"):
        Scorer(Artifact(laid.weights, laid.graph, vocabularies), decimals=decimals)
