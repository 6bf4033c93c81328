"""Trees are stored in bits, and what is no tree is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.weights import Cuts, Trees, encoding_from


def grown(seed, trees=4, inputs=3, splits=6, categorical=True):
    """Trees of random shape: leaves are split at random, the last input by sets of five categories."""
    rng = np.random.default_rng(seed)
    feature, threshold, missing, category, right, starts = [], [], [], [], [], []

    def grow(left):
        at = len(feature)
        split = left > 0
        f = int(rng.integers(inputs)) if split else -1
        asks = categorical and f == inputs - 1
        feature.append(f)
        threshold.append(0.0 if asks or not split else float(rng.choice([-1.5, 0.1, 2, 1e-40, 7])))
        missing.append(bool(split and rng.integers(2)))
        category.append(int(rng.integers(3)) if asks else -1)
        right.append(0)
        if split:
            first = int(rng.integers(left))
            grow(first)
            right[at] = len(feature)
            grow(left - 1 - first)

    for _ in range(trees):
        starts.append(len(feature))
        grow(int(rng.integers(splits + 1)))
    leaves = feature.count(-1)
    sets = rng.integers(0, 2, (3, 5)).astype(bool)
    return Forest(
        np.array(starts), np.array(feature, np.int32), np.array(threshold), np.array(missing),
        np.array(category, np.int32), np.array(right), rng.normal(size=(leaves, 1)), inputs, sets=sets,
    )  # fmt: skip


def plainly(forest, row):
    """The leaf of one row in each tree, node by node."""
    found = []
    for start in forest.starts:
        node = start
        while (f := forest.feature[node]) >= 0:
            value = row[f]
            if np.isnan(value):
                passes = forest.missing[node]
            elif forest.category[node] >= 0:
                passes = -1 < value < forest.sets.shape[1] and forest.sets[forest.category[node], int(value)]
            else:
                passes = value <= forest.threshold[node]
            node = node + 1 if passes else forest.right[node]
        found.append(int((forest.feature[:node] < 0).sum()))
    return found


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 4), st.integers(0, 12))
def test_what_is_stored_decides_as_the_nodes_do(seed, trees, inputs, splits):
    forest = grown(seed, trees, inputs, splits)
    value = forest.weights()["trees"].value
    again = encoding_from(value.spec(), value.arrays())
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.5, 0.1, 2, 0, 1, 3, 4.9, 7, 1e-40, -2, 1e9, np.nan], (20, inputs))
    assert again.reach(x).tolist() == [plainly(forest, row) for row in x]
    back = Forest.of(forest.weights())
    for name in ("starts", "feature", "threshold", "missing", "right"):
        np.testing.assert_array_equal(getattr(back, name), getattr(forest, name), name)
    np.testing.assert_allclose(back.values, forest.values, rtol=1e-6)


def test_bytes():
    # 3 trees of 7 splits and 8 leaves: 45 nodes are 6 bytes; 21 splits of 4 tests, 2 bits each, are 6; 4 tests hold four
    # floats of 2 bytes (all of them are float16) and a byte of bits; 2 inputs hold a count of 4 bytes each.
    nodes = np.array(([3, 2, 0, -1, -1, 1, -1, -1, 0, 1, -1, -1, 2, -1, -1]) * 3)
    tests = Cuts.encode([0, 0, 1, 1], [0.5, 1, 2, 3], np.zeros(4, bool), 2, np.zeros((0, 0), bool), ())
    value = Trees.encode(nodes, tests, 3, 1, "sum")
    assert value.splits == 21
    assert value.nbytes == 6 + 6 + 4 * 2 + 1 + 2 * 4
    assert value.resident_bytes > value.nbytes
    assert value.decode().tolist() == nodes[nodes >= 0].tolist()
    assert value.map_dense(lambda dense: 1 / 0) is value


@pytest.mark.parametrize(
    ("thresholds", "dtype"),
    [
        ([0.5, 1e-7 * 2**10], "float64"),
        ([0.5, 70000], "float32"),
        ([0.5, 2], "float16"),
        ([0.1], "float64"),
        ([1e300], "float64"),
    ],
)
def test_thresholds_take_the_shortest_form_that_is_exact(thresholds, dtype):
    zeros = np.zeros(len(thresholds), int)
    tests = Cuts.encode(zeros, thresholds, zeros.astype(bool), 1, np.zeros((0, 0), bool), ())
    assert tests.thresholds.dtype == dtype
    assert tests.thresholds.astype(float).tolist() == thresholds
    assert np.isfinite(tests.decode()).all()


def test_nodes_that_are_no_trees_are_refused():
    # C15: every number of bits but the right one, and every order that is no tree, is named without a walk.
    three = Cuts.encode([0, 0, 1], [0.5, 1, 2], np.zeros(3, bool), 2, np.zeros((0, 0), bool), ())
    value = Trees.encode(np.array([0, 1, -1, -1, -1, 2, -1, -1]), three, 2, 1, "sum")
    for change in (
        {"splits": 100}, {"trees": 10**9}, {"splits": 2**41}, {"trees": 0}, {"splits": -1},
        {"nodes": value.nodes[:-1]}, {"nodes": ~value.nodes}, {"cuts": np.zeros(0, np.uint8)}, {"outputs": 0},
        {"nodes": np.zeros_like(value.nodes)}, {"nodes": value.nodes.astype(np.int16)}, {"mode": "median"},
        {"cuts": np.full_like(value.cuts, 255)},
    ):  # fmt: skip
        with pytest.raises(RecpruneError):
            replace(value, **change)
    two = np.packbits([0, 1, 0, 0, 0])  # a leaf, a split of two leaves, and one leaf too many
    tests = Cuts.encode([0], [1.0], [False], 1, np.zeros((0, 0), bool), ())
    with pytest.raises(RecpruneError, match="2 whole trees"):
        Trees(np.packbits([0, 0, 1, 0]), np.zeros(1, np.uint8), tests, 2, 1, 1, "sum")
    assert Trees(two, np.zeros(1, np.uint8), tests, 3, 1, 1, "sum").right[1] == 3


def test_tests_that_do_not_fit_are_refused():
    tests = grown(4).weights()["trees"].value.tests
    for change, message in (
        ({"thresholds": tests.thresholds[:-1]}, "bits|add up"),
        ({"thresholds": np.full_like(tests.thresholds, np.nan)}, "NaN"),
        ({"thresholds": tests.thresholds.astype(int)}, "floats"),
        ({"counts": tests.counts + np.uint32(1)}, "add up"),
        ({"counts": np.array([2**32 - 1] * 3, np.uint32)}, "add up"),
        ({"missing": tests.missing[:0]}, "bits for missing"),
        ({"sets": tests.sets[:0]}, "beyond the 0"),
        ({"sets": tests.sets[0]}, "bitmap"),
        ({"categorical": (7,)}, "not among the 3"),
        ({"categorical": (2, 2)}, "not among"),
    ):
        with pytest.raises(RecpruneError, match=message):
            replace(tests, **change)


def test_an_input_that_is_read_stays():
    tests = grown(4).weights()["trees"].value.tests
    assert tests.of_inputs(np.arange(3)).counts.tolist() == tests.counts.tolist()
    with pytest.raises(RecpruneError, match="cannot be dropped"):
        tests.of_inputs(np.array([0, 1]))
