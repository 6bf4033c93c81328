import time

import numpy as np
import pytest

from recprune import evaluation as ev
from recprune.errors import RecpruneError


def rows(n=2000, users=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.5
    scores = 1 / (1 + np.exp(-rng.normal(labels, 1.5)))
    return ev.RowTruth(labels, rng.integers(users, size=n)), scores, rng


METRICS = ["auc", "gauc", "gauc_by_user", "logloss", "calibration_error"]


@pytest.mark.parametrize("metric", METRICS)
def test_a_weight_of_two_is_the_same_as_the_user_twice(metric):
    """The vectorised statistic against the plain one on the repeated rows: what the bootstrap rests on."""
    truth, scores, rng = rows(200, 20)
    scores = np.round(scores, 2)
    weights = rng.integers(0, 3, size=truth.n_users)
    value = truth.statistic(ev.parse_metric(metric), scores)(weights[None].astype(float))[0]
    pieces = [(np.flatnonzero(truth.index == u), copy) for u in range(truth.n_users) for copy in range(weights[u])]
    again = np.concatenate([index for index, _ in pieces])
    names = np.concatenate([[f"{truth.index[index[0]]}/{copy}"] * len(index) for index, copy in pieces])
    repeated = ev.RowTruth(truth.labels[again], names)
    expected = repeated.statistic(ev.parse_metric(metric), scores[again])(np.ones((1, repeated.n_users)))[0]
    assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ["recall@3", "ndcg@5", "mrr", "precision@2", "hit@2", "tail_recall@5", "coverage@3"])
def test_a_weight_of_two_is_the_same_as_the_user_twice_for_lists(metric):
    rng = np.random.default_rng(3)
    relevant = [rng.choice(12, size=rng.integers(0, 4), replace=False) for _ in range(30)]
    lists = np.array([rng.permutation(12)[:5] for _ in range(30)])
    lists[::4, 3:] = -1
    tail = np.arange(12) >= 6
    weights = rng.integers(0, 3, size=30)
    truth = ev.ListTruth(relevant, 12, tail)
    value = truth.statistic(ev.parse_metric(metric), lists)(weights[None].astype(float))[0]
    again = np.repeat(np.arange(30), weights)
    repeated = ev.ListTruth([relevant[u] for u in again], 12, tail)
    expected = repeated.statistic(ev.parse_metric(metric), lists[again])(np.ones((1, len(again))))[0]
    assert value == pytest.approx(expected, abs=1e-12)


def test_the_same_model_twice_differs_by_exactly_nothing():
    truth, scores, _ = rows()
    for found in ev.compare(truth, scores, scores, METRICS).metrics.values():
        assert found.difference == ev.Interval(0, 0, 0)
        assert not found.significantly_worse
        assert found.original.low < found.original.high


def test_values_are_the_plain_metrics_and_intervals_hold_them():
    truth, scores, rng = rows()
    other = np.clip(scores + rng.normal(0, 0.05, len(scores)), 0, 1)
    found = ev.compare(truth, scores, other, METRICS).metrics
    assert found["auc"].original.value == pytest.approx(ev.auc(truth.labels, scores))
    assert found["auc"].compressed.value == pytest.approx(ev.auc(truth.labels, other))
    assert found["gauc"].original.value == pytest.approx(ev.gauc(truth.labels, scores, truth.users))
    assert found["logloss"].compressed.value == pytest.approx(ev.logloss(truth.labels, other))
    for c in found.values():
        assert c.difference.value == pytest.approx(c.compressed.value - c.original.value)
        for interval in (c.original, c.compressed, c.difference):
            assert interval.low < interval.value < interval.high


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error():
    """1,000 users with one row each: the interval must be 1.96 standard errors wide, within resampling noise."""
    rng = np.random.default_rng(5)
    scores = rng.uniform(0.2, 0.9, 1000)
    truth = ev.RowTruth(rng.random(1000) < scores, np.arange(1000))
    loss = -np.log(np.where(truth.labels, scores, 1 - scores))
    found = ev.estimate(truth, scores, ["logloss"], resamples=4000)["logloss"]
    half = 1.96 * loss.std() / np.sqrt(1000)
    assert found.high - found.value == pytest.approx(half, rel=0.06)
    assert found.value - found.low == pytest.approx(half, rel=0.06)


