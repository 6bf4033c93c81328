"""The operations of trees, worked by hand."""

import numpy as np
import pytest

from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.graph import Op
from recprune.runtime.reference import _RUN
from recprune.weights import Param, Quantized, Weights


def run(kind, *inputs, weights=None, **attrs):
    names = tuple(f"in{i}" for i in range(len(inputs)))
    op = Op(kind, "out", names, ("trees", "leaves") if kind == "trees" else (), attrs)
    return _RUN[kind](op, list(inputs), weights or Weights({}), {})


def ensemble(values, outputs=1, mode="sum"):
    """Two trees over two inputs: x0 <= 1 (missing passes) then x1 <= 5 (missing does not); and x1 <= 5 alone."""
    return Forest(
        starts=np.array([0, 5]),
        feature=np.array([0, 1, -1, -1, -1, 1, -1, -1], np.int32),
        threshold=np.array([1, 5, 0, 0, 0, 5, 0, 0.0]),
        missing=np.array([1, 0, 0, 0, 0, 0, 0, 0], bool),
        category=np.full(8, -1, np.int32),
        right=np.array([4, 3, 0, 0, 0, 7, 0, 0]),
        values=np.array(values, float),
        inputs=2,
        outputs=outputs,
        mode=mode,
    ).weights()


NAN = np.nan
ROWS = np.array([[1, 5], [1, 6], [2, 0], [NAN, 5], [NAN, NAN], [2, NAN], [1, np.nextafter(5, 9)]])
FIRST, SECOND = [0, 1, 2, 0, 1, 2, 1], [0, 1, 0, 0, 1, 1, 1]  # the leaf of each row in either tree


def test_sum_and_mean():
    values = [[1], [2], [3], [10], [20]]
    total = [values[a][0] + values[3 + b][0] for a, b in zip(FIRST, SECOND, strict=True)]
    assert run("trees", ROWS, weights=ensemble(values))[:, 0].tolist() == total == [11, 22, 13, 11, 22, 23, 22]
    assert run("trees", ROWS, weights=ensemble(values, mode="mean"))[:, 0].tolist() == [t / 2 for t in total]


def test_trees_take_turns_with_the_outputs_or_hold_all_of_them():
    turns = run("trees", ROWS[:3], weights=ensemble([[1], [2], [3], [10], [20]], 2))
    assert turns.tolist() == [[1, 10], [2, 20], [3, 10]]
    both = run("trees", ROWS[:3], weights=ensemble([[1, 0], [2, 0], [3, 0], [0, 10], [0, 20]], 2))
    assert both.tolist() == turns.tolist()
    mean = run("trees", ROWS[:3], weights=ensemble([[1], [2], [3], [10], [20]], 2, "mean"))
    assert mean.tolist() == turns.tolist()  # one tree an output, so nothing is halved


def test_leaves_may_be_coded():
    weights = ensemble([[1], [2], [3], [10], [20]])
    leaves = Quantized.encode(weights["leaves"].value.decode(), 8, "per_tensor")
    coded = Weights({**weights, "leaves": Param(("", ""), leaves)})
    # A step of the code is 20 / 127: two leaves are off by half of it at most.
    found = run("trees", ROWS, weights=coded)[:, 0]
    np.testing.assert_allclose(found, [11, 22, 13, 11, 22, 23, 22], atol=20 / 127 + 0.01)


def test_categories_pass_where_their_set_holds_them():
    forest = Forest(
        starts=np.array([0]), feature=np.array([0, -1, -1], np.int32), threshold=np.zeros(3),
        missing=np.zeros(3, bool), category=np.array([0, -1, -1], np.int32), right=np.array([2, 0, 0]),
        values=np.array([[1.0], [0.0]]), inputs=1, sets=np.array([[0, 1, 0, 1]], bool),
    )  # fmt: skip
    asked = np.array([0, 1, 2, 3, 4, 1000, -1, -0.5, 1.7, NAN, 1e300, -1e300]).reshape(-1, 1)
    found = run("trees", asked, weights=forest.weights())
    assert found[:, 0].tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]


def test_many_rows_equal_one_at_a_time():
    weights = ensemble([[1], [2], [3], [10], [20]])
    x = np.random.default_rng(0).normal(3, 3, (300_000, 2))
    want = np.where(x[:, 0] <= 1, np.where(x[:, 1] <= 5, 1, 2), 3) + np.where(x[:, 1] <= 5, 10, 20)
    np.testing.assert_array_equal(run("trees", x, weights=weights)[:, 0], want)
    assert run("trees", x[:0], weights=weights).shape == (0, 1)


def test_numbers():
    given = np.array([1, None, NAN, "2.5", "", True], dtype=object)
    found = run("numbers", given, np.array([0, 1e-36, -1e-35, 1e-34, 0.1, 5]), dtype="float64", tiny="kept")
    np.testing.assert_array_equal(found[:, 0], [1, NAN, NAN, 2.5, NAN, 1])
    assert found[:, 1].tolist() == [0, 1e-36, -1e-35, 1e-34, 0.1, 5]
    column = np.array([0, 1e-36, -1e-35, 1e-34, 0.1, 5])
    zero, gone = (run("numbers", column, dtype="float64", tiny=tiny)[:, 0] for tiny in ("zero", "missing"))
    assert zero.tolist() == [0, 0, 0, 1e-34, 0.1, 5]
    np.testing.assert_array_equal(gone, [NAN, NAN, NAN, 1e-34, 0.1, 5])
    single = run("numbers", np.array([0.1, 1e300, -np.inf]), dtype="float32", tiny="kept")
    assert single.dtype == np.float32
    assert single[:, 0].tolist() == [np.float32(0.1), np.finfo(np.float32).max, np.finfo(np.float32).min]
    with pytest.raises(RecpruneError, match="'in0' must hold numbers"):
        run("numbers", np.array(["many"]), dtype="float32", tiny="kept")


def test_category():
    found = run("category", np.array(["b", None, "x", "a", NAN], dtype=object), categories=["a", "b"])
    np.testing.assert_array_equal(found, [[1], [NAN], [NAN], [0], [NAN]])
    assert run("category", np.array([7, 3]), categories=[3, 7]).tolist() == [[1], [0]]


def test_links():
    assert run("scale", np.array([[1.0], [2.0]]), factor=0.5).tolist() == [[0.5], [1]]
    assert run("exp", np.array([[0.0]])).tolist() == [[1]]
    np.testing.assert_allclose(run("softmax", np.array([[0, np.log(3)], [1000, 0]])), [[0.25, 0.75], [1, 0]])
