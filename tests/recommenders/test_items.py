"""EASE, its peers, and the data of the task `next book`, on logs made here."""

import numpy as np
import polars as pl
import pytest

from recprune.data.log import Log
from recprune.errors import RecpruneError
from recprune.recommenders import ease
from recprune.recommenders.item_peers import implicit_als, item_cosine, linear, popularity, ranked_lists
from recprune.recommenders.next_item_data import item_snapshot, next_item_data, with_unknown
from recprune.runtime.reference import execute
from recprune.vocabulary import ExactVocabulary
from recprune.weights import Dense

sparse = pytest.importorskip("scipy.sparse")


def csr(rows):
    return sparse.csr_array(np.array(rows, np.float32))


def shelves(users=200, seed=0):
    """Even readers read even books, odd readers odd ones: 30 books."""
    rng = np.random.default_rng(seed)
    own = np.arange(30)[None, :] % 2 == np.arange(users)[:, None] % 2
    return csr((rng.random((users, 30)) < 0.3) & own)


def test_ease_solves_its_regression():
    user_items = shelves()
    weights = ease.fit(user_items, 4.0)
    x = user_items.toarray().astype(np.float64)
    for j in (0, 7, 29):
        others = np.delete(np.arange(30), j)
        a = x[:, others]
        expected = np.linalg.solve(a.T @ a + 4 * np.eye(29), a.T @ x[:, j])
        np.testing.assert_allclose(weights[others, j], expected, atol=1e-5)
        assert weights[j, j] == 0
    assert weights.dtype == np.float32


def test_ease_over_many_blocks_is_symmetric_where_it_must_be():
    rng = np.random.default_rng(0)
    user_items = csr(rng.random((400, 1100)) < 0.02)
    weights, gram = ease.fit(user_items, 5.0).astype(np.float64), ease.gram(user_items).astype(np.float64)
    inverse = np.linalg.inv(gram + 5 * np.eye(1100))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(weights, expected, atol=1e-4)


def test_an_item_that_nobody_read_gets_zeros():
    weights = ease.fit(with_unknown(csr([[1, 1], [1, 0]])), 1.0)
    assert weights.shape == (3, 3)
    assert weights[2].tolist() == weights[:, 2].tolist() == [0, 0, 0]
    assert ease.fit(csr(np.zeros((2, 0))), 1.0).shape == (0, 0)


@pytest.mark.parametrize("l2", [0, -1, float("nan")])
def test_l2_is_checked(l2):
    with pytest.raises(RecpruneError, match="l2 must be above 0"):
        ease.fit(csr([[1]]), l2)


def test_popularity_is_the_share_of_readers():
    scores = popularity(csr([[1, 1, 0], [1, 0, 0]]))(csr([[0, 0, 1]]))
    assert scores.tolist() == [[1, 0.5, 0]]


def test_cosine_by_hand():
    # Norms sqrt(2), sqrt(1), sqrt(2); common readers 01: 1, 02: 1, 12: 0.
    user_items = csr([[1, 1, 0], [1, 0, 1], [0, 0, 1]])
    scores = item_cosine(user_items, shrink=0.0)(csr([[1, 0, 0], [0, 1, 1]]))
    np.testing.assert_allclose(scores, [[0, 1 / np.sqrt(2), 1 / 2], [1 / np.sqrt(2) + 1 / 2, 0, 0]], rtol=1e-6)
    scores = item_cosine(user_items, shrink=1.0)(csr([[1, 0, 0]]))
    np.testing.assert_allclose(scores, [[0, 1 / (np.sqrt(2) + 1), 1 / 3]], rtol=1e-6)
    # With one neighbour an item listens to its most similar one: item 0 to item 1, no longer to item 2.
    scores = item_cosine(user_items, neighbours=1, shrink=0.0)(csr([[0, 1, 0], [0, 0, 1]]))
    np.testing.assert_allclose(scores, [[1 / np.sqrt(2), 0, 0], [0, 0, 0]], rtol=1e-6)


def test_als_finds_the_own_shelf():
    pytest.importorskip("implicit")
    user_items = shelves()
    lists = ranked_lists(implicit_als(user_items, factors=4, l2=1.0, alpha=10.0), user_items, 5)
    own = np.arange(len(lists))[:, None] % 2
    assert (lists % 2 == own).mean() > 0.95


