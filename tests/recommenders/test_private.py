"""Private training: gradients of people against a hand loop, noise against the accountant, and what is refused."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recprune import memory
from recprune.errors import RecpruneError
from recprune.privacy import Private, delta_for, noise_for, spent
from recprune.recommenders import private as module
from recprune.recommenders.features import Features
from recprune.recommenders.like import (
    LIKE,
    LIKE_IDS,
    MODELS,
    features_for,
    like_data,
    privately,
    soft_targets,
    train_like,
)
from recprune.recommenders.private import clipped_gradients, fit_private
from recprune.recommenders.training import Training, tensors

from .test_like import toy_log


@pytest.fixture(scope="module")
def data():
    return like_data(toy_log())


def made(data, kind="dcn"):
    """A model whose rows are far from zero, its encoded training rows, and their targets."""
    features, train = Features.fit(data.train, data.implicit, features_for(LIKE_IDS.features, data.train, 8.0))
    torch.manual_seed(0)
    model = MODELS[kind](
        features, replace(LIKE_IDS.sizes, width=3, deep=(5, 4), factor_l2=0.0, bias_l2=0.0, dropout=0.0)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.train(), train, torch.from_numpy(soft_targets(data.train["rating"].to_numpy(), 8.0, 0.5))


def gradients(model):
    found = {}
    for name, parameter in model.named_parameters():
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if grad.is_sparse:
            grad = torch.zeros_like(parameter).index_add_(0, grad._indices()[0], grad._values().contiguous())
        found[name] = grad
        parameter.grad = None
    return found


@pytest.mark.parametrize("kind", ["dcn", "deepfm"])
@pytest.mark.parametrize("by_user", [True, False])
def test_the_sum_of_clipped_gradients_is_that_of_a_loop_over_people(data, kind, by_user):
    model, train, targets = made(data, kind)
    index = np.random.default_rng(0).permutation(len(train))[:40]
    users = np.unique(data.train["user"].to_numpy()[index], return_inverse=True)[1]
    owner = users if by_user else np.arange(40)
    assert by_user == (owner.max() < 39)
    lengths, wanted = [], {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    clip = 2.0 if by_user else 1.5
    for one in range(owner.max() + 1):
        rows = index[owner == one]
        loss = F.binary_cross_entropy_with_logits(model(tensors(train.take(rows))), targets[rows], reduction="sum")
        loss.backward()
        found = gradients(model)
        lengths.append(float(sum(grad.square().sum() for grad in found.values()).sqrt()))
        for name, grad in found.items():
            wanted[name] += grad * min(1.0, clip / lengths[-1])
    assert min(lengths) < clip < max(lengths)  # some are shortened, some are not
    clipped_gradients(model, tensors(train.take(index)), targets[index], torch.from_numpy(owner), clip)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, wanted[name], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_row_has_the_gradient_of_its_bias(data):
    # The logit is a sum of biases: the gradient of each is sigmoid(logit) - target. (`to_dense` of torch 2.13 gives 0.)
    model, train, targets = made(data)
    batch = tensors(train.take(np.array([5])))
    clipped_gradients(model, batch, targets[[5]], torch.tensor([0]), 1e9)
    wanted = float(torch.sigmoid(model(batch).detach()) - targets[5])
    found = module._dense(model.tables["user"].bias)
    assert found[batch["user"]].item() == pytest.approx(wanted, rel=1e-5)
    assert int((found != 0).sum()) == 1


def test_a_step_moves_no_further_than_the_clip_by_one_person(data):
    model, train, targets = made(data)
    index = np.arange(30)
    owner = torch.zeros(30, dtype=torch.int64)
    owner[20:] = 1
    both = {}
    for name, rows in (("both", slice(0, 30)), ("first", slice(0, 20))):
        clipped_gradients(model, tensors(train.take(index[rows])), targets[index[rows]], owner[rows], 0.01)
        both[name] = gradients(model)
    apart = sum((both["both"][name] - both["first"][name]).square().sum() for name in both["both"]).sqrt()
    assert float(apart) == pytest.approx(0.01, rel=1e-4)


def test_rows_drawn_of_a_user_are_the_users_and_at_most_so_many(monkeypatch):
    # Users 0, 1, 2 with rows 1 and 4; 0, 2, 3, 5; 6.
    order, starts = np.array([1, 4, 0, 2, 3, 5, 6]), np.array([0, 2, 6, 7])
    rows, owner = module._drawn(order, starts, np.array([0, 2]))
    assert sorted(zip(rows.tolist(), owner.tolist(), strict=True)) == [(1, 0), (4, 0), (6, 1)]
    monkeypatch.setattr(module, "_ROWS", 2)
    seen = set()
    for _ in range(50):
        rows, owner = module._drawn(order, starts, np.array([1]))
        assert owner.tolist() == [0, 0]
        assert len(set(rows.tolist())) == 2
        seen |= set(rows.tolist())
    assert seen == {0, 2, 3, 5}  # each comes, in time: the chance that one does not is 4 / 2**50
    assert len(module._drawn(order, starts, np.zeros(0, np.int64))[0]) == 0


def test_noise_of_one_full_step_is_that_of_the_gaussian_mechanism():
    # Without sampling Renyi differential privacy is a / (2 s**2) at order a: epsilon is the least over a of
    # a / (2 s**2) + log((a - 1) / a) - (log(delta) + log(a)) / (a - 1) (Canonne, Kamath and Steinke 2020).
    sigma, delta = 4.0, 1e-5
    orders = np.arange(1.01, 64, 0.01)
    known = orders / (2 * sigma**2) + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    assert spent(sigma, delta, 1.0, 1) == pytest.approx(known.min(), abs=0.01)
    assert spent(sigma, delta, 1.0, 4) == pytest.approx(spent(sigma / 2, delta, 1.0, 1), rel=1e-6)
    noise = noise_for(2.0, delta, 0.1, 100)
    assert 1.98 < spent(noise, delta, 0.1, 100) <= 2.0


def test_delta_is_a_power_of_ten_below_a_tenth_of_one_in_all():
    assert [delta_for(n) for n in (1, 10, 11, 99_999, 100_001)] == pytest.approx([0.1, 1e-2, 1e-3, 1e-6, 1e-7])


@pytest.mark.parametrize("unit", ["user", "interaction"])
def test_training_says_what_it_spent_and_learns(data, unit, monkeypatch):
    monkeypatch.setattr(module, "noise_for", lambda *asked: 0.5)
    settings = privately(replace(LIKE_IDS, sizes=replace(LIKE_IDS.sizes, width=2)), Private(200.0, unit=unit))
    settings = replace(settings, training=Training(epochs=6, batch=100, bias_rate=0.1))
    settings = replace(settings, features=features_for(settings.features, data.train, 8.0))
    trained = train_like(data, settings, seed=0)
    found = trained.private
    epochs = len(trained.history.epochs)
    assert found["unit"] == unit
    assert found["delta"] == {"user": 1e-4, "interaction": 1e-5}[unit]
    assert found["noise"] == 0.5
    assert found["steps"] == (16 if unit == "user" else 18) * epochs  # a sixteenth at most; 1,843 rows by 100
    assert found["epsilon"] == pytest.approx(
        spent(found["noise"], found["delta"], found["rate"], found["steps"]), rel=1e-3
    )
    assert len(found["not_covered"]) == 2
    assert ("user" in trained.model.tables) == (unit == "interaction")
    assert max(record["auc"] for record in trained.history.epochs) > 0.55


def test_noise_is_all_that_moves_a_row_that_nobody_reads(data):
    # One step of plain noise: the gradient of an unread row is noise * clip / batch, of each coordinate.
    model, train, targets = made(data)
    seen = []

    class Spy(module.optimizer_for(model, Training()).__class__):
        def step(self, closure=None):
            seen.append(model.tables["user"].factor.grad.clone())

    users = data.train["user"].to_numpy()
    settings = Training(epochs=1, batch=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "optimizer_for", lambda m, s: Spy([{"params": list(m.parameters()), "lr": 0.1}]))
        _, found = fit_private(
            model,
            train,
            targets.numpy(),
            users,
            train,
            (targets.numpy() > 0.5).astype(np.float32),
            settings,
            Private(0.5),
        )
    grads = torch.stack(seen)
    # Most users are not in a step: their rows hold noise alone.
    assert float(grads.std()) == pytest.approx(found["noise"] * 1.0 / 5, rel=0.1)


def test_two_runs_of_one_seed_differ_because_noise_is_secret(data):
    settings = privately(replace(LIKE_IDS, features=features_for(LIKE_IDS.features, data.train, 8.0)), Private(8.0))
    settings = replace(settings, training=Training(epochs=2, batch=300))
    one, two = (train_like(data, settings, seed=3).model.tables["item"].bias.detach() for _ in range(2))
    assert not torch.equal(one, two)


def test_training_that_was_stopped_goes_on_and_counts_its_steps(data, tmp_path):
    settings = privately(replace(LIKE_IDS, features=features_for(LIKE_IDS.features, data.train, 8.0)), Private(8.0))
    settings = replace(settings, training=Training(epochs=2, batch=300))

    def stop(record):
        if record["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_like(data, settings, progress=stop, checkpoint=tmp_path / "training.pt")
    epochs = []
    again = train_like(
        data, settings, progress=lambda r: epochs.append(r["epoch"]), checkpoint=tmp_path / "training.pt"
    )
    assert epochs == [1]  # epoch 0 was kept
    assert again.private["steps"] == 2 * 16
    assert 7.8 < again.private["epsilon"] <= 8


def test_nothing_counted_on_the_log_is_trained_on(data):
    with pytest.raises(RecpruneError, match="without statistics"):
        privately(LIKE, Private(8.0))
    sizes = privately(LIKE_IDS, Private(8.0)).sizes
    assert (sizes.factor_l2, sizes.bias_l2) == (0.0, 0.0)  # the penalty of a row is over how often it was read


def test_a_machine_without_opacus_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    with pytest.raises(RecpruneError, match=r"private training needs Opacus: pip install 'recprune\[dp\]'"):
        noise_for(8.0, 1e-6, 0.1, 10)


def test_an_epsilon_that_no_noise_reaches_is_named():
    with pytest.raises(RecpruneError, match="no noise keeps 1,000 steps within epsilon 1e-09: a larger one is needed"):
        noise_for(1e-9, 1e-6, 0.5, 1000)


def test_memory_is_asked_for_first(data, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 1_000)
    settings = privately(replace(LIKE_IDS, features=features_for(LIKE_IDS.features, data.train, 8.0)), Private(8.0))
    with pytest.raises(RecpruneError, match=r"private training needs .* GB of memory, .* a larger min_readings"):
        train_like(data, settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epsilon": 0}, "epsilon of private training must be a number above 0, got 0"),
        ({"epsilon": "8"}, "epsilon of private training must be a number above 0, got '8'"),
        ({"epsilon": math.inf}, "epsilon of private training must be a number above 0, got inf"),
        ({"epsilon": 8, "clip": -1}, "clip of private training must be a number above 0, got -1"),
        ({"epsilon": 8, "delta": 1.5}, "delta of private training must be below 1, got 1.5"),
        ({"epsilon": 8, "unit": "users"}, "did you mean"),
    ],
)
def test_settings_that_cannot_be_are_named(given, message):
    with pytest.raises(RecpruneError, match=message):
        Private(**given)
