"""Make a trained model smaller: read, apply the steps, lay out, rebuild."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recprune.adapters import Adapter, adapter_for
from recprune.artifact import Artifact, contents, lay_out, write
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.recipe import Recipe
from recprune.pruning.step import Step
from recprune.snapshot import Snapshot
from recprune.weights import Weights, in_words

__all__ = ["AROUND", "CompressedModel", "apply", "compress", "pack", "plan"]

AROUND = "manifest, graph and recipe"
"""In `CompressedModel.parts`, what is no parameter and no vocabulary."""


@dataclass(frozen=True, eq=False)
class CompressedModel:
    """What `compress` gives: the smaller model, the artifact, and the plan that says what was done to each part."""

    original: Snapshot
    snapshot: Snapshot
    recipe: Recipe
    adapter: Adapter
    source: Any
    before: Artifact  # of the original, by the same code
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what else the manifest holds: its bytes count

    @cached_property
    def model(self) -> Any:
        """A model of the class that was given, with the smaller weights."""
        return self.adapter.rebuild(self.source, self.snapshot.weights)

    @cached_property
    def artifact(self) -> Artifact:
        """What is shipped."""
        # Bytes now, and how a part is stored, are in the manifest already; why one was left as it was is not.
        lines = {
            line["part"]: [line["bytes_before"]] + [line["how"]] * (line["bytes_after"] in (0, line["bytes_before"]))
            for line in self.plan
        }
        return replace(self._packed, metadata={"plan": lines, **self.metadata})

    @cached_property
    def _packed(self) -> Artifact:
        return pack(self.snapshot, self.recipe)

    @cached_property
    def plan(self) -> list[dict[str, Any]]:
        """One entry for each parameter and vocabulary: bytes before and after, how it is stored or why it is untouched."""
        before, after = self.before, self._packed
        touched: dict[str, list[str]] = {}
        trained: set[str] = set()
        for step in self.recipe.steps:
            for name in step.touches(self.original.weights):
                if step.trains:
                    trained.add(name)
                else:
                    touched.setdefault(name, []).append(step.verb)
        rows: list[dict[str, Any]] = []
        for name, param in self.original.weights.items():
            start = before.weights[name].nbytes if name in before.weights else param.nbytes
            stop = after.weights[name].nbytes if name in after.weights else 0
            if name not in after.weights:
                how = "gone: nothing reads it any more"
            elif stop != start:
                how = in_words(after.weights[name].value)
                left = after.weights[name].shape
                if left != param.shape:  # rows whose ids left the vocabulary, and what was cut from both axes
                    how = f"{' x '.join(f'{n:,}' for n in left)} left: {how}"
            elif name in touched:
                how = f"as it was: {', '.join(touched[name])} did not make it smaller"
            elif name in trained:
                how = "as it was: retrained, and no other step names it"
            else:
                how = "as it was: no step names it"
            shape = list(param.shape)
            rows.append(
                {
                    "part": name,
                    "axes": list(param.axes),
                    "shape": shape,
                    "bytes_before": start,
                    "bytes_after": stop,
                    "how": how,
                }
            )
        for name, vocabulary in before.vocabularies.items():
            start = _stored(vocabulary)
            gone = name not in after.vocabularies
            stop = 0 if gone else _stored(after.vocabularies[name])
            ids = 0 if gone else len(after.vocabularies[name])
            how = f"{ids:,} of {len(vocabulary):,} ids"
            if not gone:
                how += _kept(after.vocabularies[name].spec())
            rows.append(
                {"part": f"ids of {name}", "axes": [name], "shape": [len(vocabulary)], "bytes_before": start,
                 "bytes_after": stop, "how": how}
            )  # fmt: skip
        return rows

    @property
    def size_bytes(self) -> int:
        """Bytes of weights and vocabularies as stored."""
        return int(sum(row["bytes_after"] for row in self.plan))

    @property
    def compression_ratio(self) -> float:
        """Stored bytes of the original over those of this."""
        return float(sum(row["bytes_before"] for row in self.plan)) / max(self.size_bytes, 1)

    def save(self, path: str | Path, metadata: Mapping[str, Any] | None = None) -> dict[str, int]:
        """Write the artifact's directory; give its sizes in bytes.

        Raises what `artifact.write` raises, and RecpruneError where all files together are larger than the original's:
        in a model of few parameters, what says how they are stored can outweigh what a recipe takes away.
        """
        self.check_smaller()
        return write(replace(self.artifact, metadata={**self.artifact.metadata, **(metadata or {})}), path)

    @cached_property
    def parts(self) -> dict[str, int]:
        """Bytes on disk of each parameter and vocabulary, and of all that stands around them."""
        found = {name: param.nbytes for name, param in self.artifact.weights.items()}
        found |= {f"ids of {axis}": _stored(ids) for axis, ids in self.artifact.vocabularies.items()}
        return found | {AROUND: _whole(self.artifact) - sum(found.values())}

    def check_smaller(self) -> None:
        """Raise RecpruneError, with the numbers, where `save` would: before anything is written, of a plan too."""
        saved = sum(line["bytes_before"] for line in self.plan) - self.size_bytes
        # What only trains saves nothing, and is none the worse. What describes a model is counted where it may decide.
        if saved and saved < self.parts[AROUND]:
            start, stop = _whole(self.before), sum(self.parts.values())
            if stop > start:
                raise RecpruneError(f"the recipe makes the artifact larger: {_larger(start, stop)}")


def compress(
    model: Any,
    recipe: Recipe,
    data: Any = None,
    *,
    adapter: Adapter | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> CompressedModel:
    """Make a trained model smaller. The given model is left as it is.

    `model`: a torch module of any origin, or one of recprune's own. `data`: what the model was trained on, in the form
    that its adapter takes: reads of rows are counted on it, and `retrain` needs it. `adapter`: for a foreign model whose
    axes are to be cut, `TorchAdapter(axes=...)` names them. `say`: where progress goes, a line a time.

    Raises RecpruneError for a model of an unknown kind, a target that matches nothing, a step that cannot act on its
    target, a budget that cannot be met, and a recipe that makes the parts of the model larger, all together (with what
    describes them, they are compared where an artifact is written: see `save`).
    """
    _check_kind(recipe)
    adapter = adapter or adapter_for(model)
    original = adapter.read(model)
    result = apply(original, recipe, adapter.context(model, data, seed, say), adapter, model)
    if data is not None:
        adapter.check(model, result.snapshot.weights, data)
    return result


def plan(
    model: Any,
    recipe: Recipe,
    data: Any = None,
    *,
    adapter: Adapter | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> CompressedModel:
    """What `compress` would do, before any training: `.plan` has a line for each part, touched or not and why.

    Takes what `compress` takes. Steps that train are named to `say` and left out: they change values, not bytes. Raises
    what `compress` raises, for a recipe that makes the model larger too.
    """
    _check_kind(recipe)
    adapter = adapter or adapter_for(model)
    return apply(adapter.read(model), recipe, adapter.context(model, data, seed, say), adapter, model, train=False)


def apply(
    original: Snapshot,
    recipe: Recipe,
    context: Context,
    adapter: Adapter,
    model: Any,
    *,
    train: bool = True,
    before: Artifact | None = None,
    metadata: Mapping[str, Any] | None = None,
    run: Callable[[Step, Weights, Context], Weights] = lambda step, weights, context: step(weights, context),
) -> CompressedModel:
    """Run the steps of a recipe over a snapshot that was read before; without `train`, those that train are only named.

    For trying many recipes: `before`, the original as it was packed before, and `run`, which may remember what a step gave.
    `metadata`: what the manifest is to hold beside the plan.
    """
    _check_fingerprint(recipe, original)
    weights, packed = original.weights, before or pack(original, Recipe())

    latest: list[CompressedModel] = []  # what the last step asked the bytes of is what it gives, as a rule

    def made(given: Weights) -> CompressedModel:
        if not latest or latest[0].snapshot.weights is not given:
            small = original.with_weights(given)
            latest[:] = [CompressedModel(original, small, recipe, adapter, model, packed, metadata or {})]
        return latest[0]

    context = replace(context, parts=lambda given: made(given).parts)
    if not train:  # a step that cuts what its training made zero cuts as many without
        context = replace(context, trainer=lambda given, settings, say: given)
    for step in recipe.steps:
        if step.trains and not train:
            context.say(f"not now: {step.describe()}")
            continue
        context.say(step.describe())
        weights = run(step, weights, context)
        _check(step, weights)
    result = made(weights)
    start = sum(line["bytes_before"] for line in result.plan)
    if result.size_bytes > start:
        raise RecpruneError(f"the recipe makes the model larger: {_larger(start, result.size_bytes)}")
    return result


def pack(snapshot: Snapshot, recipe: Recipe, metadata: Mapping[str, Any] | None = None) -> Artifact:
    """The artifact of a snapshot; with an empty recipe it is the original's, written by the same code."""
    laid, vocabularies = lay_out(snapshot, recipe.fingerprint)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # whole ids are compressed when they are first asked for
        list(pool.map(lambda ids: ids.arrays(), vocabularies.values()))
    return Artifact(laid.weights, laid.graph, vocabularies, recipe.to_json(), dict(metadata or {}))


