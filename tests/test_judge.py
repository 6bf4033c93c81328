"""Judges of a search: halves of the users, and how far answers moved."""

import numpy as np
import pytest

from recprune import ListJudge, RowJudge
from recprune.artifact import Artifact, lay_out
from recprune.evaluation import ListTruth, RowTruth
from tests.small import like, next_item, request


def packed(snapshot):
    laid, vocabularies = lay_out(snapshot)
    return Artifact(laid.weights, laid.graph, vocabularies)


def test_halves_of_rows_share_no_user_and_leave_none_out():
    frame = request(40)
    judge = RowJudge(RowTruth(np.arange(40) % 2, frame["user"]), frame)
    first, second = judge.halves()
    assert set(first.truth.users).isdisjoint(second.truth.users)
    assert sorted([*first.truth.users, *second.truth.users]) == sorted(frame["user"])
    assert first.requests + second.requests == judge.requests == 40
    artifact = packed(like())
    rows = np.isin(frame["user"], first.truth.users)
    np.testing.assert_array_equal(first.predict(artifact), judge.predict(artifact)[rows])
    np.testing.assert_array_equal(first.truth.labels, judge.truth.labels[rows])
    np.testing.assert_allclose(judge.quick(like())(like().weights), judge.predict(artifact), atol=1e-6)


def test_halves_of_lists_are_every_second_user():
    truth = ListTruth([[0], [1], [2]], 4)
    judge = ListJudge(truth, lambda artifact: np.array([[0, 1], [1, 2], [3, 0]]))
    first, second = judge.halves()
    assert [first.predict(None).tolist(), second.predict(None).tolist()] == [[[0, 1], [3, 0]], [[1, 2]]]
    assert [first.truth.item_of.tolist(), second.truth.item_of.tolist()] == [[0, 2], [1]]
    assert first.requests == 2
    assert judge.moved(first.predict(None), second.predict(None)) == 0
    lists = ListJudge(truth, lambda artifact: np.array([[len(artifact.weights)]]))
    assert lists.quick(next_item())(next_item().weights).tolist() == [[2]]


def test_answers_move_by_the_square_of_their_log_odds():
    judge = RowJudge(RowTruth(np.array([0, 1]), np.array([0, 1])), {})
    even, doubled = np.array([0.5, 0.5]), np.array([2 / 3, 0.5])
    assert judge.moved(even, doubled) == pytest.approx(np.log(2) ** 2 / 2)
