"""The k best: cases C6 and C13, and the kinds of fault that they belong to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune import evaluation
from recprune.runtime.topk import top_k


def test_case_c6_missing_places_are_not_item_0():
    # One recommendation [2], k = 3, the only positive is item 0.
    found, _ = top_k(np.array([0.5, 0.1, 0.9]), 3, candidates=np.array([2]))
    assert found.tolist() == [2]
    places = np.full((1, 3), -1)
    places[0, : len(found)] = found
    truth = evaluation.ListTruth([[0]], 3)
    names = ["hit@3", "precision@3", "ndcg@3", "recall@3", "mrr@3"]
    found_by_name = evaluation.estimate(truth, places, names, resamples=100)
    assert [found_by_name[name].value for name in names] == [0] * 5


def test_case_c13_two_candidates_give_two_results():
    scores = np.arange(9.0)
    found, values = top_k(scores, 10, candidates=np.array([4, 7]))
    assert found.tolist() == [7, 4]
    assert values.tolist() == [7, 4]
    assert top_k(scores, 10, candidates=np.array([4, 7]), exclude=np.array([7]))[0].tolist() == [4]
    assert top_k(scores, 10, candidates=np.zeros(0, np.int64))[0].tolist() == []


def test_candidates_named_twice_count_once():
    assert top_k(np.arange(3.0), 3, candidates=np.array([1, 1, 2]))[0].tolist() == [2, 1]


def test_what_is_excluded_never_comes_back_even_when_all_else_is_worse():
    assert top_k(np.array([1.0, -np.inf, -np.inf]), 3, exclude=np.array([0]))[0].tolist() == [1, 2]


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    st.integers(1, 35),
    st.sets(st.integers(0, 29)),
    st.none() | st.sets(st.integers(0, 29)),
)
def test_order_is_by_score_then_position(scores, k, exclude, candidates):
    exclude = {i for i in exclude if i < len(scores)}
    allowed = set(range(len(scores))) if candidates is None else {i for i in candidates if i < len(scores)}
    expected = sorted(allowed - exclude, key=lambda i: (-scores[i], i))[:k]
    found, values = top_k(
        np.array(scores, float),
        k,
        exclude=np.array(sorted(exclude), dtype=np.int64),
        candidates=None if candidates is None else np.array(sorted(allowed), dtype=np.int64),
    )
    assert found.tolist() == expected
    assert values.tolist() == [scores[i] for i in expected]
    assert (found.dtype, values.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("k", [1, 5, 100])
def test_ties_over_the_whole_row(k):
    assert top_k(np.zeros(50), k)[0].tolist() == list(range(min(k, 50)))