def _kept(spec: Mapping[str, Any]) -> str:
    kinds = {"fingerprint": f", {spec.get('bits')} bits of a hash each", "integer": ", whole: they are numbers"}
    return kinds.get(spec["vocabulary"], "")


def _stored(vocabulary: Any) -> int:
    return int(sum(array.nbytes for array in vocabulary.arrays().values()))


def _check_kind(recipe: Recipe) -> None:
    if not isinstance(recipe, Recipe):
        raise RecpruneError(f"a Recipe is due, which Recipe.from_json makes of JSON or YAML; got {recipe!r}")


def _check_fingerprint(recipe: Recipe, original: Snapshot) -> None:
    for pattern in recipe.fingerprint if isinstance(recipe.fingerprint, Mapping) else ():
        if not any(fnmatchcase(axis, pattern) for axis in original.ids):
            axes = ", ".join(original.ids) or "(none)"
            raise RecpruneError(f"fingerprint {pattern!r} matches no axis with ids; they are: {axes}")


def _whole(artifact: Artifact) -> int:
    return sum(len(content) for content in contents(artifact).values())


def _larger(start: int, stop: int) -> str:
    return f"{stop:,} bytes, {stop / start:.2f} times the {start:,} of the original"


def _check(step: Step, weights: Weights) -> None:
    for name, param in weights.items():
        for part, array in param.value.arrays().items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise RecpruneError(f"{step.verb} left NaN or infinity in {name!r} ({part})")
