import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recprune.errors import RecpruneError
from recprune.weights import Sparse, encoding_from, in_words

sparse = pytest.importorskip("scipy.sparse")
FEW = st.sampled_from([0.0, 0.0, 0.0, 0.5, -1.25, 3.0])  # at 3 bits all are kept exactly


@st.composite
def matrices(draw):
    shape = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    matrix = draw(arrays(np.float32, shape, elements=FEW))
    if draw(st.booleans()) and shape[0] == shape[1]:
        matrix = np.where(matrix.T != 0, matrix + np.float32(8) * (matrix == 0), np.float32(0))
        matrix *= ~np.eye(len(matrix), dtype=bool)
        matrix = np.where(matrix.T != 0, matrix, 0).astype(np.float32)
    return matrix


@given(matrices())
def test_decodes_to_what_was_coded(matrix):
    coded = Sparse.from_dense(matrix, bits=3)
    assert np.array_equal(coded.decode(), matrix)
    rows, columns, values = coded.coordinates()
    assert np.array_equal(sparse.coo_array((values, (rows, columns)), shape=matrix.shape).toarray(), matrix)
    again = encoding_from(coded.spec(), coded.arrays())
    assert np.array_equal(again.decode(), matrix)


@given(matrices(), st.lists(st.lists(st.integers(0, 10**6), max_size=5), min_size=1, max_size=4))
def test_pool_is_the_product_with_scipy(matrix, histories):
    if not len(matrix):
        histories = [[]]
    bags = [[row % len(matrix) for row in bag] for bag in histories]
    rows = np.array([row for bag in bags for row in bag], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])])
    counts = sparse.csr_array((np.ones(len(rows)), rows, offsets), shape=(len(bags), len(matrix)))
    pooled = Sparse.from_dense(matrix, bits=3).pool(rows, offsets)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, counts @ matrix, atol=1e-5)


@given(matrices(), st.randoms(use_true_random=False))
def test_cut_reorders_without_new_codes(matrix, random):
    coded = Sparse.from_dense(matrix, bits=3)
    order = list(range(len(matrix)))
    random.shuffle(order)
    keep = np.array(order[: len(order) * 2 // 3], dtype=np.int64)
    both = coded.cut(0, keep)
    assert np.array_equal(both.decode(), matrix[keep])
    if matrix.shape[0] == matrix.shape[1]:
        both = both.cut(1, keep)
        assert np.array_equal(both.decode(), matrix[np.ix_(keep, keep)])
        assert both.paired or not coded.paired or both.stored == 0


def test_symmetric_places_are_stored_once():
    rng = np.random.default_rng(0)
    upper = np.triu(rng.random((200, 200)) < 0.02, 1)
    matrix = np.where(upper | upper.T, rng.normal(size=(200, 200)), 0).astype(np.float32)
    coded = Sparse.from_dense(matrix, bits=4)
    assert coded.paired
    assert coded.entries == upper.sum()
    assert coded.stored == 2 * upper.sum()
    matrix[3, 3] = 1
    single = Sparse.from_dense(matrix, bits=4)
    assert not single.paired
    assert len(single.high) + len(single.low) > 1.9 * (len(coded.high) + len(coded.low))
    # Codes of half a byte, 16 levels of four bytes, and an index of log2(19900 / pairs) + 2 bits.
    pairs = int(upper.sum())
    assert coded.nbytes <= pairs + 1 + 64 + (np.log2(19900 / pairs) + 2) * pairs / 8 + 2


@pytest.mark.parametrize("size", [2, 3, 1000, 46341, 65537, 10**6])
def test_places_of_pairs_at_the_ends_of_columns(size):
    last = size - 1
    pairs = sorted({(0, 1), (0, last), (last - 1, last), (max(0, last - 2), last - 1)} - {(0, 0), (0, size)})
    pairs = [(i, j) for i, j in pairs if i < j]
    rows = np.array([i for i, _ in pairs] + [j for _, j in pairs])
    columns = np.array([j for _, j in pairs] + [i for i, _ in pairs])
    values = np.arange(1, len(rows) + 1)
    coded = Sparse.encode(rows, columns, values, (size, size), bits=4)
    assert coded.paired
    found = dict(
        zip(zip(*(x.tolist() for x in coded.coordinates()[:2]), strict=True), coded.coordinates()[2], strict=True)
    )
    assert found == dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), values, strict=True))


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (3, 1), (1, 3), (4, 4)])
def test_nothing_at_all(shape):
    coded = Sparse.from_dense(np.zeros(shape, np.float32), bits=2)
    assert coded.stored == coded.derived_bytes - 8 == 0  # one bound of no rows
    assert coded.nbytes == 16  # the levels
    assert coded.decode().tolist() == np.zeros(shape).tolist()


