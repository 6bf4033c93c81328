"""The training loop: of a model from scratch, and of a smaller model that learns from its teacher."""

from __future__ import annotations

import copy
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recprune.errors import RecpruneError
from recprune.files import write_bytes
from recprune.recommenders.features import Encoded

__all__ = [
    "History",
    "Penalized",
    "RowAdam",
    "Training",
    "auc",
    "cool",
    "fingerprint",
    "fit",
    "optimizer_for",
    "predict",
    "tensors",
    "train_epochs",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Training:
    """How a model is trained: Adam on batches of `batch` rows for at most `epochs`, the rate falling by a cosine.

    `rate` is for dense layers, `row_rate` for tables of factors, `bias_rate` for tables of one column: a row that is read
    ten times has ten steps to learn its reader's generosity, and a step of Adam is no longer than the rate.
    It stops when the AUC on validation has not risen for `patience` epochs; the best epoch's weights are kept.
    `teacher`: the share of the loss that comes from the teacher's scores, where there is a teacher.
    """

    epochs: int = 10
    batch: int = 1024
    rate: float = 1e-3
    row_rate: float = 1e-3
    bias_rate: float = 3e-2
    decay: float = 1e-6
    patience: int = 2
    teacher: float = 0.5

    def __post_init__(self) -> None:
        """Check ranges."""
        if (
            min(self.epochs, self.batch, self.patience) < 1
            or min(self.rate, self.row_rate, self.bias_rate) <= 0
            or self.decay < 0
        ):
            raise RecpruneError(f"epochs, batch, patience and rates must be positive: {self}")
        if not 0 <= self.teacher <= 1:
            raise RecpruneError(f"teacher must be in [0, 1], got {self.teacher}")


@dataclass(frozen=True)
class History:
    """What happened: one record an epoch (`epoch`, `loss`, `auc`), and the epoch whose weights were kept (-1: none)."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = -1


@runtime_checkable
class Penalized(Protocol):
    """A model with a penalty on what its last batch read, summed over the batch."""

    def penalty(self) -> Tensor:
        """The penalty."""


class RowAdam(torch.optim.Optimizer):
    """Adam that touches only the rows that were read: a row's moments wait while it is not read.

    Parameters with dense gradients take ordinary Adam steps (Kingma and Ba, ICLR 2015).
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 1e-3, "decay": 0.0, "betas": (0.9, 0.99), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = closure() if closure is not None else None
        read: dict[
            tuple[int, int], tuple[Tensor, Tensor]
        ] = {}  # factors and biases of a table are read by the same rows
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["mean"] = torch.zeros_like(parameter)
                    state["square"] = torch.zeros_like(parameter)
                state["step"] += 1
                fade = (1 - second ** state["step"]) ** 0.5 / (1 - first ** state["step"])
                if gradient.is_sparse:
                    indices, values = gradient._indices()[0], gradient._values()
                    if (at := (indices.data_ptr(), len(indices))) not in read:
                        read[at] = _distinct(indices, len(parameter))
                    rows, inverse = read[at]
                    gradient = values.new_zeros(len(rows), *values.shape[1:]).index_add_(0, inverse, values)
                    mean = state["mean"].index_select(0, rows).lerp_(gradient, 1 - first)
                    square = state["square"].index_select(0, rows).mul_(second)
                    square.addcmul_(gradient, gradient, value=1 - second)
                    state["mean"].index_copy_(0, rows, mean)
                    state["square"].index_copy_(0, rows, square)
                    parameter.index_add_(0, rows, mean / (square.sqrt() + group["eps"]), alpha=-group["lr"] * fade)
                else:
                    if group["decay"]:
                        parameter.mul_(1 - group["lr"] * group["decay"])
                    mean = state["mean"].lerp_(gradient, 1 - first)
                    square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
                    parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-group["lr"] * fade)
        return loss


def _distinct(indices: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """As `indices.unique(return_inverse=True)` of indices below `rows`: without sorting them, many times as fast."""
    mark = torch.zeros(rows, dtype=torch.int64, device=indices.device)
    mark[indices] = 1
    distinct = mark.nonzero()[:, 0]
    mark[distinct] = torch.arange(len(distinct), device=indices.device)
    return distinct, mark[indices]


def auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve; ties count half.

    >>> auc(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1]))
    0.75
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = labels > 0.5
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        raise RecpruneError(f"AUC needs both classes, got {n} positive and {m} negative labels")
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * m))


def tensors(rows: Encoded) -> dict[str, Tensor]:
    """One batch as the models take it."""
    found = {name: torch.from_numpy(values.astype(np.int64)) for name, values in rows.rows.items()}
    if rows.offsets is not None:
        found |= {"words": torch.from_numpy(rows.words.astype(np.int64)), "offsets": torch.from_numpy(rows.offsets)}
    for key, values in (rows.statistics or {}).items():
        found[f"{key} statistics"] = torch.from_numpy(values)
    return found


@torch.no_grad()
def predict(model: nn.Module, rows: Encoded, batch: int = 8192) -> npt.NDArray[np.float32]:
    """Probabilities, shape (rows,)."""
    model.eval()
    parts = [
        torch.sigmoid(model(tensors(rows.take(np.arange(i, min(i + batch, len(rows)))))))
        for i in range(0, len(rows), batch)
    ]
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)


