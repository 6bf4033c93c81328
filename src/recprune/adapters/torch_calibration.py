"""What running a torch model on the user's batches says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recprune.adapters.modules import groups, inside
from recprune.errors import RecpruneError
from recprune.recovery.seeded import seeded
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["TorchCalibration"]

Array = npt.NDArray[Any]
_BATCHES = 8  # of those given, on which scores are compared


class Data(Protocol):
    """Batches, and how a model is run on one."""

    @property
    def batches(self) -> Collection[Any]:
        """Read once an epoch."""

    @property
    def loss(self) -> Callable[[Any, Any], Tensor] | None:
        """Model and batch to the scalar to minimize."""

    def run(self, model: nn.Module, batch: Any) -> Any:
        """What the model, or its loss, gives for a batch."""


@dataclass(frozen=True, eq=False)
class TorchCalibration:
    """Runs the model that `rebuild` makes of weights on the first batches; gradients are over all of them."""

    rebuild: Callable[[Weights], nn.Module]
    data: Data
    original: Snapshot
    _last: dict[str, Any] = field(default_factory=dict)

    def outputs(self, weights: Weights) -> Mapping[str, Any]:
        """There is no graph whose operations could be run. Raises RecpruneError."""
        raise RecpruneError("a model without a graph cannot be run operation by operation")

    def output(self, weights: Weights, name: str) -> Array:
        """As `outputs`."""
        return np.asarray(self.outputs(weights)[name])

    def scores(self, weights: Weights) -> Array:
        """Every float that the model gives for the first batches, one after the other."""
        found: list[Tensor] = []
        model = self.rebuild(weights).eval()
        model.register_forward_hook(lambda _, __, output: found.extend(_floats(output)))
        self._run(model)
        if not found:
            raise RecpruneError("the model gives no floats for the first batches")
        return torch.cat([part.detach().reshape(-1) for part in found]).cpu().numpy()

    def gradients(self, weights: Weights) -> Mapping[str, Array]:
        """Gradient of the loss, summed over the batches, by the name of each trained parameter."""
        if self.data.loss is None:
            raise RecpruneError(
                "gradients need a loss: give Batches(batches, loss), where loss(model, batch) is a scalar"
            )
        if self._last.get("weights") is not weights:
            model = self.rebuild(weights.decoded()).eval()
            for batch in self.data.batches:
                self.data.loss(model, batch).backward()  # type: ignore[no-untyped-call]
            grads = {group.name: group.tensor.grad for group in groups(model) if group.tensor.grad is not None}
            self._last.update(
                weights=weights, found={name: grad.to_dense().cpu().numpy() for name, grad in grads.items()}
            )
        found: Mapping[str, Array] = self._last["found"]
        return found

    def inputs(self, weights: Weights) -> Mapping[str, Array]:
        """Mean square of each input of an nn.Linear over the first batches, by the name of its matrix."""
        sums: dict[str, tuple[Array, int]] = {}
        model = self.rebuild(weights).eval()

        def seen(name: str, given: Tensor) -> None:
            rows = given.detach().double().reshape(-1, given.shape[-1]).cpu().numpy()
            total, count = sums.get(name, (np.zeros(rows.shape[1]), 0))
            sums[name] = (total + (rows**2).sum(axis=0), count + len(rows))

        for path, module in model.named_modules():
            if isinstance(module, nn.Linear):
                name = f"{path}.weight" if path else "weight"
                module.register_forward_pre_hook(lambda _, given, name=name: seen(name, given[0]))
        self._run(model)
        return {name: total / count for name, (total, count) in sums.items()}

    def _run(self, model: nn.Module) -> None:
        with torch.no_grad(), seeded(0):
            for _, batch in zip(range(_BATCHES), self.data.batches, strict=False):
                self.data.run(model, batch)


def _floats(output: Any) -> list[Tensor]:
    return [value for value in inside([output]) if isinstance(value, Tensor) and value.is_floating_point()]
