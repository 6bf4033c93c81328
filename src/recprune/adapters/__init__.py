"""From a trained model to named weights, and back to a smaller model of the same class."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from recprune.errors import RecpruneError

if TYPE_CHECKING:
    from recprune.pruning.compress import Adapter

__all__ = ["adapter_for"]

# By the qualified name of a class, so that a framework is imported only with a model of its own in hand.
_ADAPTERS = {
    "torch.nn.modules.module.Module": "recprune.adapters.torch:TorchAdapter",
}


def adapter_for(model: object, axes: Mapping[str, tuple[str, ...]] | None = None) -> Adapter:
    """The adapter of the nearest class of `model` that has one, with the names of axes that the user declares.

    Raises RecpruneError where no class has one.
    """
    for cls in type(model).__mro__:
        found = _ADAPTERS.get(f"{cls.__module__}.{cls.__qualname__}")
        if not found:
            continue
        module, name = found.split(":")
        make: Any = getattr(import_module(module), name)
        if axes and "axes" not in getattr(make, "__dataclass_fields__", {}):
            raise RecpruneError(f"the axes of a {type(model).__name__} are known; leave axes out")
        adapter: Adapter = make(axes=axes) if axes else make()
        return adapter
    known = ", ".join(sorted(_ADAPTERS))
    raise RecpruneError(
        f"no adapter for {type(model).__module__}.{type(model).__qualname__}; adapters are for: {known}"
    )
