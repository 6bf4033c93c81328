"""What every encoding promises, nested any way, and that damage never escapes as anything but RecpruneError."""

import copy
import json
import tracemalloc

import numpy as np
import pytest

from recprune.errors import RecpruneError
from recprune.weights import Dense, Quantized, Rows, encoding_from, in_words

from .arrays import every_encoding, table

EVERY = every_encoding()
pytestmark = pytest.mark.parametrize("name", EVERY)


def test_take_is_decode_at_those_rows(name):
    value = EVERY[name]
    whole = value.decode()
    assert whole.dtype == np.float32
    assert whole.shape == value.shape == (10, 4)
    for rows in ([3], [9, 0, 0, 5], [[1, 2], [8, 7]], []):
        index = np.array(rows, dtype=np.int64)
        found = value.take(index)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, whole[index], rtol=1e-6, atol=1e-6)


def test_the_file_gives_it_back(name):
    value = EVERY[name]
    spec = json.loads(json.dumps(value.spec()))
    again = encoding_from(spec, value.arrays())
    assert type(again) is type(value)
    assert again.decode().tobytes() == value.decode().tobytes()
    assert again.spec() == value.spec()
    assert again.nbytes == value.nbytes == sum(a.nbytes for a in value.arrays().values())


@pytest.mark.parametrize("axis", [0, 1])
def test_cutting_is_cutting_what_is_decoded(name, axis):
    value = EVERY[name]
    for keep in ([0, 2, 3], [7, 0, 9, 2] if axis == 0 else [1, 3], []):
        index = np.array(keep, dtype=np.int64)
        cut = value.cut(axis, index)
        expected = np.take(value.decode(), index, axis=axis)
        assert cut.shape == expected.shape
        if "group" in name and axis == 0:
            continue  # new groups need new scales: bounded in test_quantized
        if expected.size:
            np.testing.assert_allclose(cut.decode(), expected, rtol=1e-6, atol=1e-6)
        assert cut.nbytes <= value.nbytes


def test_pool_sums_bags(name):
    value = EVERY[name]
    whole = value.decode()
    bags = [[1, 1, 5], [], [9], []]
    rows = np.array([row for bag in bags for row in bag])
    offsets = np.array([0, 3, 3, 4, 4])
    expected = np.stack([whole[bag].sum(axis=0) if bag else np.zeros(4) for bag in bags])
    np.testing.assert_allclose(value.pool(rows, offsets), expected, rtol=1e-5, atol=1e-5)
    assert value.pool(np.zeros(0, np.int64), np.array([0, 0])).tolist() == [[0] * 4]


def test_the_same_storage_takes_another_array(name):
    value = EVERY[name]
    again = value.recode(value.decode())
    assert type(again) is type(value)
    assert again.nbytes == value.nbytes
    np.testing.assert_allclose(again.decode(), value.decode(), rtol=1e-2, atol=1e-2)


def test_marks_tell_which_rows_are_stored(name):
    mask = EVERY[name].mask()
    assert mask.dtype == bool
    assert mask.shape == (10,)
    expected = {"runs": 5, "bitmap": 4, "rows of codes": 4, "rows of low rank": 4, "low rank of rows": 4,
                "stacked rows": 4 + 2, "rows of stacked": 4, "sparse rows": 4, "rows of a codebook": 4,
                "rows of columns": 4}  # fmt: skip
    assert mask.sum() == expected.get(name, 10)


def test_it_can_be_said_in_words(name):
    assert len(in_words(EVERY[name])) > 4
    assert "\n" not in in_words(EVERY[name])


def damages(spec, path=()):
    """Every way to put a wrong value at a place of a spec."""
    for key, value in spec.items():
        yield {k: v for k, v in spec.items() if k != key}
        for other in (
            None,
            True,
            -1,
            0,
            7,
            3.0,
            "x",
            [],
            [1],
            {},
            [{}],
            {"encoding": "dense"},
            10**12,
            10**400,
            [10**12] * 2,
        ):
            yield spec | {key: other}
        if isinstance(value, dict):
            for other in damages(value):
                yield spec | {key: other}
        if isinstance(value, list):
            for i, part in enumerate(value):
                if isinstance(part, dict):
                    for other in damages(part):
                        yield spec | {key: [*value[:i], other, *value[i + 1 :]]}


def survives(spec, arrays):
    """RecpruneError, or an encoding that answers."""
    try:
        value = encoding_from(spec, arrays)
    except RecpruneError:
        return
    if not value.shape:
        assert value.decode().shape == ()  # a single number has no rows
        return
    if 0 < np.prod(value.shape, dtype=float) < 1e6:
        value.decode()
        value.take(np.array([0, value.shape[0] - 1]))
    value.take(np.zeros(0, np.int64))


def test_a_malformed_spec_never_escapes(name):
    value = EVERY[name]
    spec, arrays = json.loads(json.dumps(value.spec())), value.arrays()
    tracemalloc.start()
    for other in damages(spec):
        survives(copy.deepcopy(other), arrays)
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


def test_arrays_that_do_not_fit_never_escape(name):
    value = EVERY[name]
    spec, arrays = value.spec(), value.arrays()
    for key, array in arrays.items():
        for other in (
            *(array[:-1], array[:0], array.reshape(1, -1), array.reshape(-1)[:1], array.astype(np.int64)),
            *(
                np.float32(1),
                np.full_like(array, np.iinfo(array.dtype).max if array.dtype.kind == "u" else -1),
                np.array(["x"]),
            ),
        ):
            survives(spec, arrays | {key: np.asarray(other)})
        with pytest.raises(RecpruneError):
            encoding_from(spec, {k: v for k, v in arrays.items() if k != key})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused(name, bad):
    value = EVERY[name]
    for key, array in value.arrays().items():
        if array.dtype.kind == "f" and array.size:
            other = array.copy()
            other.reshape(-1)[-1] = bad
            with pytest.raises(RecpruneError, match="NaN or infinity"):
                encoding_from(value.spec(), value.arrays() | {key: other})


def test_size_falls_in_either_order(name):
    """Drop and quantize, quantize and drop: the same bytes."""
    if not isinstance(EVERY[name], Quantized):
        pytest.skip("about codes")
    code = EVERY[name]
    array, mask = table(10, 4), np.arange(10) % 2 == 0
    rows = np.append(np.flatnonzero(mask), 1)
    dropped = Rows.encode(mask, Dense(array[rows]), 5)
    first = dropped.map_dense(lambda d: Quantized.encode(d.decode(), code.bits, code.granularity, code.group))
    second = Rows.encode(mask, code.cut(0, rows), 5)
    assert first.nbytes == second.nbytes < dropped.nbytes
