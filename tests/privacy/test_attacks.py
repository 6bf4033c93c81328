"""Attacks on signals whose answer is known by hand, and their measures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.evaluation import auc
from recprune.privacy import absence, infer, leakage, likelihood_ratio, play


def game(models=16, units=4000, shift=1.0, seed=0):
    """Signals around a centre of each unit's own, far apart, which move by `shift` deviations when it is in training."""
    rng = np.random.default_rng(seed)
    inside = rng.random((models, units)) < 0.5
    centres = 10 * rng.normal(size=units)
    return (centres + inside * shift + rng.normal(size=inside.shape))[..., None], inside


def test_the_ratio_of_two_normals_by_hand():
    # Units alike: without -1 and 1, within 3 and 5; means 0 and 4, variance 2. At x the log ratio is 4 (x - 2) / 2.
    known = np.tile(np.array([-1.0, 1.0, 3.0, 5.0])[:, None, None], (1, 3, 1))
    inside = np.tile(np.array([0, 0, 1, 1])[:, None], (1, 3))
    np.testing.assert_allclose(likelihood_ratio([[2.0], [0.0], [5.0]], known, inside), [0, -4, 6], atol=1e-4)
    # 0 lies 0 above the mean without, and 5 five: over the deviation sqrt(2).
    np.testing.assert_allclose(absence([[0.0], [5.0], [2.0]], known, inside), np.array([0, 5, 2]) / np.sqrt(2))


def test_uneven_sides_put_the_limit_halfway_between_the_means():
    known = np.tile(np.array([-1.0, 1.0, 0.0, 3.0, 5.0])[:, None, None], (1, 2, 1))
    inside = np.tile(np.array([0, 0, 0, 1, 1])[:, None], (1, 2))
    np.testing.assert_allclose(likelihood_ratio([[2.0], [2.0]], known, inside), [0, 0], atol=1e-9)


def test_a_shift_of_one_deviation_is_found_as_often_as_theory_says():
    # Two normals one deviation apart: AUC = Phi(1 / sqrt 2) = .7602. Fifteen references blur each centre by a variance of
    # 1/15, so Phi(1 / sqrt(2 * 16/15)) = .7532 is all that can be had.
    signals, inside = game()
    found = auc(inside.reshape(-1).astype(int), play(signals, inside, "ratio").reshape(-1))
    assert found == pytest.approx(0.7532, abs=0.01)
    # The loss alone drowns in the centres: Phi(1 / sqrt(2 * 101)) = .528.
    assert auc(inside.reshape(-1).astype(int), play(signals, inside, "loss").reshape(-1)) == pytest.approx(
        0.528, abs=0.01
    )
    # Models without the unit alone: about 7.5 of them, a variance of 1 + 1/7.5 at least.
    offline = auc(inside.reshape(-1).astype(int), play(signals, inside, "offline").reshape(-1))
    assert 0.73 < offline < found


def test_a_second_signal_that_says_nothing_does_no_harm_and_one_that_repeats_adds_nothing():
    signals, inside = game(units=2000)
    labels = inside.reshape(-1).astype(int)
    alone = auc(labels, play(signals, inside, "ratio").reshape(-1))
    noise = np.random.default_rng(1).normal(size=signals.shape)
    for second, within in ((noise, 0.005), (signals, 0.002), (np.zeros_like(signals), 0.002)):
        both = auc(labels, play(np.concatenate([signals, second], axis=2), inside, "ratio").reshape(-1))
        assert both == pytest.approx(alone, abs=within)


def test_a_second_look_at_the_same_training_data_adds_what_it_knows():
    # Signals of independent noise, each one deviation apart: together sqrt(2) deviations, Phi(1) = .841 at best.
    signals, inside = game(units=2000)
    rng = np.random.default_rng(2)
    other = (inside + rng.normal(size=inside.shape))[..., None]
    both = play(np.concatenate([signals, other], axis=2), inside, "ratio")
    assert 0.825 < auc(inside.reshape(-1).astype(int), both.reshape(-1)) < 0.845


@pytest.mark.parametrize("attack", ["loss", "offline", "ratio"])
def test_nothing_is_found_where_nothing_is(attack):
    signals, inside = game(shift=0.0)
    users = np.tile(np.arange(inside.shape[1]), len(inside))
    found = leakage(inside, users, {"model": play(signals, inside, attack)}, 100)["values"]["model"]
    assert found["auc"].low <= 0.5 <= found["auc"].high
    assert found["auc"].value == pytest.approx(0.5, abs=0.01)
    assert found["tpr@1%"].value == pytest.approx(0.01, abs=0.004)


