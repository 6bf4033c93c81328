"""From a trained model to named weights, and back to a smaller model of the same class."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.pruning.step import Trainer
from recprune.weights import Weights

__all__ = ["Adapter", "adapter_for"]

# By the qualified name of a class, so that a framework is imported only with a model of its own in hand.
_ADAPTERS = {
    "torch.nn.modules.module.Module": "recprune.adapters.torch:TorchAdapter",
}


class Adapter(Protocol):
    """What `compress` needs to know of a model."""

    def read(self, model: Any) -> Weights:
        """The model's arrays; the model is not changed."""

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A model of the same class and calls with these weights; the given one is not changed."""

    def context(self, model: Any, data: Any) -> tuple[Mapping[str, npt.NDArray[np.int64]], Trainer | None]:
        """Reads of each row by axis, and how to retrain, from the data that was given."""


def adapter_for(model: object) -> Adapter:
    """The adapter of the nearest class of `model` that has one. Raises RecpruneError where none has."""
    for cls in type(model).__mro__:
        found = _ADAPTERS.get(f"{cls.__module__}.{cls.__qualname__}")
        if found:
            module, name = found.split(":")
            adapter: Adapter = getattr(import_module(module), name)()
            return adapter
    known = ", ".join(sorted(_ADAPTERS))
    raise RecpruneError(
        f"no adapter for {type(model).__module__}.{type(model).__qualname__}; adapters are for: {known}"
    )
