"""Steps on trees, worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from recprune.adapters.trees import Input, tree_context, tree_snapshot
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.forest import Forest
from recprune.pruning.methods import DropTrees, MergeLeaves, RefitLeaves, RoundThresholds, ShrinkLeaves


def stump(threshold, low, high):
    return [(threshold, None), (None, low), (None, high)]


def forest(*trees, mode="sum", outputs=1):
    """Trees in pre-order over one input: (threshold, None) a split, (None, value) a leaf."""
    nodes = [node for tree in trees for node in tree]
    sizes = [len(tree) for tree in trees]
    inner = np.array([cut is not None for cut, _ in nodes])
    found = Forest(
        starts=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int),
        feature=np.where(inner, 0, -1).astype(np.int32),
        threshold=np.array([cut or 0.0 for cut, _ in nodes]),
        missing=np.zeros(len(nodes), bool),
        category=np.full(len(nodes), -1, np.int32),
        right=np.zeros(len(nodes), np.int64),
        values=np.array([value for cut, value in nodes if cut is None], float).reshape(-1, 1),
        inputs=1, outputs=outputs, mode=mode,
    )  # fmt: skip
    # The stored form knows where right children are.
    return Forest.of(found.weights())


def made(ensemble, x, y=None, link="identity"):
    """Weights and a context on rows x."""
    snapshot = tree_snapshot(ensemble, [Input("x")], "float64", link)
    data = (np.asarray(x, float).reshape(-1, 1), np.zeros(len(x)) if y is None else np.asarray(y))
    return snapshot.weights, tree_context(lambda: snapshot, ["x"], data, None, 1, 0, print)


def values(weights):
    return Forest.of(weights).values[:, 0].tolist()


# Two splits: at 0, and above it at 5. Leaves 1, 2, 4.
THREE = [(0, None), (None, 1), (5, None), (None, 2), (None, 4)]


def test_the_first_rounds_stay():
    boosted = forest(*(stump(i, i, -i) for i in range(6)), outputs=2)
    assert values(DropTrees(2)(boosted.weights(), Context())) == [0, 0, 1, -1, 2, -2, 3, -3]
    weights = boosted.weights()
    assert DropTrees(3)(weights, Context()) is weights


def test_of_an_average_those_nearest_to_the_whole_stay():
    # Trees give -3, 1, 5 and 1 wherever x is: their mean is 1, which two of them give by themselves.
    mean = forest(*(stump(0, v, v) for v in (-3, 1, 5, 1)), mode="mean")
    weights, context = made(mean, [-1, 1])
    assert values(DropTrees(2)(weights, context)) == [1, 1, 1, 1]
    # Two that miss by as much on either side make up for each other: 0 and 4 give 2, as all four do.
    mean = forest(*(stump(0, v, v) for v in (0, 3.9, 4, 0.1)), mode="mean")
    weights, context = made(mean, [-1, 1])
    kept = values(DropTrees(2)(weights, context))
    assert sum(kept) / 4 == pytest.approx(2, abs=0.05)
    assert values(DropTrees(1)(weights, Context())) == [0, 0]  # without data the first


def test_leaves_are_merged_where_it_costs_least():
    # Rows 10, 3, 1 reach leaves 1, 2, 4: merging 2 and 4 costs 3 * 1 / 4 * 2^2 = 3, a mean of 2.5; all of them more.
    x = [-1] * 10 + [1] * 3 + [9]
    weights, context = made(forest(THREE), x)
    merged = MergeLeaves(0.7)(weights, context)
    assert values(merged) == pytest.approx([1, 2.5], abs=1e-3)
    assert Forest.of(merged).threshold[0] == 0
    assert values(MergeLeaves(0.3)(weights, context)) == pytest.approx([(10 + 6 + 4) / 14], abs=1e-3)
    # Without data each leaf counts alike.
    assert values(MergeLeaves(0.7)(weights, Context())) == pytest.approx([1, 3], abs=1e-3)
    assert MergeLeaves(1.0)(weights, context) is weights


def test_the_whole_ensemble_shares_one_price():
    # The second tree's split is worth 2 * 2 / 4 * 10^2, the first tree's no more than 1 and 3: it keeps its leaves.
    weights, context = made(forest(THREE, stump(0, -5, 5)), [-1, -1, 1, 9])
    merged = MergeLeaves(0.61)(weights, context)
    assert Forest.of(merged).trees == 2
    assert values(merged)[-2:] == [-5, 5]
    assert len(values(merged)) == 3


def test_leaves_refitted_towards_the_original():
    # The second of two trees is dropped; it gave a constant, which the first takes over but for the pull of l2 rows.
    weights, context = made(forest(stump(0, 1, 2), stump(0, 10, 10)), [-1] * 30 + [1] * 10)
    found = RefitLeaves(l2=10.0, sweeps=1)(DropTrees(1)(weights, context), context)
    assert values(found) == pytest.approx([1 + 10 * 30 / 40, 2 + 10 * 10 / 20])


def test_leaves_refitted_towards_labels():
    # Squares: the mean of labels, 6 rows against 2; and one step of Newton for a sigmoid: (y - 1/2) / (1/4 n + l2).
    x, y = [-1] * 6 + [1] * 2, [1, 1, 1, 1, 1, 0, 0, 1]
    weights, context = made(forest(stump(0, 0, 0)), x, y)
    assert values(RefitLeaves("labels", 2.0, 1)(weights, context)) == pytest.approx([5 / 8, 1 / 4])
    weights, context = made(forest(stump(0, 0, 0)), x, y, "sigmoid")
    assert values(RefitLeaves("labels", 2.0, 1)(weights, context)) == pytest.approx([2 / (6 / 4 + 2), 0])


def test_averaged_leaves_stay_within_their_range():
    # Both leaves are 0 or 1: labels beyond that cannot drive a share out of 0..1.
    weights, context = made(
        forest(stump(0, 0, 1), stump(0, 1, 0), mode="mean"), [-1] * 50 + [1] * 50, [9] * 50 + [-9] * 50
    )
    found = values(RefitLeaves("labels", 1.0, 5)(weights, context))
    assert found == [1, 0, 1, 0]


def test_a_mean_is_refitted_as_a_sum_is():
    # Both trees of the mean have half a say; together they reach the labels but for the pull.
    weights, context = made(
        forest(stump(0, 0, 8), stump(0, 0, 8), mode="mean"), [-1] * 50 + [1] * 50, [2] * 50 + [6] * 50
    )
    found = values(RefitLeaves("labels", 1e-6, 20)(weights, context))
    assert (found[0] + found[2]) / 2 == pytest.approx(2, abs=1e-3)
    assert (found[1] + found[3]) / 2 == pytest.approx(6, abs=1e-3)


def test_leaves_drawn_towards_the_splits_above():
    # Root: 10 * 1 + 3 * 2 + 1 * 4 over 14 = 10/7; node: 2.5 over 4 rows. With strength 4 the root's say is 14/18.
    x = [-1] * 10 + [1] * 3 + [9]
    weights, context = made(forest(THREE), x)
    root, node = 20 / 14, 2.5
    of_node = root + 14 / 18 * (node - root)
    expected = [root + 14 / 18 * (1 - root), of_node + 4 / 8 * (2 - node), of_node + 4 / 8 * (4 - node)]
    assert values(ShrinkLeaves(4.0)(weights, context)) == pytest.approx(expected, abs=1e-3)


def test_thresholds_become_few():
    # Rows 0..99: 10.2 and 11.7 lie one row apart, 60.4 and 61 one: with two thresholds each pair becomes one of its own.
    ensemble = forest(*(stump(t, 0, 1) for t in (10.2, 10.2, 11.7, 60.4, 61.0, 61.0)))
    weights, context = made(ensemble, np.arange(100))
    found = Forest.of(RoundThresholds(1)(weights, context))
    used = found.threshold[found.feature >= 0]
    assert len(set(used)) == 2
    assert used.tolist() == [used[0]] * 3 + [used[3]] * 3
    assert used[0] in (np.float64(np.float16(10.195)), np.float64(np.float16(11.695)))
    assert RoundThresholds(1)(weights, context)["trees"].value.tests.thresholds.dtype == np.float16
    assert weights["trees"].value.tests.thresholds.dtype == np.float64


def test_rounding_down_moves_no_whole_number():
    weights, context = made(forest(*(stump(t + 0.5, 0, 1) for t in (1995, 2003, 7))), [1995, 1996, 2003, 2004, 7, 8])
    found = Forest.of(RoundThresholds(8)(weights, context))
    assert found.threshold[found.feature >= 0].tolist() == [1995, 2003, 7.5]


def test_steps_that_need_data_say_so():
    weights = forest(THREE).weights()
    for step in (RefitLeaves(), ShrinkLeaves()):
        with pytest.raises(RecpruneError, match=f"{step.verb} needs data"):
            step(weights, Context())
    _, context = made(forest(THREE), [1, 2])
    with pytest.raises(RecpruneError, match="no labels"):
        RefitLeaves("labels")(weights, replace(context, labels=None))


@pytest.mark.parametrize(
    ("step", "fields", "message"),
    [
        (DropTrees, {"trees": 0}, "positive whole number"),
        (MergeLeaves, {"keep": 1.3}, r"keep must be in \(0, 1\], got 1.3"),
        (RefitLeaves, {"towards": "label"}, "labels"),
        (RefitLeaves, {"l2": 0}, "l2 must be above 0"),
        (RefitLeaves, {"sweeps": 1.5}, "refit_leaves: sweeps must be a whole number, got 1.5"),
        (ShrinkLeaves, {"strength": -1}, "above 0"),
        (RoundThresholds, {"bits": 9}, "bits must be 1..8"),
    ],
)
def test_fields_are_checked(step, fields, message):
    with pytest.raises(RecpruneError, match=message):
        step(**fields)
