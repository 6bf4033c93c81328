"""Laying out renumbers rows and drops ids; it changes no score."""

from dataclasses import replace

import numpy as np
import pytest

from recprune.artifact import Artifact, lay_out
from recprune.errors import RecpruneError
from recprune.runtime import Scorer
from recprune.runtime.reference import execute
from recprune.snapshot import Snapshot
from recprune.vocabulary import ListedVocabulary
from recprune.weights import Dense, LowRank, Param, Quantized, Rows, Stacked, Weights

from ..small import BOOKS, USERS, like, next_item, request


def before(snapshot, frame):
    listed = {axis: ListedVocabulary(ids) for axis, ids in snapshot.ids.items()}
    return execute(snapshot.graph, snapshot.weights, listed, frame).reshape(-1)


def after(snapshot, frame, fingerprint=None):
    laid, vocabularies = lay_out(snapshot, fingerprint)
    return Scorer(Artifact(laid.weights, laid.graph, vocabularies)).score(frame)


def keeping(snapshot, name, kept, codes=None):
    """Keep these rows of a table; the others read the last, that of unknown ids."""
    value = snapshot.weights[name].value
    mask = np.isin(np.arange(value.shape[0]), [*kept, value.shape[0] - 1])
    inner = Dense(value.decode()[mask])
    inner = Quantized.encode(inner.values, *codes) if codes else inner
    return snapshot.with_weights(snapshot.weights.replace(name, Rows.encode(mask, inner, int(mask.sum()) - 1)))


def all_encodings():
    """Different rows kept of tables on one axis, codes, a product, groups of rows."""
    snapshot = keeping(like(), "book.factor", [1, 2, 6], (4,))
    snapshot = keeping(snapshot, "book.bias", [0, 2, 7])
    users = snapshot.weights["user.factor"].value.decode()
    stacked = Stacked((Dense(users[:2]), Dense(users[2:5, :2]), Quantized.encode(users[5:, :1], 8)))
    weights = snapshot.weights.replace("user.factor", stacked)
    titles = weights["title.factor"].value.decode()
    low = LowRank.encode(titles, 1)
    mask = np.array([True, False, True, True])
    left = Rows.encode(mask, Dense(low.left.decode()[mask]), 2)
    return snapshot.with_weights(weights.replace("title.factor", LowRank(left, low.right)))


@pytest.mark.parametrize("fingerprint", [None, 16])
@pytest.mark.parametrize("make", [like, all_encodings])
def test_scores_stay_the_same(make, fingerprint):
    snapshot, frame = make(), request(300)
    np.testing.assert_allclose(after(snapshot, frame, fingerprint), before(snapshot, frame), atol=1e-6)


def test_ids_that_are_numbers_are_kept_whole_where_that_takes_less_than_their_hashes():
    snapshot = like()
    numbered = replace(snapshot, ids=snapshot.ids | {"user": np.arange(2 * len(USERS), step=2).astype(np.str_)})
    _, vocabularies = lay_out(numbered, 8)
    assert vocabularies["user"].spec()["vocabulary"] == "integer"
    assert vocabularies["book"].spec()["vocabulary"] == "fingerprint"
    strangers = np.arange(1, 2 * len(USERS), step=2).astype(np.str_)
    assert (vocabularies["user"].lookup(strangers) == len(USERS)).all()
    far = replace(snapshot, ids=snapshot.ids | {"user": (1000 * np.arange(len(USERS))).astype(np.str_)})
    assert lay_out(far, 8)[1]["user"].spec()["vocabulary"] == "fingerprint"


def test_ids_whose_rows_no_table_keeps_leave_and_score_as_unknown():
    laid, vocabularies = lay_out(all_encodings())
    # Books 1, 2, 6 have factors, 0, 2, 7 a bias: 3, 4 and 5 go.
    assert sorted(vocabularies["book"].ids().tolist()) == sorted(BOOKS[[0, 1, 2, 6, 7]].tolist())
    assert laid.weights["book.factor"].shape == (6, 4)
    assert laid.weights["book.bias"].shape == (6, 1)
    assert laid.weights["book.factor"].protected == (5,)
    scorer = Scorer(Artifact(laid.weights, laid.graph, vocabularies))
    frame = {"user": ["u0"] * 4, "title": ["sea"] * 4, "age": [20.0] * 4}
    found = scorer.score(frame | {"book": [BOOKS[3], BOOKS[4], BOOKS[5], "unknown"]})
    assert len(set(found.tolist())) == 1
    assert scorer.score(frame | {"book": [BOOKS[0]] * 4})[0] != found[0]


