"""Float32 without its lower half."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recprune.errors import RecpruneError
from recprune.weights import Bfloat16


@given(arrays(np.float32, st.integers(0, 20), elements=st.floats(-(2.0**127), 2.0**127, width=32)))
def test_no_value_is_off_by_more_than_half_a_step(array):
    value = Bfloat16.encode(array)
    # Eight bits of precision: half a step is 2**-8 of the power of two below, and 2**-134 where no bit leads.
    error = np.abs(value.decode().astype(np.float64) - array)
    assert (error <= np.maximum(np.abs(array.astype(np.float64)) * 2.0**-8, 2.0**-134)).all()
    assert value.nbytes == 2 * len(array)
    assert np.array_equal(value.recode(value.decode()).halves, value.halves)


def test_values_by_hand():
    # 3.140625 is 0x4049 << 16; pi is 0x40490FDB, whose lower half is below a half.
    value = Bfloat16.encode(np.float32([np.pi, -np.pi, 0]))
    assert value.halves.tolist() == [0x4049, 0xC049, 0]
    assert value.decode().tolist() == [3.140625, -3.140625, 0]
    assert Bfloat16.encode(np.float32(1.5)).decode().shape == ()


@pytest.mark.parametrize("bad", [np.nan, np.array(0xFFFFFFFF, np.uint32).view(np.float32), np.inf, 3.4e38])
def test_what_it_cannot_hold_is_refused(bad):
    with pytest.raises(RecpruneError, match="bfloat16 cannot hold NaN or infinity"):
        Bfloat16.encode(np.array([0, bad], np.float32))
