"""Tables of which only some rows are stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.weights import Dense, Quantized, Rows

from .arrays import masks, rows_of, table


def expected(array, mask):
    """What a table reads whose dropped rows read the first dropped one."""
    found = array.copy()
    found[~mask] = array[~mask][:1]
    return found


@st.composite
def cases(draw):
    n = draw(st.integers(0, 700))  # beyond several blocks of the rank directory
    return table(n, draw(st.integers(1, 3))), draw(masks(n))


@given(cases())
def test_kept_rows_are_themselves_and_dropped_ones_the_default(case):
    array, mask = case
    value = rows_of(array, mask)
    assert np.array_equal(value.mask(), mask)
    assert np.array_equal(value.decode(), expected(array, mask))
    # Positions: kept rows are numbered in order, all others are the default.
    assert value.position(np.arange(len(mask)))[mask].tolist() == list(range(int(mask.sum())))
    assert (value.position(np.arange(len(mask)))[~mask] == mask.sum()).all()
    # Marks: the bitmap, or the bounds of the runs where these are smaller.
    runs = int((np.diff(np.concatenate([[0], mask, [0]])) != 0).sum())
    assert value.kept.nbytes == min(4 * runs, -(-len(mask) // 8))


@given(cases(), st.data())
def test_bitmap_and_runs_say_the_same(case, data):
    array, mask = case
    value = rows_of(array, mask)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask, [0]]))).astype(np.int32)
    rows = np.array(data.draw(st.lists(st.integers(0, max(len(mask) - 1, 0)), max_size=20)), dtype=np.int64)
    rows = rows[rows < len(mask)]
    for kept in (np.packbits(mask), edges):
        other = Rows(kept, value.inner, value.default, len(mask))
        assert np.array_equal(other.mask(), mask)
        assert np.array_equal(other.position(rows), value.position(rows))
        assert np.array_equal(other.take(rows), expected(array, mask)[rows])


@given(cases(), st.data())
def test_cutting_rows_in_any_order(case, data):
    array, mask = case
    order = (
        data.draw(st.permutations(range(len(mask))))
        if len(mask) < 50
        else np.random.default_rng(0).permutation(len(mask))
    )
    keep = np.array(order, dtype=np.int64)[: data.draw(st.integers(0, len(mask)))]
    cut = rows_of(array, mask).cut(0, keep)
    assert np.array_equal(cut.decode(), expected(array, mask)[keep])
    # Marks go with their rows, and where all that is left was kept, so do the marks themselves.
    assert np.array_equal(cut.mask(), mask[keep])
    assert isinstance(cut, Rows) == (not mask[keep].all())


@given(cases())
def test_cutting_columns_cuts_what_is_stored(case):
    array, mask = case
    cut = rows_of(array, mask).cut(1, np.array([0]))
    assert np.array_equal(cut.decode(), expected(array, mask)[:, :1])
    assert np.array_equal(cut.mask(), mask)


@given(cases())
def test_the_same_rows_of_another_array(case):
    array, mask = case
    other = array + 1
    assert np.array_equal(rows_of(array, mask).recode(other).decode(), expected(other, mask))


def test_the_shared_row_may_be_a_kept_one():
    # Row 2 is kept and shared: rows 0 and 3 read it.
    value = Rows.encode(np.array([False, True, True, False]), Dense(np.array([[1], [2]], np.float32)), 1)
    assert value.decode().tolist() == [[2], [1], [2], [2]]
    assert value.cut(0, np.array([3, 1])).decode().tolist() == [[2], [1]]
    assert value.recode(np.array([[5], [6], [7], [8]], np.float32)).decode().tolist() == [[7], [6], [7], [7]]


def test_nothing_kept_costs_the_shared_row_only():
    value = Rows.encode(np.zeros(1000, bool), Dense(np.array([[3, 4]], np.float32)), 0)
    assert value.nbytes == 8
    assert value.take(np.array([0, 999])).tolist() == [[3, 4]] * 2


def test_a_thousand_rows_at_the_front_cost_two_bounds():
    mask = np.arange(100_000) < 1000
    assert rows_of(table(100_000, 1), mask).kept.tolist() == [0, 1000]


def test_values_act_on_what_is_stored():
    value = rows_of(table(20, 4), np.arange(20) % 2 == 0).map_dense(lambda d: Quantized.encode(d.decode(), 8))
    assert isinstance(value.inner, Quantized)
    assert value.inner.shape == (11, 4)


@pytest.mark.parametrize(
    ("kept", "default", "rows", "message"),
    [
        (np.array([0xFF], np.uint8), 0, 7, "beyond the last"),
        (np.array([0xFF, 0], np.uint8), 0, 8, "bitmap"),
        (np.array([0xFF], np.uint8), 0, 8, "do not fit"),
        (np.array([0xC0], np.uint8), 2, 8, "do not fit"),
        (np.array([0xC0], np.uint8), -1, 8, "do not fit"),
        (np.array([0xC0], np.uint8), 0.0, 8, "place"),
        (np.array([0, 2, 2, 3], np.int32), 0, 8, "increasing"),
        (np.array([0, 2, 1], np.int32), 0, 8, "increasing"),
        (np.array([0, 9], np.int32), 0, 8, "increasing"),
        (np.array([-1, 1], np.int32), 0, 8, "increasing"),
        (np.array([2, 1], np.int32), 0, 8, "increasing"),
        (np.array([[0, 2]], np.int32), 0, 8, "marks"),
        (np.array([0, 2], np.int64), 0, 8, "bitmap or runs"),
        (np.array([0, 2], np.int32), 0, -1, "count"),
        (np.array([0, 2], np.int32), 0, 2**31, "count"),
        (np.array([0, 2], np.int32), 0, True, "count"),
    ],
)
def test_marks_that_do_not_fit_are_refused(kept, default, rows, message):
    with pytest.raises(RecpruneError, match=message):
        Rows(kept, Dense(table(2, 2)), default, rows)


def test_an_array_of_another_length_is_refused():
    with pytest.raises(RecpruneError, match="does not fit"):
        rows_of(table(5, 2), np.arange(5) < 2).recode(table(4, 2))