def test_rows_stored_alike_become_neighbours_the_most_kept_first():
    laid, vocabularies = lay_out(all_encodings())
    ids = vocabularies["book"].ids().tolist()
    assert ids[0] == BOOKS[2]  # in both tables
    assert laid.weights["book.factor"].value.mask().tolist() == [ids[i] in BOOKS[[1, 2, 6]] for i in range(5)] + [True]
    # One run and the last row, or two runs: never a bitmap with holes.
    edges = np.diff(laid.weights["book.factor"].value.mask().astype(int))
    assert (edges != 0).sum() <= 2


def test_a_table_that_keeps_all_its_ids_needs_no_marks():
    snapshot = keeping(like(), "user.factor", [1, 3])
    laid, vocabularies = lay_out(snapshot)
    assert sorted(vocabularies["user"].ids().tolist()) == ["u1", "u3"]
    assert isinstance(laid.weights["user.factor"].value, Dense)
    assert laid.weights["user.factor"].nbytes == 3 * 3 * 4


def test_no_id_kept_leaves_the_row_of_unknown_ids():
    snapshot = keeping(like(), "user.factor", [])
    laid, vocabularies = lay_out(snapshot)
    assert len(vocabularies["user"]) == 0
    assert laid.weights["user.factor"].shape == (1, 3)
    np.testing.assert_allclose(after(snapshot, request()), before(snapshot, request()), atol=1e-6)


def test_a_dropped_id_that_shares_another_row_than_the_unknown_stays():
    # Rows 1 and 3 read row 0, which is not what an unknown id reads.
    snapshot = like()
    values = snapshot.weights["user.factor"].value.decode()
    mask = np.array([True, False, True, False, True, True, True])
    shared = Rows.encode(mask, Dense(values[mask]), 0)
    snapshot = snapshot.with_weights(snapshot.weights.replace("user.factor", shared))
    _, vocabularies = lay_out(snapshot)
    assert len(vocabularies["user"]) == 6
    np.testing.assert_allclose(after(snapshot, request(200)), before(snapshot, request(200)), atol=1e-6)


def test_rows_within_groups_of_rows():
    snapshot = like()
    users = snapshot.weights["user.factor"].value.decode()
    first = Rows.encode(np.array([True, False, False]), Dense(users[[0, 1]]), 1)
    second = Rows.encode(np.array([False, True, False, True]), Dense(users[[4, 6], :2]), 1)
    for value in (
        Stacked((first, second)),
        Rows.encode(np.array([1, 0, 1, 0, 1, 0, 1], bool), Stacked((Dense(users[:2]), Dense(users[4:6, :1]))), 3),
    ):
        other = snapshot.with_weights(snapshot.weights.replace("user.factor", value))
        # A table whose kept rows would order the groups the other way round.
        other = keeping(other, "book.factor", [7])
        np.testing.assert_allclose(after(other, request(300)), before(other, request(300)), atol=1e-6)


def test_hashed_ids_are_not_divided_into_groups_of_rows():
    # Each group more would add its share of unknown ids taken for known ones: the table says which row lies where.
    snapshot = like()
    users = snapshot.weights["user.factor"].value.decode()
    which = np.array([1, 0, 1, 0, 1, 0, 1])
    stacked = Stacked.encode(which, (Dense(users[which == 0]), Dense(users[which == 1])))
    snapshot = snapshot.with_weights(snapshot.weights.replace("user.factor", stacked))
    laid, vocabularies = lay_out(snapshot, 12)
    assert vocabularies["user"].spec()["counts"] == [6]
    assert laid.weights["user.factor"].value.order.nbytes == 1  # a bit for each of seven rows
    laid, vocabularies = lay_out(snapshot)
    assert laid.weights["user.factor"].value.order.nbytes == 0  # the three of one part, then those of the other
    for fingerprint in (12, None):
        np.testing.assert_allclose(
            after(snapshot, request(300), fingerprint), before(snapshot, request(300)), atol=1e-6
        )


