"""Codes and scales: no value is off by more than half a step, constants and zeros come back (case C7)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.weights import Quantized
from recprune.weights.quantized import levels

from .arrays import BITS, GRANULARITIES, tables

SETTINGS = st.tuples(st.sampled_from(BITS), st.sampled_from(GRANULARITIES), st.integers(1, 5))


def steps(value):
    """The scale of every entry, as a table of the decoded shape."""
    rows, columns = value.shape[0], int(np.prod(value.shape[1:]))
    scale = value.scale.astype(np.float64)
    if value.granularity == "per_row":
        return np.repeat(scale[:, None], columns, axis=1)
    if value.granularity == "per_group":
        return np.repeat(np.repeat(scale, value.group)[:rows, None], columns, axis=1)
    return np.broadcast_to(scale[None, :], (rows, columns))


def largest(array, value):
    """The largest magnitude that shares a scale with each entry."""
    table = np.abs(array)
    if value.granularity == "per_row":
        return np.broadcast_to(table.max(axis=1, initial=0)[:, None], table.shape)
    if value.granularity == "per_column":
        return np.broadcast_to(table.max(axis=0, initial=0)[None, :], table.shape)
    if value.granularity == "per_tensor":
        return np.full(table.shape, table.max(initial=0))
    groups = [table[i : i + value.group].max(initial=0) for i in range(0, len(table), value.group)]
    return np.repeat(np.repeat(groups, value.group)[: len(table), None], table.shape[1], axis=1)


@given(tables(), SETTINGS)
def test_no_value_is_off_by_more_than_half_a_step(array, settings):
    bits, granularity, group = settings
    value = Quantized.encode(array, bits, granularity, group)
    step = steps(value)
    error = np.abs(value.decode().astype(np.float64) - array).reshape(step.shape)
    top = step * levels(bits)[0]
    # Beyond the outermost level (clipped where that lessens the squared error) the value is that level.
    inside = np.abs(array).reshape(step.shape) <= top + step / 2
    assert (error[inside] <= step[inside] / 2 * (1 + 1e-5) + 1e-12).all()
    np.testing.assert_allclose(error[~inside], (np.abs(array).reshape(step.shape) - top)[~inside], rtol=1e-4, atol=1e-9)
    if bits == 8:
        assert inside.all()
        # The step itself is what eight bits can give: the largest value over 127, rounded to float16.
        assert (step <= largest(array, value) / 127 * (1 + 2**-10) + 2.0**-24).all()


@given(tables(), SETTINGS)
def test_every_candidate_scale_beats_none(array, settings):
    bits, granularity, group = settings
    value = Quantized.encode(array, bits, granularity, group)
    error = ((value.decode().astype(np.float64) - array) ** 2).sum()
    # Never worse than the unclipped scale, whose error is at most half a step everywhere.
    step = largest(array, value) / levels(bits)[0]
    assert error <= ((step * 0.5 * (1 + 2**-9) + 2.0**-24) ** 2).sum() * (1 + 1e-3)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("granularity", ["per_row", "per_group"])
def test_constants_come_back_within_rounding_and_zeros_exactly(bits, granularity):
    rows = np.array([[9, 9], [-9, -9], [5, 5], [0, 0]], np.float32)
    found = Quantized.encode(rows, bits, granularity).decode()
    np.testing.assert_allclose(found[:3], rows[:3], rtol=2**-10)  # the scale is a float16
    assert found[3].tolist() == [0, 0]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_all_zeros_are_zeros(bits, granularity):
    value = Quantized.encode(np.zeros((3, 2), np.float32), bits, granularity, 2)
    assert value.decode().tolist() == [[0, 0]] * 3


def test_constant_columns_and_a_constant_tensor():
    columns = np.array([[9, -5, 0]] * 3, np.float32)
    for bits in BITS:
        found = Quantized.encode(columns, bits, "per_column").decode()
        np.testing.assert_allclose(found, columns, rtol=2**-10)
        np.testing.assert_allclose(
            Quantized.encode(columns[:, :1], bits, "per_tensor").decode(), columns[:, :1], rtol=2**-10
        )


def test_levels_by_hand():
    # Three bits: codes 0..6, middle 3. Steps of 1, so that every level is exact.
    row = np.array([[-3, -2, -1, 0, 1, 2, 3]], np.float32)
    value = Quantized.encode(row, 3)
    assert value.scale.tolist() == [1.0]
    assert value.decode().tolist() == row.tolist()
    # 000 001 010 011 100 101 110, then padding
    assert value.codes.tolist() == [0b00000101, 0b00111001, 0b01110000]
    # Two bits: -1.5, -0.5, 0.5 and 1.5 scales.
    row = np.array([[-3, -1, 1, 3]], np.float32)
    assert Quantized.encode(row, 2).decode().tolist() == row.tolist()
    assert Quantized.encode(row, 2).codes.tolist() == [0b00011011]
    # One bit: plus or minus the mean magnitude, (3 + 1 + 0 + 4) / 4; the scale is the step between the two.
    value = Quantized.encode(np.array([[-3, -1, 0, 4]], np.float32), 1)
    assert value.scale.tolist() == [4]
    assert value.decode().tolist() == [[-2, -2, 2, 2]]
    assert value.codes.tolist() == [0b00110000]
    assert value.nbytes == 1 + 2


@given(tables(fewest=1), st.sampled_from(GRANULARITIES), st.integers(1, 5), st.floats(0.5, 2))
def test_no_other_scale_serves_one_bit_better(array, granularity, group, factor):
    value = Quantized.encode(array, 1, granularity, group)
    other = Quantized(value.codes, (value.scale * np.float16(factor)), 1, granularity, value.group, value.dims)
    found, tried = (((v.decode().astype(np.float64) - array) ** 2).sum() for v in (value, other))
    # Up to the rounding of the scale to float16.
    assert found <= tried + 2**-20 * (array.astype(np.float64) ** 2).sum() + array.size * 2.0**-46


@pytest.mark.parametrize("magnitude", [1e-8, 1e-7, 1e-6, 1e-5, 1e-4])
def test_tiny_values_are_off_by_half_a_step_too(magnitude):
    # A scale below 6e-5 has fewer bits in float16; rounded down, it cut off the largest values by several steps.
    array = (np.linspace(-1, 1, 201, dtype=np.float32) * magnitude).reshape(1, -1)
    value = Quantized.encode(array, 8)
    assert np.abs(value.decode() - array).max() <= float(value.scale[0]) / 2 * (1 + 1e-5)
    assert float(value.scale[0]) <= magnitude / 127 + 2.0**-24


@pytest.mark.parametrize("shape", [(0,), (5,), (0, 3), (3, 0), (0, 0), (2, 3, 4, 5), (2, 0, 3)])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_any_shape(shape, granularity):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    value = Quantized.encode(array, 4, granularity, 2)
    assert value.shape == shape
    assert value.decode().shape == shape
    assert len(value.codes) == -(-array.size * 4 // 8)
    for axis in range(len(shape)):
        keep = np.arange(0, shape[axis], 2)
        expected = np.take(value.decode(), keep, axis=axis)
        assert value.cut(axis, keep).shape == expected.shape
        if granularity != "per_group":
            assert np.array_equal(value.cut(axis, keep).decode(), expected)


@given(tables(fewest=1), SETTINGS, st.data())
def test_cutting_changes_no_value(array, settings, data):
    bits, granularity, group = settings
    value = Quantized.encode(array, bits, granularity, group)
    axis = data.draw(st.integers(0, 1))
    keep = np.array(data.draw(st.lists(st.integers(0, max(array.shape[axis] - 1, 0)), max_size=8)), dtype=np.int64)
    keep = keep[keep < array.shape[axis]]
    cut = value.cut(axis, keep)
    expected = np.take(value.decode(), keep, axis=axis)
    if axis == 0 and granularity == "per_group":
        # Other rows become neighbours: new scales, and at most half of a new step is lost (where nothing is clipped).
        if bits == 8:
            assert (np.abs(cut.decode() - expected) <= steps(cut) / 2 * (1 + 1e-5) + 1e-12).all()
    else:
        assert np.array_equal(cut.decode(), expected)


def test_quantizing_what_was_quantized_changes_nothing():
    array = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    for bits in BITS:
        value = Quantized.encode(array, bits)
        assert np.array_equal(value.recode(value.decode()).decode(), value.decode())


def test_a_mark_behind_two_gigabytes_comes_back():
    # Case C3: an offset of 2,147,487,999 bytes overflows int32. The codes are a sparse file, so nothing is allocated.
    import tempfile

    rows, columns, row = 262_144, 8_960, 239_674
    with tempfile.TemporaryFile() as file:
        file.truncate(rows * columns)
        codes = np.memmap(file, dtype=np.uint8, mode="r+", shape=(rows * columns,))
        codes[row * columns + columns - 1] = 127 + 5
        value = Quantized(codes, np.ones(rows, np.float16), 8, "per_row", 1, (rows, columns))
        found = value.take(np.array([row, 0]))
        assert row * columns + columns - 1 == 2_147_487_999
        assert found[0, -1] == 5
        assert (found[0, :-1] == -127).all()
        del codes, value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((5, "per_row", 1), "bits must be one of 1, 2, 3, 4, 8, got 5"),
        ((True, "per_row", 1), "bits must be"),
        ((8.0, "per_row", 1), "bits must be"),
        ((8, "per_rows", 1), "did you mean 'per_row'"),
        ((8, None, 1), "unknown granularity"),
        ((8, "per_group", 0), "group must be"),
        ((8, "per_group", 1.5), "group must be"),
    ],
)
def test_settings_that_do_not_exist_are_named(settings, message):
    with pytest.raises(RecpruneError, match=message):
        Quantized.encode(np.ones((2, 2)), *settings)


@pytest.mark.parametrize(("bad", "message"), [(np.nan, "NaN"), (np.inf, "infinity"), (1e5, "60000")])
def test_values_that_have_no_code_are_refused(bad, message):
    with pytest.raises(RecpruneError, match="30000" if bad == 1e5 else message):
        Quantized.encode(np.array([[1, bad]]), 1)
    with pytest.raises(RecpruneError, match=message):
        Quantized.encode(np.array([[1, bad]]), 8)
    with pytest.raises(RecpruneError, match="no axes"):
        Quantized.encode(np.float32(1), 8)
