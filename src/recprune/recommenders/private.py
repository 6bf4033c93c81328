"""DP-SGD (Abadi et al. 2016): the gradient of each user, or of each interaction, is clipped, and noise added to the sum.

Tables make it special. The gradients of a batch of people, one by one, would each be as large as all tables; what is needed
of them is their length, and that follows from what each person read (for tables) and from products of inputs and gradients
(for layers: ghost clipping, Li et al. 2022, a user's interactions in the place of a sequence). One backward pass for the
lengths, another for the clipped sum; Opacus samples, adds the noise and accounts for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recprune import memory
from recprune.privacy import Private, delta_for, noise_for, spent
from recprune.recommenders.features import Encoded
from recprune.recommenders.tables import TableModel
from recprune.recommenders.training import (
    History,
    Training,
    auc,
    cool,
    fingerprint,
    optimizer_for,
    predict,
    tensors,
    train_epochs,
)

__all__ = ["clipped_gradients", "fit_private"]

Array = npt.NDArray[Any]
_STEPS = 16  # of an epoch, at least: few people make small batches
_ROWS = 16  # interactions of a user in one step, drawn anew each time: a bound on work and memory, not on what is told


def fit_private(
    model: TableModel,
    train: Encoded,
    targets: Array,
    users: Array,
    valid: Encoded,
    labels: Array,
    settings: Training,
    private: Private,
    *,
    seed: int = 0,
    progress: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> tuple[History, dict[str, Any]]:
    """Train as `training.fit` does, with differential privacy; give what happened, and what was spent.

    `users`: whose the training rows are, (rows,). `settings.batch` is the mean number of units in a step, a sixteenth of
    all at most. Noise and samples come from the system's own randomness, whatever the `seed`: who can draw the noise again
    can take it off.
    """
    units = np.unique(users, return_inverse=True)[1] if private.unit == "user" else np.arange(len(train))
    count = int(units.max()) + 1
    rate = min(1 / _STEPS, settings.batch / count)
    steps = round(1 / rate)
    _room(model, rate * count, _ROWS if private.unit == "user" else 1)
    delta = delta_for(count) if private.delta is None else private.delta
    noise = noise_for(private.epsilon, delta, rate, steps * settings.epochs)

    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler

    secret = torch.Generator().manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
    optimizer = DPOptimizerFastGradientClipping(
        optimizer_for(model, settings),
        noise_multiplier=noise,
        max_grad_norm=private.clip,
        expected_batch_size=rate * count,
        generator=secret,
        secure_mode=True,  # four draws in place of one, against attacks on the last bits of a float
    )
    sampler = UniformWithReplacementSampler(num_samples=count, sample_rate=rate, steps=steps, generator=secret)
    order = np.argsort(units, kind="stable")
    starts = np.searchsorted(units[order], np.arange(count + 1))
    wanted = torch.from_numpy(np.asarray(targets, np.float32))
    base = [group["lr"] for group in optimizer.param_groups]

    def one(epoch: int) -> float:
        total, rows = 0.0, 0
        for step, chosen in enumerate(sampler):
            cool(optimizer, base, (epoch + step / steps) / settings.epochs)
            index, owner = _drawn(order, starts, np.asarray(chosen, np.int64))
            optimizer.zero_grad(set_to_none=True)
            if len(index):
                batch = tensors(train.take(index))
                total += clipped_gradients(model, batch, wanted[index], torch.from_numpy(owner), private.clip)
                rows += len(index)
            for parameter in model.parameters():
                parameter.grad = _dense(parameter)
            optimizer.step()
        return total / max(rows, 1)

    history = train_epochs(
        model,
        optimizer,
        one,
        ("auc", lambda: auc(labels, predict(model, valid))),
        settings.epochs,
        settings.patience,
        seed,
        f"{asdict(settings)} {asdict(private)} {seed} {fingerprint(vars(train), targets, labels, users)}",
        progress,
        checkpoint,
    )
    taken = steps * len(history.epochs)
    return history, {
        "unit": private.unit,
        "epsilon": round(spent(noise, delta, rate, taken), 4),
        "delta": delta,
        "noise": round(noise, 6),
        "clip": private.clip,
        "rate": round(rate, 6),
        "steps": taken,
    }


def clipped_gradients(
    model: TableModel, batch: dict[str, Tensor], targets: Tensor, owner: Tensor, clip: float
) -> float:
    """Leave in `.grad` the sum over owners of their gradients, each shortened to `clip` at most; give the summed loss.

    `owner`: whose each row of the batch is, int64 (rows,), from 0 on. An owner's gradient is that of the sum of the losses
    of the owner's rows.
    """
    count = int(owner.max()) + 1
    calls: list[tuple[Tensor, Tensor]] = []
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(lambda _, given, out: calls.append((given[0], out))) for layer in layers]
    try:
        losses = F.binary_cross_entropy_with_logits(model(batch), targets, reduction="none")
    finally:
        for hook in hooks:
            hook.remove()
    tables: list[tuple[str, Any]] = [
        (name, part) for name, table in model.tables.items() for part in (table.factor, table.bias)
    ]
    asked: list[Tensor] = [*(out for _, out in calls), *(part for _, part in tables)]
    found = torch.autograd.grad(losses.sum(), asked, retain_graph=True)
    squares = torch.zeros(count)
    place = _place(owner)
    for (given, _), gradient in zip(calls, found, strict=False):
        squares += _of_layer(given.detach(), gradient, owner, place, count)
    words = None if model.words is None else owner.repeat_interleave(batch["offsets"].diff())
    for (name, _), gradient in zip(tables, found[len(calls) :], strict=True):
        reader = words if name == model.words and words is not None else owner
        squares += _of_table(gradient._indices()[0], gradient._values(), reader, count)
    shares = (clip / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    torch.autograd.backward((losses * shares[owner]).sum())
    return float(losses.detach().sum())


def _of_layer(given: Tensor, gradient: Tensor, owner: Tensor, place: Tensor, count: int) -> Tensor:
    """Squared lengths of each owner's gradient of weight and bias: over pairs of rows, the sum of (g . g') (x . x' + 1)."""
    most = int(place.max()) + 1
    x, g = given.new_zeros(count, most, given.shape[1]), given.new_zeros(count, most, gradient.shape[1])
    x[owner, place], g[owner, place] = given, gradient
    return ((x @ x.mT + 1) * (g @ g.mT)).sum((1, 2))


def _of_table(rows: Tensor, values: Tensor, owner: Tensor, count: int) -> Tensor:
    """The same of a table: what an owner reads twice is one row of the gradient."""
    keys, inverse = torch.unique((owner << 32) + rows, return_inverse=True)
    sums = values.new_zeros(len(keys), values.shape[1]).index_add_(0, inverse, values)
    return values.new_zeros(count).index_add_(0, keys >> 32, sums.square().sum(1))


def _dense(parameter: Tensor) -> Tensor:
    """The gradient as Opacus takes it.

    Added up here, because `to_dense` gives zeros for a single row whose values are an expanded view (torch 2.13).
    """
    gradient, found = parameter.grad, torch.zeros_like(parameter)
    if gradient is None:
        return found
    if not gradient.is_sparse:
        return gradient
    return found.index_add_(0, gradient._indices()[0], gradient._values())


def _place(owner: Tensor) -> Tensor:
    """The place of each row among those of its owner."""
    order = owner.argsort(stable=True)
    held = owner[order]
    place = torch.empty_like(owner)
    place[order] = torch.arange(len(owner)) - torch.searchsorted(held, held)
    return place


def _drawn(order: Array, starts: Array, chosen: Array) -> tuple[Array, Array]:
    """Rows of the chosen units, at most `_ROWS` of each, drawn anew; and the place among `chosen` of whose each is."""
    counts = starts[chosen + 1] - starts[chosen]
    owner = np.repeat(np.arange(len(chosen)), counts)
    rows = order[np.repeat(starts[chosen] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())]
    mixed = np.lexsort((np.random.default_rng().random(len(rows)), owner))
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = mixed[rank < _ROWS]
    return rows[kept], owner[kept]


def _room(model: TableModel, units: float, rows: int) -> None:
    """Ask for memory: five copies of all parameters (gradient, sum, noise, moments), and the inputs of layers of a batch."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    wide = sum(layer.in_features + layer.out_features for layer in model.modules() if isinstance(layer, nn.Linear))
    needed = 4 * (6 * parameters + int(units) * rows * (3 * wide + 2 * rows))
    memory.require(needed, "private training", "a smaller width, or a larger min_readings, needs less")