def test_a_dropped_field_is_gone_with_its_operations_its_ids_and_its_column():
    snapshot = like()
    weights = snapshot.weights.cut("title.factor", np.zeros(0, np.int64)).cut("user.factor", np.zeros(0, np.int64))
    laid, vocabularies = lay_out(snapshot.with_weights(weights))
    assert laid.graph.columns == ("book", "age")
    assert set(vocabularies) == {"book"}
    assert set(laid.weights) == set(snapshot.weights) - {"title.factor", "user.factor"}
    assert laid.weights["hidden.weight"].shape == (5, 6)
    assert {op.output for op in laid.graph.ops}.isdisjoint({"title rows", "title factor", "user rows", "user factor"})
    # The same as columns of zeros.
    zeroed = {
        name: Dense(np.zeros(snapshot.weights[name].shape, np.float32)) for name in ("title.factor", "user.factor")
    }
    reference = snapshot.weights
    for name, value in zeroed.items():
        reference = reference.replace(name, value)
    frame = request(100)
    expected = before(snapshot.with_weights(reference), frame)
    found = Scorer(Artifact(laid.weights, laid.graph, vocabularies)).score({k: frame[k] for k in ("book", "age")})
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_dropping_everything_is_an_error_in_words():
    snapshot = like()
    weights = snapshot.weights
    for axis in ("user.factor", "book.factor", "title.factor", "age.factor"):
        weights = weights.cut(axis, np.zeros(0, np.int64))
    with pytest.raises(RecpruneError, match="nothing is left"):
        lay_out(snapshot.with_weights(weights))


def test_rows_and_columns_of_an_item_item_model_move_together():
    snapshot = next_item()
    shuffled = Snapshot(snapshot.weights, snapshot.graph, {"item": np.array(["d", "a", "c", "b"])})
    laid, vocabularies = lay_out(shuffled)
    assert vocabularies["item"].ids().tolist() == ["a", "b", "c", "d"]
    matrix = snapshot.weights["similar"].value.decode()
    assert np.array_equal(laid.weights["similar"].value.decode(), matrix[np.ix_([1, 3, 2, 0, 4], [1, 3, 2, 0, 4])])
    assert laid.weights["popular"].value.decode()[:, 0].tolist() == [4, 2, 3, 1, 0]
    found = Scorer(Artifact(laid.weights, laid.graph, vocabularies)).top_k([["b"]], 3)
    # "b" is row 3 as given: scores 0, 0.5, 4 for rows 0, 1, 2, which are d, a, c.
    assert found.ids[0].tolist() == ["c", "a", "d"]


def test_an_item_that_is_a_column_keeps_its_id_though_its_row_is_dropped():
    snapshot = next_item()
    matrix = snapshot.weights["similar"].value.decode()
    mask = np.array([True, False, True, True, True])
    rows = Rows.encode(mask, Dense(matrix[mask]), 3)
    laid, vocabularies = lay_out(snapshot.with_weights(snapshot.weights.replace("similar", rows)))
    assert len(vocabularies["item"]) == 4
    assert laid.weights["similar"].shape == (5, 5)


def test_without_a_graph_all_ids_stay():
    snapshot = replace(like(), graph=None, ids={"user": USERS})
    laid, vocabularies = lay_out(snapshot)
    assert vocabularies["user"].ids().tolist() == sorted(USERS.tolist())
    assert set(laid.weights) == set(snapshot.weights)


def test_part_of_a_fused_table_keeps_its_ids():
    table = Dense(np.arange(10, dtype=np.float32).reshape(5, 2))
    weights = Weights({"fused": Param(("user+page", "f"), table)}, {"user": 3, "page": 2})
    laid, vocabularies = lay_out(Snapshot(weights, None, {"user": np.array(["b", "a"])}))
    assert vocabularies["user"].ids().tolist() == ["a", "b"]
    assert laid.weights["fused"].value.decode()[:, 0].tolist() == [2, 0, 4, 6, 8]


def test_ids_of_another_number_than_rows_are_refused():
    with pytest.raises(RecpruneError, match="'user' has 7 rows for 5 ids"):
        replace(like(), ids={"user": USERS[:5]})
    with pytest.raises(RecpruneError, match="'city'"):
        replace(like(), ids={"city": USERS})


def test_bytes_fall_with_the_ids():
    snapshot = like()
    whole = Artifact(*_laid(snapshot))
    small = Artifact(*_laid(keeping(keeping(snapshot, "book.factor", [1]), "book.bias", [1])))
    assert len(small.vocabularies["book"]) == 1
    assert small.resident_bytes < whole.resident_bytes


def _laid(snapshot):
    laid, vocabularies = lay_out(snapshot)
    return laid.weights, laid.graph, vocabularies