def test_lists_leave_the_history_out_and_are_never_filled():
    score = linear(csr([[0, 3, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    lists = ranked_lists(score, csr([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]), 2, fallback=np.array([1, 4, 2, 3]))
    assert lists.tolist() == [[1, 2], [3, -1], [1, 3]]


def log(rows):
    users, items = zip(*rows, strict=True)
    return Log("made", pl.DataFrame({"user": users, "item": items, "rating": [0.0] * len(rows)}), licence="ours")


def test_next_book_holds_out_half_and_half_and_leaks_nothing():
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(40) for i in range(25) if (u * 7 + i * 3) % 5 < 2 + u % 2]
    rows += [("short", "i00"), ("short", "i01")]
    data = next_item_data(log(rows), min_reads=8)
    assert "short" not in data.users.tolist()
    assert sorted(data.items.tolist()) == sorted({item for _, item in rows})
    assert (data.counts[: data.catalogue] >= 8).all()
    assert (data.counts[data.catalogue :] < 8).all()
    seen = set(zip(data.user_items.nonzero()[0].tolist(), data.user_items.nonzero()[1].tolist(), strict=True))
    whole = {user: {item for u, item in rows if u == user} for user in data.users.tolist()}
    for row, user in enumerate(data.users.tolist()):
        parts = [set(data.relevant[part][row].tolist()) for part in ("valid", "test")]
        train = {i for u, i in seen if u == row}
        assert not (parts[0] & parts[1]) | (train & (parts[0] | parts[1]))
        held = len(parts[0]) + len(parts[1])
        assert held == max(1, int(len(whole[user]) * 0.2 + 0.5))
        assert abs(len(parts[0]) - len(parts[1])) <= 1
        assert {data.items[i] for i in train | parts[0] | parts[1]} <= whole[user]
    assert [sorted(items.tolist()) for items in data.before("test")] == [sorted(h.tolist()) for h in data.histories]
    assert np.array_equal(np.asarray(data.user_items.sum(axis=0)).reshape(-1), data.counts[: data.catalogue])
    judged, held_out = data.judged("test")
    assert all(len(items) for items in held_out)
    assert len(judged) == sum(len(items) > 0 for items in data.relevant["test"])
    with pytest.raises(RecpruneError, match="lower min_reads"):
        next_item_data(log(rows), min_reads=1000)


def test_where_there_are_times_the_latest_is_held_out_and_the_test_knows_what_came_before():
    # Each of 20 users takes i0 to i9 in this order; the rows lie the other way round.
    rows = [(f"u{u:02}", f"i{i}") for i in range(9, -1, -1) for u in range(20)]
    frame = log(rows).interactions.with_columns(time=pl.Series([int(item[1:]) for _, item in rows]))
    data = next_item_data(Log("made", frame, licence="ours"), min_reads=20)
    assert data.timed
    assert data.items.tolist() == [f"i{i}" for i in range(10)]
    assert data.catalogue == 8
    for part, held in (("valid", [8]), ("test", [9])):
        assert [items.tolist() for items in data.relevant[part]] == [held] * 20
    assert [items.tolist() for items in data.histories] == [list(range(8))] * 20
    assert [items.tolist() for items in data.before("valid")] == [list(range(8))] * 20
    # i8 is not in the catalogue, so it is in no history.
    assert [items.tolist() for items in data.before("test")] == [list(range(8))] * 20
    # With other users who take i8 early it is.
    more = pl.DataFrame(
        {"user": [f"v{u}" for u in range(40) for _ in range(5)], "item": ["i8", "i0", "i1", "i2", "i3"] * 40}
    )
    more = more.with_columns(rating=pl.lit(0.0, pl.Float32), time=pl.Series([0, 1, 2, 3, 4] * 40))
    data = next_item_data(Log("made", pl.concat([frame, more]), licence="ours"), min_reads=20)
    assert data.before("test")[0].tolist() == list(range(9))
    assert data.before("valid")[0].tolist() == list(range(8))


def test_snapshot_scores_histories_of_raw_ids():
    user_items = shelves()
    weights = ease.fit(with_unknown(user_items), 4.0)
    ids = np.array([f"b{i:02}" for i in range(30)])
    shares = np.arange(30) / 100
    snapshot = item_snapshot(Dense(weights), shares, ids)
    vocabulary, _ = ExactVocabulary.build([ids])
    scores = execute(
        snapshot.graph, snapshot.weights, {"item": vocabulary}, {"items": [["b03", "b05"], ["nobody knows"], []]}
    )
    np.testing.assert_allclose(scores[0, :30], weights[3, :30] + weights[5, :30] + shares, rtol=1e-5)
    np.testing.assert_allclose(scores[1:, :30], [shares, shares], rtol=1e-6)
