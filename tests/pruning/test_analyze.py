"""What analyze finds in a model of which everything is known."""

import numpy as np
import pytest

from recprune.context import Context
from recprune.graph import Graph, Op
from recprune.pruning import Probe, analyze
from recprune.pruning.measure import Measure
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Weights

USERS = np.array([f"u{i}" for i in range(8)])
TASTE = np.array([4, -4, 3, -3, 2, -2, 1, -1, 0], np.float32)  # the last row is the unknown user's


def dense(values):
    return Dense(np.asarray(values, dtype=np.float32))


def snapshot():
    """score = relu(taste of the user); the item's table says nothing, its second column is constant, one neuron is dead."""
    items = np.zeros((5, 2), np.float32)
    items[:, 1] = 7
    weights = Weights(
        {
            "user": Param(("user", "user id.taste"), dense(TASTE[:, None]), (8,)),
            "item": Param(("item", "item id.factor"), dense(items), (4,)),
            "hidden.weight": Param(
                ("hidden", "user id.taste+item id.factor"), dense([[1, 0, 0], [1, 0, 0], [-1, 0, 0]])
            ),
            "hidden.bias": Param(("hidden",), dense([0, -100, 0])),
            "out.weight": Param(("logit", "hidden"), dense([[1, 1, -1]])),
            "out.bias": Param(("logit",), dense([0])),
        }
    )
    ops = (
        Op("lookup", "user row", ("user",), (), {"vocabulary": "user"}),
        Op("lookup", "item row", ("item",), (), {"vocabulary": "item"}),
        Op("take", "u", ("user row",), ("user",)),
        Op("take", "i", ("item row",), ("item",)),
        Op("concat", "x", ("u", "i")),
        Op("linear", "h", ("x",), ("hidden.weight", "hidden.bias")),
        Op("relu", "hidden", ("h",)),
        Op("linear", "score", ("hidden",), ("out.weight", "out.bias")),
    )
    graph = Graph(("user", "item"), ops, "score")
    return Snapshot(weights, graph, {"user": USERS, "item": np.array(["a", "b", "c", "d"])})


@pytest.fixture(scope="module")
def found():
    context = Context({"user": np.array([40, 30, 10, 10, 5, 2, 1, 0, 3]), "item": np.array([9, 9, 9, 9, 1])})
    columns = {"user": USERS, "item": np.array(["a", "b", "c", "d"] * 2)}
    wanted = TASTE[:8]
    probe = Probe("correlation", columns, lambda s: float(np.nan_to_num(np.corrcoef(s.reshape(-1), wanted)[0, 1])))
    with np.errstate(invalid="ignore"):
        return analyze(snapshot(), context, probe)


def test_reads_by_axis(found):
    (user,) = (axis for axis in found.axes if axis["axis"] == "user")
    # 98 reads of known users: 40 + 30 of the first two are the first half; u7 was never read, u5 and u6 twice and once.
    assert user == {"axis": "user", "rows": 8, "never": 1, "rarely": 2, "half": 2}


def test_blocks_that_matter_and_blocks_that_do_not(found):
    blocks = {block["name"]: block for block in found.blocks}
    assert blocks["user id"]["bytes"] == 9 * 4
    assert blocks["item id"]["bytes"] == 5 * 2 * 4
    assert blocks["dense layers"]["bytes"] == (9 + 3 + 3 + 1) * 4
    # Without the taste every score is the same: the correlation falls from 1 to 0. The item's table says nothing.
    assert blocks["user id"]["difference"]["value"] == pytest.approx(-1, abs=1e-6)
    assert not blocks["user id"]["redundant"]
    assert blocks["item id"]["difference"]["value"] == pytest.approx(0, abs=1e-6)
    assert blocks["item id"]["redundant"]
    assert blocks["all id"]["bytes"] == 9 * 4 + 5 * 2 * 4
    assert not blocks["all id"]["redundant"]


