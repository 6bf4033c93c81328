import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.weights import elias_fano


@given(st.sets(st.integers(0, 10**9), max_size=60), st.integers(1, 10**12))
def test_whatever_increases_comes_back(values, more):
    ordered = np.array(sorted(values), dtype=np.int64)
    universe = (int(ordered[-1]) if len(ordered) else 0) + more
    high, low = elias_fano.encode(ordered, universe)
    assert elias_fano.decode(high, low, len(ordered), universe).tolist() == ordered.tolist()


def test_bits_by_hand():
    # Three values below 64: 64 // 3 = 21, so 4 low bits each (2 bytes); upper parts 0, 0, 3 in unary: 1 1 0001 (1 byte).
    high, low = elias_fano.encode(np.array([3, 4, 60]), 64)
    assert np.unpackbits(high).tolist() == [1, 1, 0, 0, 0, 1, 0, 0]
    assert low.tolist() == [0x34, 0xC0]


@given(st.integers(1, 400), st.integers(0, 18), st.integers(0, 2**32))
def test_size_is_two_bits_over_the_logarithm(count, spread, seed):
    universe = count << spread
    values = np.sort(np.random.default_rng(seed).choice(universe, count, replace=False))
    high, low = elias_fano.encode(values, universe)
    assert len(high) + len(low) <= (count * (2 + spread)) / 8 + 2


def test_a_full_and_an_empty_set():
    high, low = elias_fano.encode(np.arange(1000), 1000)
    assert (len(high), len(low)) == (-(-1999 // 8), 0)
    assert elias_fano.decode(high, low, 1000, 1000).tolist() == list(range(1000))
    high, low = elias_fano.encode(np.zeros(0, np.int64), 10**15)
    assert (len(high), len(low)) == (0, 0)
    assert len(elias_fano.decode(high, low, 0, 10**15)) == 0


@pytest.mark.parametrize("values", [[1, 1], [2, 1], [-1, 3], [3, 64]])
def test_what_does_not_increase_within_bounds_is_refused(values):
    with pytest.raises(RecpruneError, match=r"increase strictly within 0\.\.63"):
        elias_fano.encode(np.array(values), 64)


def test_damage_is_named():
    high, low = elias_fano.encode(np.array([3, 4, 60]), 64)
    with pytest.raises(RecpruneError, match="high bits of an index of 3 entries must be 1 bytes"):
        elias_fano.decode(np.append(high, high), low, 3, 64)
    with pytest.raises(RecpruneError, match="marks 2"):
        elias_fano.decode(high & np.uint8(0x7F), low, 3, 64)
    with pytest.raises(RecpruneError, match="does not increase"):
        elias_fano.decode(high, np.array([0x43, 0xC0], np.uint8), 3, 64)  # 4, 3, 60
    with pytest.raises(RecpruneError, match="must be"):
        elias_fano.decode(high, low, 3, 10**12)  # a header that claims more than is there allocates nothing