def test_users_are_resampled_not_rows():
    """Ten users with a hundred copies of one row each: resampling rows would give an interval ten times too narrow."""
    rng = np.random.default_rng(6)
    labels, scores = np.repeat(rng.random(40) < 0.5, 100), np.repeat(rng.uniform(0.1, 0.9, 40), 100)
    one = ev.estimate(ev.RowTruth(labels[::100], np.arange(40)), scores[::100], ["logloss"])["logloss"]
    many = ev.estimate(ev.RowTruth(labels, np.repeat(np.arange(40), 100)), scores, ["logloss"])["logloss"]
    assert many.low == pytest.approx(one.low)
    assert many.high == pytest.approx(one.high)


def test_pairing_makes_the_difference_much_narrower_than_either_side():
    truth, scores, rng = rows()
    other = np.clip(scores + rng.normal(0, 0.005, len(scores)), 0, 1)
    c = ev.compare(truth, scores, other, ["auc"]).metrics["auc"]
    assert c.difference.high - c.difference.low < 0.1 * (c.original.high - c.original.low)


def test_deterministic_for_a_seed_and_different_for_another():
    truth, scores, rng = rows(500, 60)
    other = rng.random(500)
    first, again, another = (ev.compare(truth, scores, other, ["auc"], seed=s).to_json() for s in (1, 1, 2))
    assert first == again
    assert first != another
    assert first["metrics"]["auc"]["difference"]["value"] == another["metrics"]["auc"]["difference"]["value"]


def test_significantly_worse_in_the_harmful_direction_only():
    truth, scores, rng = rows()
    noise = rng.random(len(scores))
    worse = ev.compare(truth, scores, noise, ["auc", "logloss"])
    assert {m for _, m in worse.worse()} == {"auc", "logloss"}
    assert worse.metrics["auc"].difference.high < 0
    assert worse.metrics["logloss"].difference.low > 0
    assert ev.compare(truth, noise, scores, ["auc", "logloss"]).worse() == []


def test_a_slice_that_got_worse_is_found_while_the_average_hides_it():
    truth, scores, rng = rows(4000, 400)
    hurt = truth.index < 40
    other = np.where(hurt, rng.random(4000), scores)
    parts = [ev.Slice("readers:hurt", hurt), ev.Slice("readers:rest", ~hurt)]
    found = ev.compare(truth, scores, other, ["auc"], parts)
    assert ("readers:hurt", "auc") in found.worse()
    assert ("readers:rest", "auc") not in found.worse()
    rest = found.slices["readers:rest"]
    assert rest.metrics["auc"].difference == ev.Interval(0, 0, 0)
    assert rest.rows == int((~hurt).sum())
    assert rest.metrics["auc"].original.value == pytest.approx(ev.auc(truth.labels[~hurt], scores[~hurt]))


def test_a_metric_that_a_slice_leaves_undefined_is_named_with_the_reason():
    truth, scores, _ = rows(500, 60)
    found = ev.compare(truth, scores, scores, ["auc", "logloss"], [ev.Slice("labels:positive", truth.labels)])
    part = found.slices["labels:positive"]
    assert set(part.metrics) == {"logloss"}
    assert "one class" in part.undefined["auc"]
    assert part.to_json()["undefined"] == part.undefined


def test_one_class_on_the_whole_test_is_an_error():
    with pytest.raises(RecpruneError, match="one class"):
        ev.compare(ev.RowTruth([1, 1], [0, 1]), np.array([0.1, 0.2]), np.array([0.1, 0.2]), ["auc"])