def test_findings_are_named(found):
    text = "\n".join(found.findings)
    assert "item: 2 of 2 columns are constant" in text
    assert "item: 4 of 5 rows repeat another row" in text
    assert "hidden: 1 of 3 neurons are dead on 8 validation rows" in text
    assert "block item id is redundant" in text
    assert "block user id" not in text


def test_sensitivity_starts_at_the_whole_and_counts_bytes(found):
    curves = {(curve["part"], curve["how"]): curve["points"] for curve in found.sensitivity}
    rows = curves["user", "rows kept by expected loss"]
    assert rows[0] == {"keep": 1.0, "difference": 0.0, "bytes": 36}
    # Of nine rows 30 % are three: the unknown user's and the two with the largest reads times squared distance.
    assert rows[1]["keep"] == 0.3
    assert rows[1]["bytes"] == 3 * 4 + 2  # and a bitmap of nine marks
    assert rows[1]["difference"] < 0
    assert all(point["difference"] <= 1e-6 for points in curves.values() for point in points)


def test_without_a_probe_nothing_is_measured():
    found = analyze(snapshot(), Context())
    assert found.sensitivity == []
    assert all("difference" not in block for block in found.blocks)
    assert found.to_json()["axes"] == []


def test_a_shuffled_block_is_judged_beside_its_mean(found):
    blocks = {block["name"]: block for block in found.blocks}
    assert blocks["user id"]["shuffled"] < -0.1
    assert blocks["item id"]["shuffled"] == pytest.approx(0, abs=1e-6)


def test_a_measure_shuffles_all_columns_of_a_field_alike():
    columns = {"user": USERS, "item": np.array(["a", "b", "c", "d"] * 2)}
    seen = []
    measure = Measure(snapshot(), Probe("first", columns, lambda s: seen.append(s.reshape(-1)) or 0.0))
    measure(snapshot().weights)
    measure.shuffled({"user": np.array([0])}, seed=3)
    order = np.random.default_rng(3).permutation(8)
    # The scores are those of other users: taste reaches the score by itself.
    np.testing.assert_allclose(seen[1], seen[0][order])


def ranked():
    """Rows whose value is their number, read 200 - number times: what cutting costs is known."""
    size = 200
    ids = np.array([f"u{i}" for i in range(size)])
    table = np.zeros((size + 1, 1), np.float32)
    table[::2, 0] = 1 + np.arange(101) / 100
    weights = Weights({"t": Param(("user", "user id.f"), dense(table), (size,))})
    ops = (Op("lookup", "row", ("user",), (), {"vocabulary": "user"}), Op("take", "score", ("row",), ("t",)))
    counts = np.append(np.arange(size, 0, -1), 1)
    read = np.repeat(np.arange(size), counts[:-1])
    wanted = table[read, 0]
    probe = Probe("error", {"user": ids[read]}, lambda s: -float(np.square(s.reshape(-1) - wanted).mean()))
    return Snapshot(weights, Graph(("user",), ops, "score"), {"user": ids}), Context({"user": counts}), probe


def test_an_importance_that_knows_the_loss_predicts_it_and_chance_does_not():
    given, context, probe = ranked()
    found = {e["importance"]: e for e in analyze(given, context, probe, importance=True).importance}
    # The loss here is reads times squared distance; taylor has no gradients, so it is left out.
    assert set(found) == {"magnitude", "popularity", "expected_loss", "activation", "random"}
    assert found["expected_loss"]["correlation"]["value"] == max(e["correlation"]["value"] for e in found.values())
    assert found["expected_loss"]["correlation"]["value"] > 0.6
    assert abs(found["random"]["correlation"]["value"]) < 0.4
    for entry in found.values():
        correlation = entry["correlation"]
        assert -1 <= correlation["low"] <= correlation["value"] <= correlation["high"] <= 1
        assert entry["cuts"] == 50
