"""What a step may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["ByClass", "Calibration", "Context", "Trainer"]


class Trainer(Protocol):
    """Retrains weights; adapters give one where the framework of the model can."""

    def __call__(self, weights: Weights, settings: Mapping[str, Any], say: Callable[[str], None]) -> Weights:
        """Weights of the same shapes and encodings, better on the training data."""


class Calibration(Protocol):
    """What running the model on the user's data says; adapters give one, and nothing is run before it is asked for."""

    @property
    def original(self) -> Snapshot:
        """The model as it was, with the graph of what it computes where there is one."""

    def outputs(self, weights: Weights) -> Mapping[str, Any]:
        """What each operation of the graph gives with these weights for the calibration rows, by its name."""

    def output(self, weights: Weights, name: str) -> npt.NDArray[Any]:
        """What the operation of that name gives; nothing behind it is run."""

    def scores(self, weights: Weights) -> npt.NDArray[Any]:
        """What the model with these weights gives for the calibration rows."""

    def gradients(self, weights: Weights) -> Mapping[str, npt.NDArray[Any]]:
        """Gradient of the training loss, summed over the training rows, by the name of each trained parameter."""

    def inputs(self, weights: Weights) -> Mapping[str, npt.NDArray[Any]]:
        """Mean square of each input of a linear layer over the calibration rows, by the name of its matrix."""


@dataclass(frozen=True, eq=False)
class ByClass:
    """How many training rows of each class hold each row of an axis, (rows, classes), and how many there are, (classes,)."""

    reads: npt.NDArray[Any]
    sizes: npt.NDArray[Any]


@dataclass(frozen=True)
class Context:
    """What a step may look at beside the weights.

    `popularity`: how often each row of an axis was read in training, by axis name (the out-of-vocabulary row last).
    `by_class`: the same by class, where the data has labels of classes, by axis name.
    `users`: how many distinct users' rows did so: what a row was learned from. A user's own row rests on one.
    `gram`: items x items products of the training matrix, for closed-form refits of item-item models.
    `trainer`: how to retrain. `calibration`: the model run on data; `labels`: what is true of each of its rows, (rows,
    outputs), where the adapter knows. `parts`: bytes on disk of each part of the
    artifact that weights would give: parameters, vocabularies, and the files around them. `say`: where progress goes,
    one line a time. `given`: where data was given, the kind of model in words, such as `a model in closed form`: what is not
    here then, no data brings.
    """

    popularity: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    by_class: Mapping[str, ByClass] = field(default_factory=dict)
    users: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, kw_only=True)
    gram: npt.NDArray[Any] | None = None
    trainer: Trainer | None = None
    calibration: Calibration | None = None
    labels: npt.NDArray[Any] | None = None
    parts: Callable[[Weights], Mapping[str, int]] | None = None
    seed: int = 0
    say: Callable[[str], None] = lambda line: None
    given: str = ""

    def lacks(self, need: str, why: str, advice: str) -> RecpruneError:
        """The error of what needs more than is here: `why` goes on about the kind of model, `advice` is to give data.

        >>> str(Context(given="a model in closed form").lacks("retrain needs a loss", "has none", "give data"))
        'retrain needs a loss; data was given, but a model in closed form has none'
        """
        return RecpruneError(f"{need}; data was given, but {self.given} {why}" if self.given else f"{need}; {advice}")

    def reads(self, axis: str, rows: int) -> npt.NDArray[np.float64]:
        """Reads of each row of `axis`; RecpruneError where they were not counted."""
        return self._counted("reads", self.popularity, axis, rows)

    def users_of(self, axis: str, rows: int) -> npt.NDArray[np.float64]:
        """Distinct users that each row of `axis` rests on; RecpruneError where they were not counted."""
        return self._counted("users", self.users, axis, rows)

    def shares(self, axis: str, rows: int) -> npt.NDArray[np.float64]:
        """Reads of each row where they were counted and there are any; else every row counts alike."""
        counts = self.reads(axis, rows) if axis in self.popularity else np.zeros(rows)
        return counts if counts.sum() > 0 else np.ones(rows)

    def _counted(
        self, what: str, found: Mapping[str, npt.NDArray[Any]], axis: str, rows: int
    ) -> npt.NDArray[np.float64]:
        if axis not in found:
            known = ", ".join(sorted(found)) or "none"
            need = f"no {what} were counted for axis {axis!r} (counted: {known})"
            raise self.lacks(need, "has none of it", "give data to count them")
        counts = np.asarray(found[axis], dtype=np.float64)
        if counts.shape != (rows,):
            raise RecpruneError(f"{what} of axis {axis!r} have shape {counts.shape}, the axis has {rows} rows")
        if not (np.isfinite(counts).all() and (counts >= 0).all()):
            raise RecpruneError(f"{what} of axis {axis!r} must be counts, some are negative, NaN or infinite")
        return counts
