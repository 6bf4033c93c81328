"""Bytes of nested encodings, counted by hand."""

import numpy as np
import pytest

from recprune.errors import RecpruneError
from recprune.weights import Dense, LowRank, Quantized, Rows, Stacked, encoding_from

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
    for nested in (LowRank(bitmap, Dense(table(1, 1))), Stacked((bitmap,))):
        assert nested.resident_bytes - nested.nbytes == 68
    assert Dense(table(3, 3)).resident_bytes == 36


def test_narrow_parts_are_zero_beyond_their_width():
    value = Stacked((Dense(np.full((1, 3), 1, np.float32)), Dense(np.full((2, 1), 2, np.float32))))
    assert value.decode().tolist() == [[1, 1, 1], [2, 0, 0], [2, 0, 0]]
    assert value.cut(1, np.array([0, 2])).decode().tolist() == [[1, 1], [2, 0], [2, 0]]
    assert value.cut(1, np.array([1])).decode().tolist() == [[1], [0], [0]]
    assert value.cut(0, np.array([1])).decode().tolist() == [[2, 0, 0]]
    assert value.cut(0, np.array([1])).shape == (1, 3)


def test_order_within_a_stacked_table_is_the_parts():
    value = Stacked((Dense(table(3, 2)), Dense(table(3, 1))))
    swapped = value.cut(0, np.array([2, 0, 1, 5, 3, 4]))  # within each part
    assert np.array_equal(swapped.decode(), value.decode()[[2, 0, 1, 5, 3, 4]])
    with pytest.raises(RecpruneError, match="order"):
        value.cut(0, np.array([3, 0]))
    with pytest.raises(RecpruneError, match="order"):
        value.cut(1, np.array([1, 0]))


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
