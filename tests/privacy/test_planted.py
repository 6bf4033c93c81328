"""The attack finds a leak that was planted, and nothing in a model of random labels."""

import numpy as np
import pytest

from recprune.privacy import leakage, play

ROWS, MODELS = 400, 16


def trained(inside, width, labels):
    """Margins of every row's true label by ridge regressions, each trained on its rows and the labels that it is given."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, width)) / np.sqrt(width)
    truth = np.where(x @ rng.normal(size=width) + 0.5 * rng.normal(size=ROWS) > 0, 1.0, -1.0)
    signals = []
    for i, rows in enumerate(inside):
        y = labels(truth, np.random.default_rng(100 + i))
        weights = np.linalg.solve(x[rows].T @ x[rows] + 1e-3 * np.eye(width), x[rows].T @ y[rows])
        signals.append(truth * (x @ weights))
    return np.array(signals)[..., None]


@pytest.fixture(scope="module")
def inside():
    return np.random.default_rng(0).random((MODELS, ROWS)) < 0.5


def attacked(signals, inside, attack):
    users = np.tile(np.arange(ROWS), MODELS)
    return leakage(inside, users, {"model": play(signals, inside, attack)}, 100)["values"]["model"]


def test_a_model_overfitted_on_purpose_leaks(inside):
    # Four times as many weights as rows and next to no penalty: every label is learned by heart.
    found = {attack: attacked(trained(inside, 800, lambda y, rng: y), inside, attack) for attack in ("loss", "ratio")}
    assert found["loss"]["auc"].low > 0.8
    assert found["ratio"]["auc"].low > 0.95
    assert found["ratio"]["tpr@1%"].low > 0.3


def test_a_narrow_model_leaks_less(inside):
    narrow, wide = (attacked(trained(inside, width, lambda y, rng: y), inside, "ratio")["auc"] for width in (10, 800))
    assert narrow.high < 0.75 < wide.low


@pytest.mark.parametrize("attack", ["loss", "offline", "ratio"])
def test_a_model_of_random_labels_says_nothing_of_the_true_ones(inside, attack):
    random = trained(inside, 10, lambda y, rng: rng.choice([-1.0, 1.0], len(y)))
    found = attacked(random, inside, attack)
    assert found["auc"].low <= 0.5 <= found["auc"].high
    assert found["auc"].high - found["auc"].low < 0.1


@pytest.mark.parametrize("attack", ["loss", "offline", "ratio"])
def test_nothing_is_found_of_rows_that_no_model_was_trained_on(inside, attack):
    # Overfitted as above, but to other rows than those that are asked for.
    signals = trained(inside, 800, lambda y, rng: y)
    other = np.random.default_rng(5).random(inside.shape) < 0.5
    found = attacked(signals, other, attack)
    assert found["auc"].low <= 0.5 <= found["auc"].high
