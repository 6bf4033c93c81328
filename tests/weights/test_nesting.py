"""Bytes of nested encodings, counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.weights import Codebook, Columns, Dense, LowRank, Quantized, Rows, Stacked, encoding_from

from .arrays import rows_of, table


def test_bytes_are_codes_scales_and_marks():
    # 100 rows of 8 at 4 bits: 4 bytes of codes and 2 of scale each.
    codes = Quantized.encode(table(100, 8), 4)
    assert codes.nbytes == 100 * (4 + 2)
    # Ten rows in one run, and the shared one: 11 rows and two bounds.
    kept = np.arange(100) < 10
    assert rows_of(table(100, 8), kept, lambda d: Quantized.encode(d.values, 4)).nbytes == 11 * 6 + 8
    # Every tenth: a bitmap of 13 bytes is smaller than 20 bounds.
    kept = np.arange(100) % 10 == 0
    assert rows_of(table(100, 8), kept).nbytes == 11 * 32 + 13
    assert LowRank.encode(table(100, 8), 2).nbytes == (200 + 16) * 4
    low = LowRank.encode(table(100, 8), 2).map_dense(lambda d: Quantized.encode(d.decode(), 8, "per_tensor"))
    assert low.nbytes == 200 + 2 + 16 + 2
    assert Stacked((Dense(table(5, 8)), Dense(table(95, 2)))).nbytes == 4 * (40 + 190)


def test_directories_are_counted_beside_what_is_stored():
    bitmap = rows_of(table(1000, 1), np.arange(1000) % 2 == 0)
    assert bitmap.resident_bytes - bitmap.nbytes == 4 * (1 + 16)  # 125 bytes in blocks of 8
    runs = rows_of(table(1000, 1), np.arange(1000) < 7)
    assert runs.resident_bytes - runs.nbytes == 4 * 2
    low_rank = LowRank(bitmap, Dense(table(1, 1)))
    assert low_rank.resident_bytes - low_rank.nbytes == 68
    # A run of a stacked table: its first row, its part, and the rows of the part before it.
    stacked = Stacked((bitmap,))
    assert stacked.resident_bytes - stacked.nbytes == 68 + 3 * 8
    # Packed: for each block of 32 rows, how many of each of two parts lie before.
    mixed = Stacked.encode(np.arange(100) % 2, (Dense(table(50, 1)), Dense(table(50, 1))))
    assert mixed.resident_bytes - mixed.nbytes == 4 * 4 * 2
    assert Dense(table(3, 3)).resident_bytes == 36


def test_narrow_parts_are_zero_beyond_their_width():
    value = Stacked((Dense(np.full((1, 3), 1, np.float32)), Dense(np.full((2, 1), 2, np.float32))))
    assert value.decode().tolist() == [[1, 1, 1], [2, 0, 0], [2, 0, 0]]
    assert value.cut(1, np.array([0, 2])).decode().tolist() == [[1, 1], [2, 0], [2, 0]]
    assert value.cut(1, np.array([1])).decode().tolist() == [[1], [0], [0]]
    assert value.cut(0, np.array([1])).decode().tolist() == [[2, 0, 0]]
    assert value.cut(0, np.array([1])).shape == (1, 3)


def test_rows_of_parts_in_any_order():
    # Runs of rows 0-1, 2, 3-5 are 24 bytes; a bit a row is one.
    value = Stacked.encode(np.array([0, 0, 1, 0, 0, 0]), (Dense(table(5, 2)), Dense(table(1, 1))))
    assert (value.order.dtype, value.order.nbytes) == (np.uint8, 1)
    assert value.order.tolist() == [0b00100000]
    # Over 400 rows a bit each is 50 bytes, so runs are stored: first row and part of each.
    which = np.array([1] * 100 + [0] * 299 + [1])
    value = Stacked.encode(which, (Dense(table(299, 2)), Dense(table(101, 1, seed=1))))
    assert value.order.tolist() == [0, 1, 100, 0, 399, 1]
    expected = np.zeros((400, 2), np.float32)
    expected[which == 0] = table(299, 2)
    expected[which == 1, :1] = table(101, 1, seed=1)
    assert np.array_equal(value.decode(), expected)
    order = np.random.default_rng(0).permutation(400)
    assert np.array_equal(value.cut(0, order).decode(), expected[order])
    assert value.cut(0, order).order.nbytes == 50
    again = value.cut(0, order).cut(0, np.argsort(order))
    assert again.order.tolist() == value.order.tolist()
    assert len(value.cut(0, np.argsort(which, kind="stable")).order) == 0
    with pytest.raises(RecpruneError, match="order"):
        value.cut(1, np.array([1, 0]))


@given(st.lists(st.integers(0, 4), max_size=100), st.data())
def test_every_row_is_found_in_its_part(which, data):
    which = np.array(which, dtype=np.int64)
    parts = tuple(Dense(table(int((which == i).sum()), 1 + i % 2, seed=i)) for i in range(5))
    value = Stacked.encode(which, parts)
    expected = np.zeros((len(which), 2), np.float32)
    for i, part in enumerate(parts):
        expected[which == i, : part.shape[1]] = part.values
    assert np.array_equal(value.decode(), expected)
    assert value.order.nbytes <= (len(which) + 1) // 2  # four bits a row
    keep = np.array(data.draw(st.lists(st.integers(0, len(which) - 1), max_size=20)) if len(which) else [], np.int64)
    assert np.array_equal(value.cut(0, keep).decode(), expected[keep].reshape(-1, 2))
    assert value.mask().all()
    assert np.array_equal(value.recode(expected).decode(), expected)


@pytest.mark.parametrize(
    "order",
    [
        np.array([0, 0], np.int32),  # all rows of part 0
        np.array([0, 0, 2, 2], np.int32),  # a part that is not there
        np.array([0, -1, 2, 1], np.int32),
        np.array([1, 0, 2, 1], np.int32),  # the first row is in no run
        np.array([0, 0, 9, 1, 2, 0], np.int32),
        np.array([0, 0, 2], np.int32),
        np.array([0b00010000], np.uint8),  # three rows of the first part
        np.array([0, 0], np.uint8),
        np.array([0.0], np.float32),
    ],
)
def test_an_order_that_does_not_fit_the_parts_is_refused(order):
    with pytest.raises(RecpruneError, match="order of stacked rows"):
        Stacked((Dense(table(2, 2)), Dense(table(2, 1))), order)


def test_tables_side_by_side():
    value = Columns((Dense(table(3, 2)), Dense(table(3, 1, seed=1)), Dense(table(3, 2, seed=2))))
    whole = np.concatenate([table(3, 2), table(3, 1, seed=1), table(3, 2, seed=2)], axis=1)
    assert np.array_equal(value.decode(), whole)
    assert len(value.cut(1, np.array([0, 4])).parts) == 2
    with pytest.raises(RecpruneError, match="kept in their order"):
        value.cut(1, np.array([4, 0]))
    with pytest.raises(RecpruneError, match=r"as many rows each, got shapes \[\(3, 2\), \(2, 2\)\]"):
        Columns((Dense(table(3, 2)), Dense(table(2, 2))))


def test_a_full_rank_product_is_the_matrix():
    array = table(6, 3)
    np.testing.assert_allclose(LowRank.encode(array, 3).decode(), array, atol=1e-5)
    outer = np.outer([1, 2, 3], [4, 5]).astype(np.float32)
    np.testing.assert_allclose(LowRank.encode(outer, 1).decode(), outer, atol=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rank_that_no_matrix_has_is_refused(rank):
    with pytest.raises(RecpruneError, match=r"rank must be in 1\.\.3"):
        LowRank.encode(table(6, 3), rank)
    with pytest.raises(RecpruneError, match="two axes"):
        LowRank.encode(np.float32(1), 1)


def test_a_product_without_rows_or_columns_has_no_rank():
    low = LowRank.encode(table(4, 3), 2).map_dense(lambda d: Quantized.encode(d.decode(), 4, "per_column"))
    for shape, scales in (((0, 3), 3), ((4, 0), 0)):
        empty = low.recode(np.zeros(shape, np.float32))
        assert (empty.shape, empty.rank, empty.nbytes) == (shape, 0, 2 * scales)
        assert empty.decode().shape == shape


def test_columns_of_parts_of_one_width_take_any_order():
    parts = Codebook.encode(table(4, 3), 2), Quantized.encode(table(5, 3, 1), 4)
    stacked = Stacked.encode(np.array([0, 1, 1, 0, 0, 1, 0, 1, 1]), parts)
    order = np.array([2, 0, 1])
    assert np.array_equal(stacked.cut(1, order).decode(), stacked.decode()[:, order])
    narrow = Stacked((Dense(table(4, 3)), Dense(table(5, 2))))
    with pytest.raises(RecpruneError, match="of several widths are kept in their order"):
        narrow.cut(1, order)


def test_factors_that_do_not_multiply_are_refused():
    with pytest.raises(RecpruneError, match="do not multiply"):
        LowRank(Dense(table(4, 2)), Dense(table(3, 4)))


def test_endless_nesting_is_refused():
    spec = {"encoding": "dense"}
    for _ in range(300):
        spec = {"encoding": "low_rank", "left": spec, "right": {"encoding": "dense"}}
    with pytest.raises(RecpruneError, match="deep"):
        encoding_from(spec, {})


@pytest.mark.parametrize("spec", [None, [], "dense", 5, {}, {"encoding": ""}, {"encoding": []}, {"encoding": "pickle"}])
def test_what_describes_no_encoding_is_refused(spec):
    with pytest.raises(RecpruneError, match="encoding"):
        encoding_from(spec, {})


def test_values_are_float32_or_float16():
    for bad in (np.ones(3), np.ones(3, np.int32), np.array(["a"])):
        with pytest.raises(RecpruneError, match="float32 or float16"):
            Dense(bad)


def test_a_large_table_is_decoded_in_parts(monkeypatch):
    value = Quantized.encode(table(50, 4), 8)
    whole = value.decode()
    monkeypatch.setattr("recprune.weights.encoding._PART", 12)
    assert np.array_equal(value.decode(), whole)
    assert Rows.encode(np.zeros(3, bool), Dense(table(1, 2)), 0).decode().shape == (3, 2)