@given(matrices(), st.integers(0, 2**32))
def test_values_of_32_bits_are_kept_as_they_are(matrix, seed):
    matrix = (matrix * np.random.default_rng(seed).normal(size=matrix.shape)).astype(np.float32)
    coded = Sparse.from_dense(matrix, bits=32)
    assert np.array_equal(coded.decode(), matrix)
    assert len(coded.codes) == 4 * coded.stored == 4 * np.count_nonzero(matrix)
    again = encoding_from(coded.spec(), coded.arrays())
    assert np.array_equal(again.decode(), matrix)
    half = np.arange(0, len(matrix), 2)
    assert np.array_equal(coded.cut(0, half).decode(), matrix[half])


def test_levels_have_the_least_squared_error():
    # Two clusters around 1 and 5: at one bit the levels are their means.
    values = np.array([0.9, 1.0, 1.1, 4.8, 5.0, 5.2], np.float32)
    coded = Sparse.encode(np.zeros(6, int), np.arange(6), values, (1, 6), bits=1)
    assert coded.levels.tolist() == pytest.approx([1, 5])


@settings(max_examples=20)
@given(st.integers(1, 8), st.integers(0, 2**32))
def test_more_bits_err_less_than_evenly_spaced_levels(bits, seed):
    values = np.random.default_rng(seed).lognormal(size=2000).astype(np.float32)
    coded = Sparse.encode(np.zeros(2000, int), np.arange(2000), values, (1, 2000), bits)
    error = ((coded.decode()[0] - values) ** 2).sum()
    step = (values.max() - values.min()) / 2**bits
    even = (np.floor((values - values.min()) / step).clip(0, 2**bits - 1) + 0.5) * step + values.min()
    assert error <= ((even - values) ** 2).sum()


def test_memory_follows_what_is_stored():
    # Entries in two rows of a million: column, code, and a few bounds; not a bound for each row.
    coded = Sparse.encode(np.array([5, 999_999]), np.array([1, 0]), np.array([1.0, 2.0]), (10**6, 2))
    assert coded.derived_bytes == 2 * (2 + 1) + 2 * 4 + 3 * 8
    assert coded.take(np.array([999_999, 7])).tolist() == [[2, 0], [0, 0]]
    with pytest.raises(IndexError, match="out of range of 1000000"):
        coded.take(np.array([10**6]))


@pytest.mark.parametrize("bits", [0, 9, 2.0, True])
def test_bits_are_checked(bits):
    with pytest.raises(RecpruneError, match="bits must be"):
        Sparse.from_dense(np.eye(2), bits)


def test_plain_values_are_checked():
    coded = Sparse.from_dense(np.eye(2), 32)
    bad = np.array([np.nan, 1], "<f4").view(np.uint8)
    with pytest.raises(RecpruneError, match="NaN"):
        encoding_from(coded.spec(), coded.arrays() | {"codes": bad})
    with pytest.raises(RecpruneError, match="levels must be 0 float32"):
        encoding_from(coded.spec(), coded.arrays() | {"levels": np.zeros(4, np.float32)})


def test_values_and_places_are_checked():
    with pytest.raises(RecpruneError, match="NaN"):
        Sparse.from_dense(np.array([[np.nan]]))
    with pytest.raises(RecpruneError, match="increase"):
        Sparse.encode(np.array([0, 0]), np.array([1, 1]), np.ones(2), (1, 2))
    with pytest.raises(RecpruneError, match="two axes"):
        Sparse.from_dense(np.ones(3))


def test_in_words():
    assert in_words(Sparse.from_dense(np.eye(10), 3)) == "10 entries (10 %), 3 bits"
