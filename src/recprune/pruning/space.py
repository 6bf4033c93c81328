"""What a search may do to a model: for each part a short ladder of choices, read off its axes and bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from recprune.pruning.budgets import Uniform
from recprune.pruning.methods import (
    Codebook,
    Compensate,
    DropAxis,
    DropFields,
    DropRows,
    FitBytes,
    KeepTop,
    Quantize,
    Retrain,
)
from recprune.pruning.methods.compensate import refittable
from recprune.pruning.recipe import Recipe
from recprune.pruning.step import Step
from recprune.pruning.table_codes import LARGE, PER_WORD, WIDE
from recprune.snapshot import Snapshot
from recprune.weights import Param

__all__ = ["Fit", "Knob", "Space", "space_of"]

Kind = Literal["keep", "width", "code", "bits"]
Fit = Literal["no", "last", "first"]
Settings = Mapping[str, int]
"""The choice of each knob, by name; a knob that is not named stays at 0."""

# The ladders. A new method is one line in one of them, from the mildest to the hardest.
WIDTHS = (0.75, 0.5, 0.35, 0.25)
KEEPS = (0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05, 0.02)
CODES: tuple[Callable[[str], Step], ...] = (
    lambda target: Quantize(target, 8, "per_column"),
    lambda target: Codebook(target, 10),
    lambda target: Quantize(target, 4, "per_column"),
    *(lambda target, bits=bits: Codebook(target, bits) for bits in (9, 8, 7, 6, 5, 4, 3, 2, 1)),
)
# Of wide rows: product quantization from four bits a value down to a half, by columns for each book and its bits; narrow
# ones get the first of these.
PIECES = ((2, 8), (2, 6), (4, 8), (4, 6), (8, 8), (8, 6), (16, 8))
SMALL_CODES: tuple[Callable[[str], Step], ...] = (
    lambda target: Quantize(target, 8, "per_column"),
    lambda target: Quantize(target, 4, "per_column"),
    lambda target: Quantize(target, 2, "per_column"),
)
LAYER_CODES: tuple[Callable[[str], Step], ...] = (
    lambda target: Quantize(target, 8),
    lambda target: Quantize(target, 4),
    lambda target: Quantize(target, 3),
    lambda target: Quantize(target, 2),
)
VECTOR_CODES: tuple[Callable[[str], Step], ...] = (
    lambda target: Quantize(target, 8, "per_tensor"),
    lambda target: Quantize(target, 4, "per_tensor"),
)
# Entries a column that are kept of a square matrix, and their bits.
MATRIX_CODES = (
    *((400, 8), (200, 6), (100, 6), (64, 5), (32, 5), (24, 5), (16, 5), (12, 5), (9, 5), (7, 5)),
    *((6, 4), (5, 4), (4, 4), (3, 4), (2, 4)),
)
_ENTRIES = 1_000_000  # of a matrix: more take long to refit, and where there are many columns a few of each are enough
BITS = (14, 12, 10, 9, 8, 7, 6, 5, 4)
_SMALL = 0.002  # share of all bytes below which tables are coded alike
_WIDTH_RATE = 0.004  # a model with a width cut is far from where it was, and does not get back at the usual rate
# An axis runs through the model, and is more than columns of one table, where half of it saves this share of all bytes
# beside what it saves in the largest of its parameters.
_THROUGH = 0.01


@dataclass(frozen=True)
class Knob:
    """One choice. `part`: the parameter (or several, joined by commas) or the axis of ids that it is about.

    `choices`: the first, None, leaves the part as it is. `keep`: which rows stay, the last choice dropping the whole block.
    `width`: how much stays of an axis that runs through the model (`part` is its pattern). `code`: how values are stored.
    `bits`: of the hash of an id. `axis`: the ids of the rows, where there are any.
    """

    kind: Kind
    part: str
    choices: tuple[Step | int | None, ...]
    axis: str = ""

    @property
    def name(self) -> str:
        """Unique in a space."""
        return f"{self.kind} {self.part}"


@dataclass(frozen=True)
class Space:
    """Recipes that a search may try: one choice of each knob.

    `layers`: whether there are any that `compensate` refits. `small`: axes of ids that tables without a knob of rows have.
    """

    knobs: tuple[Knob, ...]
    layers: bool = False
    small: frozenset[str] = frozenset()

    def recipe(self, settings: Settings, retrain: int = 0, fit: Fit = "no", size: int = 0) -> Recipe:
        """The recipe: what goes goes first, then up to `retrain` epochs (twice that where a width was cut), then values are
        coded, then ids are hashed.

        `fit`: whether codes are left to `fit_bytes`, and rows too where nothing was retrained before, so that the artifact
        takes at most `size` bytes. `last`: after all that; where nothing is retrained layers are refitted then. `first`: of
        the whole model, of whose settings the hashes of ids alone count; what is coded is retrained, or its layers refitted.
        """
        chosen = {knob: knob.choices[settings.get(knob.name, 0)] for knob in self.knobs}
        gone = {knob.part for knob, choice in chosen.items() if isinstance(choice, DropFields)}
        # The columns of a block that is dropped are gone with it.
        gone |= {field for choice in chosen.values() if isinstance(choice, DropFields) for field in choice.fields}
        widths = [c for k, c in chosen.items() if isinstance(c, DropAxis) and k.part not in gone]
        keep = [*widths, *(c for k, c in chosen.items() if k.kind == "keep" and isinstance(c, Step))]
        code = [c for k, c in chosen.items() if k.kind == "code" and isinstance(c, Step) and k.part not in gone]
        # An axis none of whose tables stays has no ids.
        stay = {k.axis for k, c in chosen.items() if k.kind == "keep" and not isinstance(c, DropFields)} | self.small
        none = {k.axis for k in self.knobs if k.kind == "keep"} - stay if fit != "first" else set()
        bits = {k.part: choice for k, choice in chosen.items() if isinstance(choice, int) and k.part not in none}
        how = {"epochs": 2 * retrain, "lr": _WIDTH_RATE} if widths else {"epochs": retrain}
        middle = [Retrain(**how)] if retrain else []
        refit = [Compensate()] if self.layers and not retrain else []
        if fit == "first":
            # From the original's scores alone: codes have no room to learn the labels anew.
            after = [Retrain(retrain, distill=1.0)] if retrain else refit
            return Recipe((FitBytes(size), *after), bits or None)
        if fit == "last":
            gone_first = _together([step for step in keep if retrain or isinstance(step, DropFields | DropAxis)])
            return Recipe((*gone_first, *middle, FitBytes(size), *refit), bits or None)
        return Recipe((*_together(keep), *middle, *_together(code)), bits or None)


def space_of(snapshot: Snapshot) -> Space:
    """The space of a model, read off its parameters: tables of ids, small tables, layers, square matrices, widths, ids."""
    knobs = [*_widths(snapshot), *_knobs(snapshot)]
    answers = snapshot.graph.items if snapshot.graph is not None else None
    for axis in snapshot.ids:
        if axis != answers:
            knobs.append(Knob("bits", axis, (None, *BITS), axis))
    small = {axis for p in snapshot.weights.values() for axis in p.axes[:1] if _is_small(snapshot, p)}
    return Space(tuple(knobs), refittable(snapshot), frozenset(small))


def _widths(snapshot: Snapshot) -> Iterator[Knob]:
    """Axes that run through the model: the one of tables that saves most, and those inside of layers together."""
    weights = snapshot.weights
    classes = snapshot.graph.classes if snapshot.graph is not None else None  # what is answered is not cut
    rows = {param.axes[0] for param in weights.values() if param.protected}
    tables = {axis for param in weights.values() if param.protected for axis in param.axes[1:]}
    # Of axes one within the other (heads, and what is in a head) the inner.
    inner = {atom.rpartition("*")[2] for param in weights.values() for axis in param.axes for atom in axis.split("+")}
    worth = {}
    for axis, names in weights.atoms().items():
        if axis in inner - rows and (classes is None or weights.sizes[axis] != len(classes)):
            half = weights.cut(axis, np.arange(weights.sizes[axis] // 2))
            saved = sorted(weights[name].nbytes - half[name].nbytes for name in names)
            worth[axis] = sum(saved[:-1]) / max(weights.nbytes, 1)
    through = [axis for axis, share in worth.items() if share >= _THROUGH]
    own = max((axis for axis in through if axis in tables), key=lambda axis: worth[axis], default="")
    inside = ",".join(axis for axis in through if axis not in tables)
    for part in filter(None, (own, inside)):
        yield Knob("width", part, (None, *(DropAxis(part, keep) for keep in WIDTHS)))


def _knobs(snapshot: Snapshot) -> Iterator[Knob]:
    weights = snapshot.weights
    small, layers, vectors = [], [], []
    for name, param in weights.items():
        if len(param.shape) == 1 and not param.protected:
            vectors.append(name)
        elif len(param.shape) != 2:
            continue
        elif param.axes[0] == param.axes[1] and param.protected:
            kept = [(n, bits) for n, bits in MATRIX_CODES if n * param.shape[1] <= _ENTRIES and n < param.shape[0]]
            yield Knob("code", name, (None, *(KeepTop(name, n, bits=bits) for n, bits in kept)))
        elif not param.protected:
            layers.append(name)
        elif _is_small(snapshot, param):
            small.append(name)
        else:
            if param.axes[0] in snapshot.ids:
                yield Knob("keep", name, (None, *_keeps(name, param)), param.axes[0])
            yield Knob("code", name, _table_codes(name, param), param.axes[0] if param.axes[0] in snapshot.ids else "")
    if sum(weights[name].nbytes for name in vectors) < _SMALL * weights.nbytes:
        vectors = []
    for names, codes in ((small, SMALL_CODES), (layers, LAYER_CODES), (vectors, VECTOR_CODES)):
        if names:
            yield Knob("code", ",".join(names), _ladder(codes, ",".join(names)))


def _is_small(snapshot: Snapshot, table: Param) -> bool:
    return bool(table.protected) and table.nbytes < _SMALL * snapshot.weights.nbytes


def _ladder(codes: Sequence[Callable[[str], Step]], target: str) -> tuple[Step | None, ...]:
    return (None, *(code(target) for code in codes))


def _table_codes(name: str, param: Param) -> tuple[Step | None, ...]:
    mildest, *others = CODES
    rows, width = param.shape
    ladder = PIECES if width >= WIDE else PIECES[: int(width > PIECES[0][0])]
    pieces = [Codebook(name, bits, math.ceil(width / columns)) for columns, bits in ladder]
    large = [Codebook(name, LARGE)] if rows >= PER_WORD << LARGE else []
    return (None, mildest(name), *pieces, *large, *(code(name) for code in others))


def _keeps(name: str, param: Param) -> Iterator[Step]:
    # Statistics that were counted from labels are ranked by reads alone: see `expected_loss`.
    for importance in ("expected_loss", "popularity") if param.trained else ("popularity",):
        yield from (DropRows(name, Uniform(keep), importance) for keep in KEEPS)
    if param.axes[1]:
        yield DropFields(tuple(param.axes[1].split("+")))


def _together(steps: Sequence[Step]) -> list[Step]:
    """Steps that differ in their target only as one; fields that go as one."""
    fields = tuple(field for step in steps if isinstance(step, DropFields) for field in step.fields)
    widths = [step for step in steps if isinstance(step, DropAxis)]
    groups: dict[str, list[Any]] = {}
    for step in steps:
        if not isinstance(step, DropFields | DropAxis):
            groups.setdefault(str(replace(step, target="").to_json()), []).append(step)  # type: ignore[call-arg]
    merged = [replace(group[0], target=",".join(step.target for step in group)) for group in groups.values()]
    return [*([DropFields(fields)] if fields else []), *widths, *merged]
