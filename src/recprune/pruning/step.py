"""What a step is, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError, unknown
from recprune.weights import Weights

__all__ = ["Context", "Step", "Trainer"]


class Trainer(Protocol):
    """Retrains weights; adapters give one where the framework of the model can."""

    def __call__(self, weights: Weights, settings: Mapping[str, Any], say: Callable[[str], None]) -> Weights:
        """Weights of the same shapes and encodings, better on the training data."""


@dataclass(frozen=True)
class Context:
    """What a step may look at beside the weights.

    `popularity`: how often each row of an axis was read in training, by axis name (the out-of-vocabulary row last).
    `gram`: items x items products of the training matrix, for closed-form refits of item-item models.
    `trainer`: how to retrain. `say`: where progress goes, one line a time.
    """

    popularity: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    gram: npt.NDArray[Any] | None = None
    trainer: Trainer | None = None
    seed: int = 0
    say: Callable[[str], None] = lambda line: None

    def reads(self, axis: str, rows: int) -> npt.NDArray[np.float64]:
        """Reads of each row of `axis`; RecpruneError where they were not counted."""
        if axis not in self.popularity:
            known = ", ".join(sorted(self.popularity)) or "none"
            raise RecpruneError(f"no reads were counted for axis {axis!r}; give data to count them (counted: {known})")
        counts = np.asarray(self.popularity[axis], dtype=np.float64)
        if counts.shape != (rows,):
            raise RecpruneError(f"reads of axis {axis!r} have shape {counts.shape}, the axis has {rows} rows")
        return counts


@dataclass(frozen=True)
class Step:
    """One thing done to weights. Subclasses are frozen dataclasses whose fields are their JSON.

    A step never changes its input. It is registered by its `verb`, the key in a recipe's YAML.
    """

    verb: ClassVar[str] = ""

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
