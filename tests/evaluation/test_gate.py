import pytest

from recprune.errors import RecpruneError
from recprune.evaluation import Gate, Rule, advantage


def metric(value, difference, low, high, higher=True):
    return {
        "original": {"value": value},
        "difference": {"value": difference, "low": low, "high": high},
        "higher_is_better": higher,
    }


METRICS = {
    "auc": metric(0.769, -0.0003, -0.0011, 0.0005),
    "ndcg@10": metric(0.044, -0.0006, -0.0012, 0.0001),
    "logloss": metric(0.5, 0.002, 0.001, 0.003, higher=False),
}


def test_absolute_and_relative_rules_by_hand():
    verdict = Gate.parse("auc:0.001, ndcg@10:1%").check(METRICS)
    auc, ndcg = verdict["rules"]
    assert not verdict["passed"]
    assert (auc["passed"], auc["certain"], auc["limit"]) == (True, False, 0.001)
    assert auc["drop"] == pytest.approx(0.0003)
    assert auc["worst"] == pytest.approx(0.0011)
    assert ndcg["limit"] == pytest.approx(0.00044)
    assert not ndcg["passed"]
    assert Gate.parse("ndcg@10:2%").check(METRICS)["passed"]


def test_a_loss_that_rises_is_a_drop():
    assert not Gate.parse("logloss:0.001").check(METRICS)["passed"]
    rule = Gate.parse("logloss:0.003").check(METRICS)["rules"][0]
    assert rule["passed"]
    assert rule["certain"]
    assert rule["drop"] == pytest.approx(0.002)


def test_an_improvement_passes_a_limit_of_zero():
    assert Gate.parse("auc:0").check({"auc": metric(0.7, 0.01, -0.001, 0.02)})["passed"]


@pytest.mark.parametrize("text", ["auc:0.001", "auc:0.001,ndcg@10:1%", "recall@20:2.5%,logloss:0"])
def test_text_and_json_come_back(text):
    gate = Gate.parse(text)
    assert str(gate) == text
    assert Gate.parse(str(gate)) == gate
    assert Gate.from_json(gate.to_json()) == gate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("auc", "is not metric:drop"),
        ("auc:-0.1", "is not metric:drop"),
        ("auc:nan", "is not metric:drop"),
        ("", "is not metric:drop"),
        ("uac:0.1", "did you mean 'auc'"),
        ("auc:0.1,auc:0.2", "two rules"),
    ],
)
def test_bad_rules(text, message):
    with pytest.raises(RecpruneError, match=message):
        Gate.parse(text)


def test_a_rule_about_a_metric_that_was_not_measured():
    with pytest.raises(RecpruneError, match=r"unknown metric of the gate 'gauc'.*choices are: auc, logloss, ndcg@10"):
        Gate.parse("gauc:0.1").check(METRICS)
    with pytest.raises(RecpruneError, match="0 or more"):
        Rule("auc", float("inf"))


def test_advantage_takes_the_smallest_on_both_sides_at_equal_quality():
    def point(kind, name, size, difference):
        return {"name": name, "kind": kind, "disk_bytes": size, "differences": {"auc": {"value": difference}}}

    frontier = [
        point("ours", "96x", 100, -0.0003),
        point("ours", "131x", 70, -0.0007),
        point("ours", "200x", 40, -0.004),
        point("peer", "width 1", 150, -0.0009),
        point("peer", "width 8", 900, 0.0001),
        point("peer", "no ids", 30, -0.0028),
    ]
    found = advantage(frontier, "auc", 0.001)
    assert (found["ours"], found["peer"]) == ("131x", "width 1")
    assert found["value"] == pytest.approx(150 / 70)
    assert advantage(frontier, "auc", 0.004)["value"] == pytest.approx(30 / 40)
    assert advantage(frontier[:3], "auc", 0.001) is None
    assert advantage(frontier, "gauc", 0.001) is None
    losses = [point("ours", "a", 10, 0.0005), point("peer", "b", 5, 0.002), point("peer", "c", 20, -0.1)]
    assert advantage(losses, "auc", 0.001, higher_is_better=False)["value"] == 2
    with pytest.raises(RecpruneError, match="0 or more"):
        advantage(frontier, "auc", -0.001)
