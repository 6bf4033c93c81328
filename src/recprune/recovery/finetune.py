"""Retrain a smaller torch model, with or without its original as a teacher."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recprune.errors import RecpruneError
from recprune.recovery.seeded import seeded
from recprune.recovery.shrink import Shrinker
from recprune.recovery.sparsity import Sparsity

__all__ = ["call", "finetune", "trainable"]

_WARM = 0.1  # share of the steps over which the rate rises: fresh moments would else move rarely read rows too far

Loss = Callable[[Any, Any], Tensor]


def finetune(
    model: nn.Module,
    batches: Collection[Any],
    loss: Loss,
    *,
    valid: Collection[Any] | None = None,
    epochs: int = 1,
    lr: float = 1e-3,
    teacher: nn.Module | None = None,
    distill: float = 0.5,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    sparsity: Sparsity | None = None,
) -> nn.Module:
    """A retrained copy of `model`, stored the way it was.

    Compact parameters are trained through the float values behind them: stored rows (the shared row of dropped ids
    too), factors, and codes by straight-through rounding, so that the model trained is the model stored. Adam, whose
    moments and steps are those of the rows that were read (Kingma and Ba 2015, lazily); the rate rises over the first
    tenth of the steps and then falls to zero. `batches`: a list, whose order is shuffled each
    epoch, or a DataLoader.

    `loss(model, batch)` gives the scalar to minimize. With a `teacher`, it is `(1 - distill) * loss + distill * d`,
    where d is the mean squared difference between the outputs of both, in units of the teacher's variance, for each call
    of the model (Ba and Caruana 2014).
    With `valid`, batches of the same kind, the epoch with the least mean loss over their rows is what comes back, or the
    model as it was where none was better. A loss or gradient that is not finite ends the training with the last good state;
    in the first epoch there is none, and RecpruneError names the step. So does a validation loss that is not finite, where
    the model as it was is a good state too.

    With `sparsity`, proximal steps make the units that it names zero (see `Shrinker`), and only epochs after which all
    zeros are there compete.
    """
    steps = _steps(batches, epochs, lr, distill)
    say = progress or (lambda line: None)
    model, start = copy.deepcopy(model), model
    mode = model.training
    leaves, close = trainable(model)
    params = [leaf for found in leaves.values() for leaf in found]
    if not params:
        close()
        raise RecpruneError(f"{type(model).__name__} has no parameter to train")
    best = math.inf
    good: list[Tensor] = []
    try:
        shrinker = None if sparsity is None else Shrinker(leaves, sparsity)
        with seeded(seed):
            if valid is not None and shrinker is None:
                best = _mean_loss(model, valid, loss)
                say(f"before: validation loss {best:.5f}")
                best = best if math.isfinite(best) else math.inf
            moments: dict[Tensor, tuple[Tensor, Tensor]] = {}
            for epoch in range(epochs):
                model.train()
                total, wrong = 0.0, ""
                for step, batch in enumerate(_shuffled(batches)):
                    done = (epoch * steps + step + 0.5) / (epochs * steps)
                    rate = lr * min(done / _WARM, (1 - done) / (1 - _WARM), 1.0)
                    for param in params:
                        param.grad = None
                    value = loss(model, batch) if teacher is None else _taught(model, teacher, batch, loss, distill)
                    value.backward()  # type: ignore[no-untyped-call]
                    wrong = _not_finite(value, params)
                    if wrong:
                        wrong += f" at step {step + 1} of epoch {epoch + 1}"
                        break
                    if shrinker is not None:
                        shrinker.share_gradients_()
                    _adam_(params, moments, epoch * steps + step + 1, rate)
                    if shrinker is not None:
                        shrinker.step_((epoch * steps + step + 1) / (epochs * steps), last=step + 1 == steps)
                    total += value.item()
                if wrong:
                    if epoch == 0:
                        raise RecpruneError(f"{wrong}; a smaller lr than {lr:g} may help")
                    say(f"{wrong}: stopped, the last good state is kept")
                    break
                _rescale(model)
                line = f"epoch {epoch + 1}/{epochs}: loss {total / steps:.5f}"
                now = -float(epoch + 1)  # without validation the last epoch is the best
                if valid is not None:
                    now = _mean_loss(model, valid, loss)
                    line += f", validation loss {now:.5f}"
                    if not math.isfinite(now):
                        say(
                            f"the validation loss is {now} after epoch {epoch + 1}: stopped, the last good state is kept"
                        )
                        break
                ramping = shrinker is not None and shrinker.ramping
                if now < best or ramping:
                    best, good = (
                        math.inf if ramping else now,
                        [tensor.detach().clone() for tensor in _held(params, model)],
                    )
                say(line)
            else:
                if not good:
                    say("no epoch was better than the model as it was, which is kept")
            if not good:
                return copy.deepcopy(start)
            _put(params, model, good)
            _rescale(model)
    finally:
        close()
        model.train(mode)
    return model


def trainable(model: nn.Module) -> tuple[dict[str, list[Tensor]], Callable[[], None]]:
    """The float tensors to optimize in `model`, by name of their parameter, and a function that ends the training.

    Until it is called, every read of a compact parameter depends on the floats behind it; it stores them the way the
    parameter is stored, and drops all gradients.
    """
    named = dict(model.named_parameters())
    leaves: dict[str, list[Tensor]] = {name: [tensor] for name, tensor in named.items() if tensor.requires_grad}
    # Compact parameters are known by what they can do: this file is used by their adapter and does not import it.
    compact: dict[str, Any] = {name: tensor for name, tensor in named.items() if hasattr(tensor, "open_")}
    leaves |= {name: tensor.open_() for name, tensor in compact.items()}

    def close() -> None:
        for tensor in compact.values():
            tensor.close_()
        for tensor in (leaf for found in leaves.values() for leaf in found):
            tensor.grad = None

    return leaves, close


def call(model: Any, batch: Any) -> Any:
    """`model` on a batch: a tuple or list of arguments, a dict of named ones, or the one argument."""
    if isinstance(batch, dict):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def _steps(batches: Collection[Any], epochs: int, lr: float, distill: float) -> int:
    if not isinstance(epochs, int) or epochs < 1:
        raise RecpruneError(f"epochs must be 1 or more, got {epochs}")
    if not lr > 0 or not math.isfinite(lr):
        raise RecpruneError(f"lr must be above 0, got {lr}")
    if not 0 <= distill <= 1:
        raise RecpruneError(f"distill must be in [0, 1], got {distill}")
    try:
        steps = len(batches)
    except TypeError:
        raise RecpruneError("retraining needs to know the number of batches; give a list or a DataLoader") from None
    if not steps:
        raise RecpruneError("there are no batches to train on")
    return steps


def _mean_loss(model: nn.Module, batches: Collection[Any], loss: Loss) -> float:
    """Mean over rows: the last batch may be a small one, and of other rows each time."""
    model.eval()
    total, rows = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            total += loss(model, batch).item() * (size := _rows(batch))
            rows += size
    return total / max(rows, 1)


def _rows(batch: Any) -> int:
    """Length of the last tensor that has an axis, which is that of the targets, as a rule; 1 where there is none."""
    return next((len(tensor) for tensor in reversed(_tensors(batch)) if tensor.dim()), 1)


def _shuffled(batches: Collection[Any]) -> Iterator[Any]:
    if not isinstance(batches, Sequence):
        yield from batches
        return
    for i in torch.randperm(len(batches)).tolist():
        yield batches[i]


def _taught(model: nn.Module, teacher: nn.Module, batch: Any, loss: Loss, distill: float) -> Tensor:
    calls: list[tuple[Any, Any, Any]] = []
    handle = model.register_forward_hook(lambda _, *seen: calls.append(seen), with_kwargs=True)
    try:
        value = loss(model, batch)
    finally:
        handle.remove()
    if not calls:
        raise RecpruneError("distillation compares what model(...) gives, but the loss never calls the model itself")
    apart = torch.zeros((), device=value.device)
    for args, kwargs, output in calls:
        with torch.no_grad():
            wanted = teacher(*args, **kwargs)
        for mine, theirs in zip(_floats(output), _floats(wanted), strict=True):
            # In units of the teacher's variance, so that one `distill` serves probabilities and wide logits alike.
            spread = theirs.var(correction=0).clamp(min=1e-6)
            apart = apart + (mine - theirs).square().mean() / spread
    return (1 - distill) * value + distill * apart


def _floats(output: Any) -> list[Tensor]:
    return [tensor for tensor in _tensors(output) if tensor.is_floating_point()]


def _tensors(given: Any) -> list[Tensor]:
    """Every tensor in what a model takes or gives."""
    if isinstance(given, Tensor):
        return [given]
    parts = given.values() if isinstance(given, dict) else given if isinstance(given, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


@torch.no_grad()
def _adam_(params: list[Tensor], moments: dict[Tensor, tuple[Tensor, Tensor]], step: int, rate: float) -> None:
    size = rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    for param in params:
        grad = param.grad
        if grad is None:
            continue
        first, second = moments.setdefault(param, (torch.zeros_like(param), torch.zeros_like(param)))
        if grad.is_sparse:
            grad = grad.coalesce()
            rows, values = grad.indices()[0], grad.values()
            mean, square = first[rows].lerp_(values, 0.1), second[rows].lerp_(values.square(), 0.001)
            first[rows], second[rows] = mean, square
            param.index_add_(0, rows, mean / (square.sqrt() + 1e-8), alpha=-size)
        else:
            first.lerp_(grad, 0.1)
            second.lerp_(grad.square(), 0.001)
            param.addcdiv_(first, second.sqrt().add_(1e-8), value=-size)


def _not_finite(value: Tensor, params: list[Tensor]) -> str:
    if not math.isfinite(value.item()):
        return f"the loss is {value.item()}"
    grads = [param.grad for param in params if param.grad is not None]
    values = [grad._values() if grad.is_sparse else grad for grad in grads]
    return "" if all(bool(torch.isfinite(part).all()) for part in values) else "a gradient is not finite"


def _rescale(model: nn.Module) -> None:
    for tensor in model.parameters():
        if hasattr(tensor, "rescale_"):
            tensor.rescale_()


def _held(params: list[Tensor], model: nn.Module) -> list[Tensor]:
    return [*params, *(buffer for buffer in model.buffers() if type(buffer) is Tensor)]


def _put(params: list[Tensor], model: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        for tensor, value in zip(_held(params, model), values, strict=True):
            tensor.copy_(value)
