"""What a step is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.weights import Weights

__all__ = ["Step"]


@dataclass(frozen=True)
class Step:
    """One thing done to weights. Subclasses are frozen dataclasses whose fields are their JSON.

    A step never changes its input. It is registered by its `verb`, the key in a recipe's YAML. One that `trains` changes
    values and no bytes, so that a plan can be made without it.
    """

    verb: ClassVar[str] = ""
    trains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("target", "axis"):
            if not isinstance(getattr(self, name, ""), str):
                raise RecpruneError(f"{self.verb}: {name} must be a pattern of names, got {getattr(self, name)!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """The smaller weights. Raises RecpruneError for a target that it cannot act on."""
        raise NotImplementedError

    def touches(self, weights: Weights) -> list[str]:
        """Names of the parameters that the step acts on; by default those that its `target` matches."""
        return weights.match(self.target) if hasattr(self, "target") else list(weights)

    def describe(self) -> str:
        """The step in words, for the report."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """`{verb: {field: value}}`; `from_json` gives an equal step."""
        return {self.verb: {f.name: _plain(getattr(self, f.name)) for f in fields(self)}}

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> Self:
        """Build from the fields of a recipe; an unknown one is named with the nearest known one."""
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                raise unknown(f"field of {cls.verb}", str(name), names)
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
        except TypeError as error:
            raise RecpruneError(f"{cls.verb}: {error}") from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
