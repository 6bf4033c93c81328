"""Words of a book: where they lie, and which is nearest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.weights.k_means import distinct, fit, nearest


def test_clusters_are_split_where_the_error_by_weight_is():
    # Within each pair the error is a half of its weight: 500 against .5, so the third word goes to the right pair.
    points = np.array([[0], [1], [100], [101]], np.float32)
    words = fit(points, np.array([1.0, 1, 1000, 1000]), 3)
    assert sorted(words[:, 0].tolist()) == [0.5, 100, 101]


def test_a_cluster_is_split_across_its_widest_column():
    points = np.array([[x, y] for x in (0, 1) for y in (0, 10)], np.float32)
    words = fit(points, np.ones(4), 2)
    assert sorted(words.tolist()) == [[0.5, 0], [0.5, 10]]


def test_far_and_rare_rows_get_words_of_their_own():
    # 1,000 rows within .01 of zero, and three alone, a thousand times farther: four words leave but the crowd's spread.
    crowd = np.linspace(-0.01, 0.01, 1000)[:, None] * [1, 1]
    points = np.concatenate([crowd, [[10, 0], [0, 20], [-30, -30]]]).astype(np.float32)
    words = fit(points, np.ones(len(points)), 4)
    assert np.abs(points - words[nearest(points, words)]).max() <= 0.0101


@pytest.mark.parametrize("size", [2, 3, 8])
def test_no_more_words_than_there_is_error_to_split(size):
    points = np.repeat(np.array([[1, 2], [3, 4]], np.float32), 5, axis=0)
    assert sorted(fit(points, np.ones(10), size).tolist()) == [[1, 2], [3, 4]]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 20), st.integers(0, 99))
def test_nearest_is_what_comparing_all_gives(rows, columns, size, seed):
    rng = np.random.default_rng(seed)
    points, words = (rng.normal(size=(n, columns)).astype(np.float32) for n in (rows, size))
    all_distances = ((points[:, None] - words) ** 2).sum(axis=2)
    reached = all_distances[np.arange(rows), nearest(points, words)]
    assert np.allclose(reached, all_distances.min(axis=1), atol=1e-5)


def test_of_equal_words_the_first_is_nearest():
    words = np.array([[5, 5], [1, 1], [1, 1], [5, 5]], np.float32)
    assert nearest(np.array([[1, 1], [6, 6]], np.float32), words).tolist() == [1, 0]
    assert nearest(np.array([[1], [6]], np.float32), words[:, :1]).tolist() == [1, 0]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 99))
def test_different_rows_and_which_each_row_is(rows, columns, seed):
    table = np.random.default_rng(seed).integers(-1, 2, (rows, columns)).astype(np.float16)
    table[table == 1] = np.float16("-0.0")
    points, inverse = distinct(table)
    assert np.array_equal(points[inverse], table)
    assert len(points) == len({tuple(row) for row in table.tolist()})  # 0.0 == -0.0 there too