def test_several_seeds_are_averaged_and_paired():
    truth, scores, rng = rows(1000, 100)
    originals = [scores, np.clip(scores + rng.normal(0, 0.1, 1000), 0, 1)]
    smaller = [np.clip(s + rng.normal(0, 0.05, 1000), 0, 1) for s in originals]
    found = ev.compare(truth, originals, smaller, ["auc"]).metrics["auc"]
    gaps = [ev.auc(truth.labels, b) - ev.auc(truth.labels, a) for a, b in zip(originals, smaller, strict=True)]
    assert found.difference.value == pytest.approx(np.mean(gaps))
    single = [
        ev.compare(truth, a, b, ["auc"]).metrics["auc"].difference for a, b in zip(originals, smaller, strict=True)
    ]
    assert found.difference.high - found.difference.low < max(i.high - i.low for i in single)
    with pytest.raises(RecpruneError, match="2 original and 1 compressed"):
        ev.compare(truth, originals, smaller[0], ["auc"])


def test_differences_and_estimate_draw_the_same_users_as_compare():
    truth, scores, rng = rows(800, 90)
    other = rng.random(800)
    whole = ev.compare(truth, scores, other, ["auc"]).metrics["auc"]
    assert ev.differences(truth, scores, {"peer": other}, ["auc"])["peer"]["auc"] == whole.difference
    # Any name will do: the original has none that another could take.
    assert ev.differences(truth, scores, {"": other}, ["auc"])[""]["auc"] == whole.difference
    assert ev.estimate(truth, other, ["auc"])["auc"] == whole.compressed


def test_lists_with_slices_over_users_and_items():
    relevant = [[0, 5], [5], [1], [0]]
    truth = ev.ListTruth(relevant, 6)
    before = np.array([[0, 5], [5, 0], [1, 2], [3, 0]])
    after = np.array([[0, 1], [0, 1], [1, 2], [3, 0]])
    rare = ev.Slice("books:tail", np.arange(6) == 5, "items")
    cold = ev.Slice("readers:cold", np.array([False, True, True, False]), "users")
    found = ev.compare(truth, before, after, ["recall@2"], [rare, cold])
    assert found.metrics["recall@2"].difference.value == pytest.approx(-1.5 / 4)
    tail = found.slices["books:tail"]
    assert (tail.users, tail.rows) == (2, 2)
    assert tail.metrics["recall@2"].original.value == 1
    assert tail.metrics["recall@2"].compressed.value == 0
    assert found.slices["readers:cold"].metrics["recall@2"].difference.value == pytest.approx(-0.5)
    with pytest.raises(RecpruneError, match="has 2 entries, the test has 4 users"):
        ev.compare(truth, before, after, ["recall@2"], [ev.Slice("x", np.array([True, False]), "users")])
    with pytest.raises(RecpruneError, match="is over rows"):
        ev.compare(truth, before, after, ["recall@2"], [ev.Slice("x", np.array([True] * 4))])


def test_coverage_has_an_interval_that_holds_its_value():
    rng = np.random.default_rng(8)
    truth = ev.ListTruth([[0]] * 200, 3000)
    lists = np.array([rng.choice(3000, 5, replace=False) for _ in range(200)])
    found = ev.estimate(truth, lists, ["coverage"])["coverage"]
    assert found.value == pytest.approx(len(np.unique(lists)) / 3000)
    assert found.low < found.value < found.high


def test_too_few_resamples_for_an_interval():
    truth, scores, _ = rows(100, 20)
    with pytest.raises(RecpruneError, match="at least 100"):
        ev.estimate(truth, scores, ["auc"], resamples=10)


@pytest.mark.slow
def test_a_thousand_resamples_of_the_books_take_seconds():
    truth, scores, rng = rows(43_000, 20_000)
    start = time.process_time()  # the machine may be busy with other things
    ev.compare(truth, scores, rng.random(43_000), METRICS)
    assert time.process_time() - start < 15
