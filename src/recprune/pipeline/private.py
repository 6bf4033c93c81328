"""A private original made smaller: which steps read the log again, and so what its epsilon does not cover."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.recipe import Recipe
from recprune.pruning.step import Step
from recprune.weights import Weights

__all__ = ["METRICS", "Watch", "at_most"]

METRICS = "metrics: measured on validation rows"
_ASKED = {
    "scores": "what the model says to validation rows",
    "outputs": "what the model says to validation rows",
    "output": "what the model says to validation rows",
    "inputs": "what the model says to validation rows",
    "gradients": "gradients of training rows",
}
_READS, _USERS = "how often rows are read", "how many users read a row"


class Watch:
    """Runs the steps of a recipe and remembers what each read of the log. Those that train in passing are refused."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}

    def __call__(self, step: Step, weights: Weights, context: Context) -> Weights:
        """The step's weights. Raises RecpruneError for one that asks for the trainer."""

        def see(what: str) -> None:
            self.found[_line(step, what)] = None

        def refuse(*_: Any) -> Weights:
            what = f"{step.verb} trains on the log without noise"
            raise RecpruneError(f"{what}; leave it out of the recipes of a private task")

        trainer: Any = refuse
        calibration: Any = _Calibration(context.calibration, see)
        seen = replace(
            context,
            popularity=_Seen(context.popularity, lambda: see(_READS)),
            users=_Seen(context.users, lambda: see(_USERS)),
            trainer=context.trainer and trainer,
            calibration=context.calibration and calibration,
        )
        return step(weights, seen)


def at_most(recipe: Recipe) -> list[str]:
    """Every line that a recipe's steps could add: room for them is kept where a recipe fits a number of bytes."""
    reads = dict.fromkeys([_READS, _USERS, *_ASKED.values()])
    return list(dict.fromkeys(_line(step, what) for step in recipe.steps for what in reads))


def _line(step: Step, what: str) -> str:
    return f"{step.verb}: {what}"


class _Seen(Mapping[str, Any]):
    """Counts by axis; which axes were counted may be asked freely, their counts are of the log."""

    def __init__(self, given: Mapping[str, Any], see: Callable[[], None]) -> None:
        self.given, self.see = given, see

    def __getitem__(self, axis: str) -> Any:
        self.see()
        return self.given[axis]

    def __contains__(self, axis: object) -> bool:
        return axis in self.given

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)


class _Calibration:
    def __init__(self, given: Any, see: Callable[[str], None]) -> None:
        self._given, self._see = given, see

    def __getattr__(self, name: str) -> Any:
        if name in _ASKED:
            self._see(_ASKED[name])
        return getattr(self._given, name)
