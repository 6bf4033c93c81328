"""Layers refitted in closed form, where the right weights are known by hand."""

import numpy as np
import pytest

from recprune import Recipe, RecpruneError
from recprune.adapters.calibration import GraphCalibration
from recprune.context import Context
from recprune.graph import Graph, Op
from recprune.pruning.methods import Compensate, DropAxis
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Quantized, Weights
from tests import small

IDS = np.array([f"b{i}" for i in range(40)])


def linear(columns, weight, beside=None):
    """A table of these columns into one score; `beside`: a column of the table's ids that is added to it."""
    table = np.vstack([np.stack(columns, 1), np.zeros(len(columns))]).astype(np.float32)
    params = {
        "table": Param(("book", "factor"), Dense(table), (40,)),
        "out.weight": Param(("score", "factor"), Dense(np.array([weight], np.float32))),
        "out.bias": Param(("score",), Dense(np.zeros(1, np.float32))),
    }
    ops = [
        Op("lookup", "rows", ("book",), (), {"vocabulary": "book"}),
        Op("take", "x", ("rows",), ("table",)),
        Op("linear", "out", ("x",), ("out.weight", "out.bias")),
    ]
    if beside is not None:
        params["beside"] = Param(("book", "one"), Dense(np.append(beside, 0)[:, None].astype(np.float32)), (40,))
        ops += [Op("take", "b", ("rows",), ("beside",)), Op("add", "score", ("out", "b"))]
    graph = Graph(("book",), tuple(ops), ops[-1].output)
    return calibration(Snapshot(Weights(params), graph, {"book": IDS}), {"book": np.tile(IDS, 5)})


def calibration(snapshot, columns):
    return GraphCalibration(lambda: snapshot, lambda graph: columns, lambda weights: {})


def context(found):
    return Context(calibration=found)


def stored(weights, name="out.weight"):
    return weights[name].value.decode().reshape(-1)


A, B = np.random.default_rng(0).normal(size=(2, 40))


def test_a_kept_column_takes_over_for_a_cut_one_that_it_determines():
    found = linear([A, B, 2 * A], [1, 5, 3])
    cut = found.original.weights.cut("factor", np.array([0, 1]))
    after = Compensate(ridge=1e-9)(cut, context(found))
    # 1 * a + 3 * 2a = 7a
    np.testing.assert_allclose(stored(after), [7, 5], atol=1e-3)
    np.testing.assert_allclose(found.outputs(after)["out"], found.outputs(found.original.weights)["out"], atol=1e-3)
    assert stored(cut).tolist() == [1, 5]


def test_the_bias_takes_over_for_a_constant():
    found = linear([A, B, np.full(40, 3.0)], [1, 5, 2])
    cut = found.original.weights.cut("factor", np.array([0, 1]))
    after = Compensate(ridge=1e-6)(cut, context(found))
    np.testing.assert_allclose(stored(after), [1, 5], atol=1e-3)
    np.testing.assert_allclose(stored(after, "out.bias"), [6], atol=1e-3)
    # Where only the weight may move, the bias stays.
    alone = Compensate("out.weight")(cut, context(found))
    assert stored(alone, "out.bias").tolist() == [0]


def test_a_layer_makes_up_for_what_is_added_to_it():
    found = linear([A, B], [1, 5], beside=3 * A)
    gone = found.original.weights.replace("beside", Dense(np.zeros((41, 1), np.float32)))
    np.testing.assert_allclose(stored(Compensate(ridge=1e-9)(gone, context(found))), [4, 5], atol=1e-3)


def test_ridge_pulls_to_the_weights_as_they_are():
    found = linear([A, B, 2 * A], [1, 5, 3])
    cut = found.original.weights.cut("factor", np.array([0, 1]))
    np.testing.assert_allclose(stored(Compensate(ridge=1e9)(cut, context(found))), [1, 5], atol=1e-3)


def test_nothing_lost_nothing_changed():
    found = linear([A, B], [1, 5])
    weights = found.original.weights
    assert Compensate()(weights, context(found)) is weights


def test_rounding_errors_cancel():
    # Two equal columns of .4 and a step of 1 (127 of 127): each alone rounds to 0, together they are worth .8.
    found = linear([A, A, B], [0.4, 0.4, 127])
    coded = found.original.weights.replace("out.weight", Quantized.encode(np.array([[0.4, 0.4, 127]], np.float32), 8))
    assert stored(coded).tolist() == [0, 0, 127]
    after = Compensate(ridge=1e-4)(coded, context(found))
    assert sorted(stored(after).tolist()) == [0, 1, 127]
    assert isinstance(after["out.weight"].value, Quantized)
    assert after["out.weight"].nbytes == coded["out.weight"].nbytes


@pytest.mark.parametrize(("bits", "most"), [(2, 1.0), (3, 0.7), (4, 0.7)])
def test_coded_layers_come_nearer_to_the_original(bits, most):
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 12)) + 0.1 * rng.normal(size=(40, 12))
    found = linear(list(mixed.T), rng.normal(size=12))
    coded = found.original.weights
    coded = coded.replace(
        "out.weight", coded["out.weight"].value.map_dense(lambda v: Quantized.encode(v.decode(), bits))
    )
    error = [
        float(np.square(found.outputs(weights)["out"] - found.outputs(found.original.weights)["out"]).mean())
        for weights in (coded, Compensate()(coded, context(found)))
    ]
    assert error[1] <= most * error[0]


def test_layers_after_one_that_lost_neurons():
    snapshot = small.like()
    found = calibration(snapshot, small.request(400))
    wanted = found.outputs(snapshot.weights)["logit"]
    cut = DropAxis("hidden", 0.6)(snapshot.weights, Context())
    after = Compensate(ridge=1e-4)(cut, context(found))
    assert after["hidden.weight"].value is cut["hidden.weight"].value  # its outputs are no longer the original's
    error = [np.square(found.outputs(w)["logit"] - wanted).mean() for w in (cut, after)]
    assert error[1] < 0.6 * error[0]
    # No other weights are nearer on the kept inputs, up to the ridge: the gradient of the error is that of the ridge.
    left = found.outputs(after)["logit"] - wanted
    assert np.abs((found.outputs(after)["hidden"].T @ left) / len(left)).max() < 1e-2
    assert abs(float(left.mean())) < 1e-5


def test_what_cannot_be_done_is_said():
    found = linear([A, B], [1, 5])
    weights = found.original.weights
    with pytest.raises(RecpruneError, match=r"compensate refits layers .*; give data to compress"):
        Compensate()(weights, Context())
    with pytest.raises(RecpruneError, match=r"target 'table' is no layer; layers are: out\.weight"):
        Compensate("table")(weights, context(found))
    with pytest.raises(RecpruneError, match="ridge must be above 0, got 0"):
        Compensate(ridge=0)
    without = calibration(Snapshot(weights), {})
    with pytest.raises(RecpruneError, match="and a model that has a graph"):
        Compensate()(weights, context(without))
    recipe = Recipe((Compensate("out.*", 0.1),))
    assert Recipe.from_json(recipe.to_json()) == recipe