def test_units_of_which_one_side_is_missing_count_as_the_others_say():
    known = np.array([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0]])[..., None] + np.array([[[0.1]], [[-0.1]], [[0.0]]])
    inside = np.array([[False, False], [False, False], [True, False]])
    found = likelihood_ratio([[4.0], [4.0]], known, inside)
    assert found[0] > 0
    assert found[1] > 0
    assert likelihood_ratio([[4.0]], known[:, 1:], inside[:, 1:]).tolist() == [0.0]
    assert absence([[1.0]], known[2:, :1], inside[2:, :1]).tolist() == [0.0]


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(RecpruneError, match=r"do not fit: \(2, 1\), \(3, 4, 1\), \(3, 4\)"):
        likelihood_ratio(np.zeros((2, 1)), np.zeros((3, 4, 1)), np.zeros((3, 4)))
    with pytest.raises(RecpruneError, match="finite"):
        likelihood_ratio([[np.nan]], np.zeros((3, 1, 1)), np.zeros((3, 1)))
    with pytest.raises(RecpruneError, match="one signal a unit, got 2"):
        absence(np.zeros((4, 2)), np.zeros((3, 4, 2)), np.zeros((3, 4)))


def test_true_positives_by_hand():
    # 200 others score 0..199. Members: two above all, one above all but the highest (199), one below 1 % of false alarms.
    scores = np.concatenate([np.arange(200.0), [300, 299, 198.5, 150]])
    inside = np.repeat([0, 1], [200, 4])
    found = leakage(inside, np.arange(204), {"model": scores}, 100)["values"]["model"]
    assert found["tpr@0.1%"].value == 0.5  # a thousandth of 200 is less than one: no false alarm at all
    assert found["tpr@1%"].value == 0.75  # two false alarms: 199 and 198
    assert found["auc"].value == pytest.approx((200 + 200 + 199 + 150.5) / 800)


def test_rows_scored_alike_are_taken_together():
    # A threshold cannot part a member from another with the same score.
    found = leakage([1, 0, 1, 0], [1, 2, 3, 4], {"model": [5, 5, 9, 1]}, 100)["values"]["model"]
    assert found["tpr@1%"].value == 0.5
    assert found["auc"].value == (0.5 + 1 + 1 + 1) / 4


@given(st.lists(st.integers(0, 5), min_size=4, max_size=30), st.integers(0, 99))
def test_true_positives_are_those_of_a_plain_loop(scores, seed):
    rng = np.random.default_rng(seed)
    inside = rng.permutation(np.arange(len(scores)) % 2).astype(bool)
    scores = np.array(scores, float)
    best = 0.0
    for threshold in np.unique(scores):
        if (scores[~inside] >= threshold).mean() <= 0.01:
            best = max(best, (scores[inside] >= threshold).mean())
    found = leakage(inside, np.arange(len(scores)), {"model": scores}, 100)["values"]["model"]
    assert found["tpr@1%"].value == pytest.approx(best)


def test_differences_are_paired_and_intervals_come_from_users():
    rng = np.random.default_rng(0)
    inside, users = rng.random(400) < 0.5, np.repeat(np.arange(40), 10)
    scores = inside + rng.normal(size=400)
    same = leakage(inside, users, {"a": scores, "b": scores + 5}, 100)["differences"]["b - a"]["auc"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    # All rows of one user tell alike: with users drawn, the interval is wider than with rows drawn.
    taste = np.repeat(rng.normal(size=40), 10)
    by = [leakage(inside, u, {"a": inside * 0.2 + taste}, 200)["values"]["a"]["auc"] for u in (users, np.arange(400))]
    assert by[0].high - by[0].low > 0
    with pytest.raises(RecpruneError, match="only one kind"):
        leakage([1, 1], [0, 1], {"a": [1, 2]})


def test_an_attribute_that_lies_in_the_rows_is_guessed_and_one_that_does_not_is_not():
    rng = np.random.default_rng(0)
    labels = np.array(["usa", "peru", "spain"])[rng.choice(3, 600, p=[0.6, 0.3, 0.1])]
    told = np.stack([labels == "peru", labels == "spain"], axis=1) + 0.1 * rng.normal(size=(600, 2))
    found = infer({"tells": told, "noise": rng.normal(size=(600, 8)), "constant": np.zeros((600, 3))}, labels)
    assert found.majority.value == pytest.approx((labels == "usa").mean())
    assert found.accuracy["tells"].value > 0.99
    assert found.gain["tells"].value == pytest.approx(found.accuracy["tells"].value - found.majority.value)
    assert found.gain["noise"].high < 0.02
    assert found.gain["constant"].value == 0
    assert (found.users, found.classes) == (600, 3)
    with pytest.raises(RecpruneError, match="20 users of two classes, got 600 of 1"):
        infer({}, np.zeros(600))
