"""Training the models that read a history: windows of histories, the loss, and the loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from recprune.recommenders.device import moved, on_fastest_device
from recprune.recommenders.next_item_data import NextItemData
from recprune.recommenders.sequences import SequenceModel, padded
from recprune.recommenders.training import History, RowAdam, fingerprint, train_epochs

__all__ = ["Batch", "Windows", "held_out", "next_item_loss", "train_next_item"]

Array = npt.NDArray[Any]
Batch = tuple[Tensor, Tensor, Tensor]
"""Rows (batch, time), the flat places that are asked for, and what came next there."""
_BATCH = 16


class Windows:
    """Batches of histories, cut into windows of `length` at other places each time they are read: every item is asked for
    once, given what came before it in its window.
    """

    def __init__(
        self,
        histories: Sequence[Array],
        length: int,
        fill: int,
        size: int = _BATCH,
        device: torch.device | str = "cpu",
    ) -> None:
        self.histories = [history for history in histories if len(history) > 1]
        self.length, self.fill, self.size, self.device = length, fill, size, torch.device(device)

    def __len__(self) -> int:
        return -(-len(self.histories) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        parts: list[Array] = []
        for history in self.histories:
            start, stop = 0, self.length
            if len(history) > self.length + 1:
                stop = int(torch.randint(1, self.length + 1, ()))
            while start < len(history) - 1:
                parts.append(history[start : stop + 1])
                start, stop = stop, stop + self.length
        for chosen in np.array_split(torch.randperm(len(parts)).numpy(), len(self)):
            rows = padded([parts[i] for i in chosen], self.fill)
            inputs, targets = rows[:, :-1], rows[:, 1:].flatten()
            at = torch.nonzero(inputs.flatten() != self.fill)[:, 0]
            yield moved((inputs, at, targets[at]), self.device)

    def __contains__(self, item: object) -> bool:
        return False


def held_out(data: NextItemData, part: str, length: int, size: int = 128) -> list[Batch]:
    """Batches that ask, after each user's whole history, for what was held out of the catalogue in `part`."""
    found = []
    users = [
        u for u, items in enumerate(data.relevant[part]) if len(data.histories[u]) and (items < data.catalogue).any()
    ]
    for start in range(0, len(users), size):
        block = users[start : start + size]
        rows = padded([data.histories[u][-length:] for u in block], data.catalogue)
        held = [data.relevant[part][u][data.relevant[part][u] < data.catalogue] for u in block]
        last = (np.arange(len(block)) + 1) * rows.shape[1] - 1
        at = np.repeat(last, [len(items) for items in held])
        found.append((rows, torch.from_numpy(at), torch.from_numpy(np.concatenate(held))))
    return found


def next_item_loss(model: SequenceModel, batch: Batch) -> Tensor:
    """Cross-entropy of the items that came next, over the whole catalogue: no negatives are drawn."""
    rows, at, targets = batch
    return F.cross_entropy(model(rows, at)[:, :-1], targets)


def train_next_item(
    model: SequenceModel,
    data: NextItemData,
    judge: Callable[[SequenceModel], float],
    *,
    epochs: int = 20,
    rate: float = 2e-3,
    patience: int = 4,
    seed: int = 0,
    progress: Callable[[dict[str, float]], None] = lambda record: None,
    checkpoint: Path | None = None,
) -> History:
    """Train `model` in place, and leave it with the weights of the epoch that `judge` found best on validation.

    Adam, the rate rising over the first epoch and falling by a cosine; it stops when `judge` has not risen for `patience`
    epochs. `checkpoint`: a file written after every epoch; where it is of the same training, that goes on from it.
    """

    def one(epoch: int) -> float:
        total = torch.zeros((), dtype=torch.float64, device=device)
        for step, batch in enumerate(windows):
            share = (epoch + step / len(windows)) / epochs
            for group in optimizer.param_groups:
                group["lr"] = (
                    rate * min(1.0, share * epochs + 0.1) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
                )
            optimizer.zero_grad()
            loss = next_item_loss(model, batch)
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach()
        return total.item() / len(windows)

    of_data = fingerprint(data.histories, data.relevant, data.catalogue)
    identity = f"{type(model).__name__} {epochs} {rate} {patience} {seed} {of_data}"
    judged = ("ndcg@10", lambda: judge(model))
    with on_fastest_device(model) as device:
        windows = Windows(data.histories, model.length, data.catalogue, device=device)
        optimizer = RowAdam([{"params": list(model.parameters()), "lr": rate}])
        return train_epochs(model, optimizer, one, judged, epochs, patience, seed, identity, progress, checkpoint)
