"""Retrain what is left."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import ClassVar

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import Step
from recprune.weights import Weights

__all__ = ["Retrain"]


@dataclass(frozen=True)
class Retrain(Step):
    """Train the smaller model for up to `epochs`, keeping the state that was best on validation.

    `distill`: weight, in [0, 1], of the original's scores as soft labels beside the labels themselves (Hinton et al.
    2015). `lr`: learning rate. Where no epoch was better than none, the weights come back unchanged.

    After `quantize` this is quantization-aware training: scores and losses are those of the codes, and gradients pass to
    the floats behind them (straight-through: Bengio et al. 2013). Of codebooks the words are trained, each by all rows
    that have it, which stay with it (trained quantization: Han et al. 2016); sparse matrices stay as they are. What is
    coded takes best to `distill: 1`, the original's scores alone: it has no room to learn the labels anew.
    """

    verb: ClassVar[str] = "retrain"
    trains: ClassVar[bool] = True
    epochs: int = 2
    lr: float = 2e-3
    distill: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.epochs) is not int or self.epochs < 1:
            raise RecpruneError(f"epochs must be a positive whole number, got {self.epochs!r}")
        if not 0 < self.lr < math.inf:
            raise RecpruneError(f"lr must be above 0, got {self.lr!r}")
        if not 0 <= self.distill <= 1:
            raise RecpruneError(f"distill must be in [0, 1], got {self.distill!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Hand the weights to the model's trainer."""
        if context.trainer is None:
            raise context.lacks(
                "retrain needs training data and a loss",
                "is not trained by gradients; leave retrain out",
                "give data to compress, or leave retrain out",
            )
        return context.trainer(weights, asdict(self), context.say)

    def touches(self, weights: Weights) -> list[str]:
        """Every trained parameter."""
        return [name for name, param in weights.items() if param.trained]

    def describe(self) -> str:
        """In words."""
        how = f", with the original's scores as {100 * self.distill:.0f} % of the labels" if self.distill else ""
        return f"retrain for up to {self.epochs} epochs{how}"
