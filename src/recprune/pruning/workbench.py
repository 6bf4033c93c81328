"""A model, what may be done to it, and how one recipe is judged: what every process of a search has."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recprune.adapters import Adapter
from recprune.artifact import Artifact, lay_out, read, write
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.evaluation import differences, parse_metric
from recprune.files import read_sealed, remove_directory, write_sealed
from recprune.judge import Judge
from recprune.pruning.compress import AROUND, CompressedModel, apply, pack
from recprune.pruning.estimate import Estimate, Tradeoff, measure
from recprune.pruning.methods import Compensate, FitBytes
from recprune.pruning.recipe import Recipe
from recprune.pruning.space import space_of
from recprune.pruning.step import Step
from recprune.weights import Weights

__all__ = ["Workbench"]

_RESAMPLES = 200
_FORMAT = 3  # of what is stored of a trial


class Workbench:
    """A model that was read and packed once, and the original's answers on validation.

    `signs`: of each metric, 1 where higher is better, else -1. `values`: of the original. `fits`: whether `fit_bytes` can
    act on it.
    """

    def __init__(
        self, model: Any, data: Any, judge: Judge, folder: Path, adapter: Adapter, epochs: int, seed: int
    ) -> None:
        self.model, self.folder, self.adapter = model, folder, adapter
        # Choices are measured on one half of the users, and recipes made of them judged on the other.
        self.probe, self.judge = judge.halves()
        self.snapshot = adapter.read(model)
        if self.snapshot.graph is None:
            raise RecpruneError(
                f"a search scores artifacts, and that of a {type(model).__name__} holds weights only; "
                "give `compress` a recipe"
            )
        self.space = space_of(self.snapshot)
        self.context: Context = adapter.context(model, data, seed, lambda line: None)
        self.original = pack(self.snapshot, Recipe())
        self.base, self.base_probe = self.judge.predict(self.original), self.probe.predict(self.original)
        self.metric = judge.metrics[0]
        self.signs = {m: 1.0 if parse_metric(m).higher_is_better else -1.0 for m in judge.metrics}
        self.values = {m: _value(self.judge, m, self.base) for m in judge.metrics}
        # `fit_bytes` has tables of ids to choose rows and bits for.
        tables = any(knob.kind == "keep" for knob in self.space.knobs)
        self.fits = tables and self.context.calibration is not None
        choices = [[c.to_json() if isinstance(c, Step) else c for c in knob.choices] for knob in self.space.knobs]
        asked = json.dumps([_FORMAT, choices, list(judge.metrics), epochs, seed]).encode()
        # Another model, other rows or other choices are another search.
        self.key = hashlib.sha256(asked + np.ascontiguousarray(self.base).tobytes()).hexdigest()[:12]
        self._memory: dict[tuple[str, int], tuple[Any, Any]] = {}

    @cached_property
    def around(self) -> int:
        """Bytes of the artifact beside its parameters and vocabularies."""
        parts = apply(self.snapshot, Recipe(), self.context, self.adapter, self.model, before=self.original).parts
        return parts[AROUND]

    def original_bytes(self) -> int:
        """Bytes of the original as it would ship, written by the same code."""
        target = self.folder / "original"
        size = write(self.original, target)["disk_bytes"]
        remove_directory(target)
        return size

    def size_at(self, price: float) -> int:
        """Bytes of the artifact that is best at a price of a byte, as far as estimates go."""
        return self.tradeoff.best(price, {})[0] + self.around

    def judged(self, recipe: Recipe, name: str) -> dict[str, Any]:
        """Apply a recipe, write its artifact to `name` in the folder, and judge what comes back from the disk: JSON."""
        size = self._made(recipe).save(self.folder / name)
        artifact = read(self.folder / name)
        start = time.perf_counter()
        answers = self.judge.predict(artifact)
        us = (time.perf_counter() - start) / max(self.judge.requests, 1) * 1e6
        found = differences(self.judge.truth, self.base, {name: answers}, self.judge.metrics, resamples=_RESAMPLES)
        intervals = {metric: asdict(interval) for metric, interval in found[name].items()}
        answers = self.probe.predict(artifact)
        others = {m: _value(self.probe, m, answers) - _value(self.probe, m, self.base_probe) for m in intervals}
        return {
            "disk_bytes": size["disk_bytes"],
            "differences": intervals,
            "others": others,
            "us": us,
            "folder": name,
        }

    def restore(self, recipe: Recipe, name: str, say: Callable[[str], None]) -> None:
        """Write an artifact again that is not there: it was no longer among the best, was deleted, or is damaged."""
        try:
            read(self.folder / name)
        except RecpruneError:
            say(f"making {name} again")
            remove_directory(self.folder / name)
            self._made(recipe).save(self.folder / name)

    def _made(self, recipe: Recipe) -> CompressedModel:
        return apply(
            self.snapshot, recipe, self.context, self.adapter, self.model, before=self.original, run=self._remembered
        )

    @cached_property
    def tradeoff(self) -> Tradeoff:
        """The best settings as far as drops add up, from what `measure` found."""
        return Tradeoff(self.space, {name: Estimate(**of) for name, of in self._stored().items()}, self.context)

    def measure(self, stop: float, say: Callable[[str], None]) -> None:
        """Every choice alone. Kept in a file, so that a kill costs one knob.

        Raises RecpruneError where the monotonic clock reaches `stop` before all is measured.
        """
        if self.measured:
            return
        stored, knobs = self._stored(), self.space.knobs
        quick = self.probe.quick(self.snapshot)
        base = quick(self.snapshot.weights)

        def lost(weights: Weights) -> tuple[float, float]:
            answers = quick(weights)
            return self._drop(base, answers), self.probe.moved(base, answers)

        def hashed(axis: str, bits: int) -> tuple[float, float]:
            laid, vocabularies = lay_out(self.snapshot, {axis: bits})
            answers = self.probe.predict(Artifact(laid.weights, laid.graph, vocabularies))
            return self._drop(base, answers), self.probe.moved(base, answers)

        for i, knob in enumerate(knobs):
            if knob.name in stored:
                continue
            if time.monotonic() > stop:
                raise RecpruneError(
                    f"the time limit ended before every part was measured ({i} of {len(knobs)}); what was measured is "
                    "kept, the same command goes on from there"
                )
            parts = [knob.part for knob in knobs]
            weights, step = self.snapshot.weights, self._remembered
            found = measure(self.original, weights, knob, self.context, step, lost, hashed, parts)
            stored[knob.name] = asdict(found)
            write_sealed(self._measured, stored)
            say(f"measured {i + 1}/{len(knobs)} alone: {knob.name}")

    @property
    def measured(self) -> bool:
        """Whether every choice was measured."""
        return len(self._stored()) == len(self.space.knobs)

    @property
    def _measured(self) -> Path:
        return self.folder / f"alone-{self.key}.json"

    def _stored(self) -> dict[str, Any]:
        found = read_sealed(self._measured) or {}  # not there, or damaged: it is measured again
        return {name: of for name, of in found.items() if name != "sha256"}

    def _drop(self, base: Any, answers: Any) -> float:
        """How much worse the leading metric is; what gets better counts less one standard error, as long as any is left."""
        before, after = (_value(self.probe, self.metric, given) for given in (base, answers))
        drop = self.signs[self.metric] * (before - after)
        if drop >= 0:
            return drop
        found = differences(self.probe.truth, base, {"": answers}, (self.metric,), resamples=_RESAMPLES)
        return min(0.0, drop + found[""][self.metric].error)

    def _remembered(self, step: Step, weights: Weights, context: Context) -> Weights:
        """A step, each of its targets from memory where the same was done to the same values before."""
        together = isinstance(step, FitBytes | Compensate)  # what is done to one target depends on the others
        if together or not hasattr(step, "target"):
            return step(weights, context)
        for name in weights.match(step.target):
            one: Step = replace(step, target=name)  # type: ignore[call-arg]
            value = weights[name].value
            key = (str(one.to_json()), id(value))
            if key not in self._memory:
                # The value is kept beside the result: its id must not become another's.
                self._memory[key] = (value, one(weights, context)[name].value)
            weights = weights.replace(name, self._memory[key][1])
        return weights


def _value(judge: Judge, metric: str, answers: Any) -> float:
    truth: Any = judge.truth
    statistic = truth.statistic(parse_metric(metric), truth.check(answers))
    return float(statistic(np.ones((1, truth.n_users)))[0])