def fit(
    model: nn.Module,
    train: Encoded,
    targets: Array,
    valid: Encoded,
    labels: Array,
    settings: Training,
    *,
    seed: int = 0,
    teacher: Array | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> History:
    """Train `model` in place and leave it with the weights of its best epoch on validation.

    `targets`: in [0, 1], of the training rows; `labels`: 0 or 1, of the validation rows; `teacher`: logits of the
    training rows by a better model: `settings.teacher` of the loss is then the cross-entropy to its probabilities.
    `checkpoint`: a file written after every epoch; where it is of the same training, that goes on from it.
    """
    if len(targets) != len(train) or len(labels) != len(valid):
        raise RecpruneError(f"{len(train)} rows with {len(targets)} targets, {len(valid)} with {len(labels)} labels")
    mixed = torch.from_numpy(np.asarray(targets, np.float32))
    if teacher is not None:
        soft = torch.sigmoid(torch.from_numpy(np.asarray(teacher, np.float32)))
        mixed = (1 - settings.teacher) * mixed + settings.teacher * soft
    optimizer = optimizer_for(model, settings)
    base = [group["lr"] for group in optimizer.param_groups]
    steps = -(-len(train) // settings.batch)

    def one(epoch: int) -> float:
        order = torch.randperm(len(train)).numpy()
        total = 0.0
        for step in range(steps):
            index = order[step * settings.batch : (step + 1) * settings.batch]
            share = (epoch + step / steps) / settings.epochs
            cool(optimizer, base, share)
            optimizer.zero_grad()
            logits = model(tensors(train.take(index)))
            loss = F.binary_cross_entropy_with_logits(logits, mixed[index])
            penalty = model.penalty() if isinstance(model, Penalized) else torch.zeros(())
            whole: Tensor = loss + penalty / len(index)
            torch.autograd.backward(whole)
            optimizer.step()
            total += loss.item() * len(index)
        return total / len(train)

    return train_epochs(
        model,
        optimizer,
        one,
        ("auc", lambda: auc(labels, predict(model, valid))),
        settings.epochs,
        settings.patience,
        seed,
        f"{asdict(settings)} {seed} {fingerprint(vars(train), targets, labels, teacher)}",
        progress,
        checkpoint,
    )


def optimizer_for(model: nn.Module, settings: Training) -> RowAdam:
    """Adam at the rates of the settings: tables of factors, tables of one column, dense layers."""
    groups: dict[str, list[nn.Parameter]] = {"factor": [], "bias": [], "dense": []}
    for name, parameter in model.named_parameters():
        groups[name.rpartition(".")[2] if name.startswith("tables.") else "dense"].append(parameter)
    return RowAdam(
        [
            {"params": groups["factor"], "lr": settings.row_rate},
            {"params": groups["bias"], "lr": settings.bias_rate},
            {"params": groups["dense"], "lr": settings.rate, "decay": settings.decay},
        ]
    )


def cool(optimizer: torch.optim.Optimizer, base: list[float], share: float) -> None:
    """Set the rates that are due when `share` of the training is done: a cosine from `base` to a twentieth of it."""
    for group, rate in zip(optimizer.param_groups, base, strict=True):
        group["lr"] = rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))


def train_epochs(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    one: Callable[[int], float],
    judge: tuple[str, Callable[[], float]],
    epochs: int,
    patience: int,
    seed: int,
    identity: str,
    progress: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> History:
    """Train epoch after epoch, and leave `model` with the weights of the one that was judged best.

    `one`: trains an epoch and gives its mean loss. `judge`: the metric's name, and what gives it on validation, the higher
    the better; training stops when it has not risen for `patience` epochs. `checkpoint`: a file written after every epoch;
    where it has the same `identity`, and `model` starts from the same weights, training goes on from it, if it is whole.
    """
    metric, judged = judge
    history, best, start = History(), copy.deepcopy(model.state_dict()), 0
    identity = f"{identity} {fingerprint(best)}"
    if checkpoint is not None and (saved := _saved(checkpoint, identity)) is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history, best, start = History(saved["epochs"], saved["best"]), saved["weights"], saved["next"]
    for epoch in range(start, epochs):
        if history.best >= 0 and epoch - 1 - history.best >= patience:
            break
        torch.manual_seed(seed * 1000 + epoch)  # an epoch is the same whether it was reached in one run or two
        model.train()
        record = {"epoch": epoch, "loss": one(epoch)}
        record[metric] = judged()
        history.epochs.append(record)
        if history.best < 0 or record[metric] > history.epochs[history.best][metric]:
            history, best = History(history.epochs, epoch), copy.deepcopy(model.state_dict())
        if progress is not None:
            progress(record)
        if checkpoint is not None:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epochs": history.epochs,
                "best": history.best,
                "weights": best,
                "next": epoch + 1,
            }
            content = io.BytesIO()
            torch.save(state, content)
            write_bytes(checkpoint, _seal(identity, content.getvalue()) + content.getvalue())
    model.load_state_dict(best)
    return history


def fingerprint(*values: Any) -> str:
    """SHA-256 of arrays and tensors, in mappings and sequences or by themselves: whether it is the same training."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                found.update(f"{key}:".encode())
                add(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                add(inner)
        else:
            array = np.asarray(value.cpu() if isinstance(value, Tensor) else value)
            found.update(f"{array.dtype} {array.shape}".encode())
            found.update(str(value).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes())

    add(values)
    return found.hexdigest()


def _seal(identity: str, content: bytes) -> bytes:
    return hashlib.sha256(identity.encode() + content).digest()


def _saved(checkpoint: Path, identity: str) -> dict[str, Any] | None:
    """What was kept of this very training; None where there is nothing, or a damaged file."""
    try:
        seal, content = (given := checkpoint.read_bytes())[:32], given[32:]
    except OSError:
        return None
    if seal != _seal(identity, content):
        return None
    found: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return found
