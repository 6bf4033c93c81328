"""Make a whole model fit into so many bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.artifact import described_bytes
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.choices import Choices
from recprune.pruning.effects import Effects
from recprune.pruning.protected_rows import as_they_were
from recprune.pruning.step import Step
from recprune.pruning.table_codes import MOST
from recprune.pruning.table_costs import TableCosts
from recprune.weights import Dense, Encoding, Granularity, LowRank, Param, Quantized, Weights

__all__ = ["FitBytes"]

Array = npt.NDArray[np.float64]
_Describe = Callable[[str, Encoding], int]
_KEEPS = (1, 0.85, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25, 0.2, 0.16, 0.13, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.0)
_HEAD = 0.5  # of all reads fall on the rows that are the head of an axis
_WORTH = 0.001  # of the bound: a vector that takes less is left as it is
_RANKS = (2, 4, 8)  # columns of a layer for each that stays
_UNREAD = 0.25  # reads that a row has beside those counted: one that was never read may be


@dataclass(frozen=True)
class FitBytes(Step):
    """Choose rows, columns and bits for each target so that the artifact, all its files together, takes at most `bytes`.

    For each table every way to store it (which rows, how many bits of what code, how many directions in place of columns;
    one code for all rows, or one for those on which half of the reads fall and one for the others) has a squared error,
    weighted by reads and by how much each direction counts for the scores (see `Effects`); three measured cuts, one of
    rows and two of bits, turn it into a change of the scores. Matrices, of fewer bits or columns, and vectors are measured
    themselves. The changes add up as if parts were independent, and the least sum that fits is found exactly (see
    `Choices`). Rows of an axis that several tables share are ranked together: an id that all of them drop leaves the
    vocabulary. The bound is hard: it is checked against the artifact. Where no artifact is known (the step is called by
    itself) it bounds the weights.

    No label is used, and nothing is trained. Source: Lagrangian bit allocation, Shoham and Gersho 1988; measured
    sensitivity, Dong et al. 2019 (HAWQ).
    """

    verb: ClassVar[str] = "fit_bytes"
    bytes: int
    target: str = "*"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.bytes) is not int or self.bytes < 1:
            raise RecpruneError(f"bytes must be a positive whole number, got {self.bytes!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Measure, choose, store; where the estimates miss the bound it is tightened, down to the smallest way."""
        names = weights.match(self.target)
        now = _parts(weights, context)
        if sum(now.values()) <= self.bytes:
            return weights
        if context.calibration is None:
            raise context.lacks(
                "fit_bytes measures what each part is worth",
                "is not run on it; set rows and bits by drop_rows, keep_top and quantize",
                "give data to compress",
            )
        groups = _groups(weights, names, context, now, self.bytes * _WORTH)

        def store(picks: npt.NDArray[np.int64]) -> tuple[int, Weights]:
            fitted, start = weights, 0
            for group in groups:
                stop = start + group.parts
                fitted, start = group.store(fitted, picks[start:stop]), stop
            return sum(_parts(fitted, context).values()), fitted

        least: list[tuple[int, Weights]] = []
        # The manifest and headers grow by what describes each code: in a large model nothing, in a small one most of it.
        # It is counted where the bound is missed without.
        for described in (False, True):
            total = Choices.fixed(sum(now.values()) - sum(group.whole for group in groups))
            for group in groups:
                total = total + group.choices(described)
            limit = self.bytes
            while (found := total.best(limit)) is not None:
                size, picks = found
                whole, fitted = store(picks)
                if whole <= self.bytes:
                    return fitted
                # Estimates vary with the hashes of ids, and miss what is not counted.
                limit = size - (whole - self.bytes)
            least.append(store(total.picks[0]))
        size, fitted = min(least, key=lambda way: way[0])
        if size <= self.bytes:
            return fitted
        # The bound itself stands in the recipe, whose length stands in the manifest.
        size += 2 * (len(str(size)) - len(str(self.bytes))) * (context.parts is not None)
        raise RecpruneError(f"{self.bytes:,} bytes cannot be met: the smallest reachable is {size:,}")

    def describe(self) -> str:
        """In words."""
        ways = f"rows, columns and bits of {self.target} by their effect on the scores"
        return f"fit the artifact into {self.bytes:,} bytes: {ways}"


def _parts(weights: Weights, context: Context) -> Mapping[str, int]:
    if context.parts is not None:
        return context.parts(weights)
    return {name: param.nbytes for name, param in weights.items()}


@dataclass(frozen=True, eq=False)
class _Group:
    """Parts that are chosen together: their bytes now, how many, what they can be, and how a choice is carried out.

    `choices(True)` counts what describes them too, beyond what describes them now.
    """

    whole: int
    parts: int
    choices: Callable[[bool], Choices]
    store: Callable[[Weights, npt.NDArray[np.int64]], Weights]


def _groups(weights: Weights, names: list[str], context: Context, now: Mapping[str, int], worth: float) -> list[_Group]:
    tables: dict[str, list[str]] = {}
    groups = []
    assert context.calibration is not None
    effects = Effects(weights, context.calibration.scores)

    def describe(name: str, value: Encoding) -> int:
        # Without an artifact nothing is described. Protected rows stay the same ones.
        return described_bytes(name, replace(weights[name], value=value, protected=())) if context.parts else 0

    for name in names:
        param = weights[name]
        if 0 in param.shape or name not in now:
            continue
        if len(param.shape) == 2 and param.axes[0] in context.popularity:
            tables.setdefault(param.axes[0], []).append(name)
        elif len(param.shape) == 2 and isinstance(param.value, Dense):
            groups.append(_coded(name, param, (8, 4, 3, 2), effects, describe))
        elif len(param.shape) == 1 and isinstance(param.value, Dense) and param.nbytes >= worth:
            groups.append(_coded(name, param, (8, 4), effects, describe))
    return groups + [_axis(weights, axis, found, context, now, effects, describe) for axis, found in tables.items()]


def _coded(name: str, param: Param, bits: Sequence[int], effects: Effects, describe: _Describe) -> _Group:
    """A matrix, with a scale for each row, or as a product of narrower ones; or a vector."""
    granularity: Granularity = "per_row" if len(param.shape) > 1 else "per_tensor"
    values = param.value.decode()
    coded: list[Encoding] = []
    if np.abs(values).max(initial=0) <= MOST:
        coded = [Quantized.encode(values, b, granularity) for b in bits]
        for rank in {min(param.shape) // of for of in _RANKS} - {0} if len(param.shape) > 1 else ():
            found = LowRank.encode(values, rank)
            coded += [found.map_dense(partial(_quantized, bits=b)) for b in (8, 4)]
    ways = [param.value, *(as_they_were(param, value) for value in coded)]
    losses = [0.0, *(effects.change(name, way) for way in ways[1:])]

    def choices(described: bool) -> Choices:
        more = [describe(name, way) - describe(name, param.value) if described else 0 for way in ways]
        return Choices.of([way.nbytes + m for way, m in zip(ways, more, strict=True)], losses)

    return _Group(param.nbytes, 1, choices, lambda weights, picks: weights.replace(name, ways[picks[0]]))


def _quantized(factor: Encoding, bits: int) -> Encoding:
    return Quantized.encode(factor.decode(), bits, "per_row")


def _axis(
    weights: Weights,
    axis: str,
    names: list[str],
    context: Context,
    now: Mapping[str, int],
    effects: Effects,
    describe: _Describe,
) -> _Group:
    """The tables of one axis: a row that none of them keeps is an id less in the vocabulary."""
    reads = context.reads(axis, weights.sizes[axis]) + _UNREAD
    popular = np.argsort(-reads, kind="stable")
    head = np.zeros(len(reads), bool)
    head[popular[np.cumsum(reads[popular]) <= _HEAD * reads.sum()]] = True
    tables = {name: TableCosts(name, weights[name], reads, head, effects) for name in names}
    stored = np.any([table.stored for table in tables.values()], axis=0)
    score = np.sum([table.row_loss for table in tables.values()], axis=0)
    order = np.argsort(-score, kind="stable")
    order = order[stored[order]]
    counts = [math.ceil(keep * len(order)) for keep in _KEEPS]
    ids = now.get(f"ids of {axis}", 0)
    # A table that is not a target keeps its ids.
    others = any(n in now for n in weights.tables(axis) if n not in names)
    costs = {name: table.costs(order, counts, bool(ids)) for name, table in tables.items()}
    renumbered = bool(ids) and not others

    def choices(described: bool) -> Choices:
        more = {
            name: table.described(order, counts, bool(ids), partial(describe, name))
            for name, table in tables.items()
            if described
        }
        place = np.arange(len(counts))[:, None]
        found = None
        for i, count in enumerate(counts):
            way = Choices.fixed(ids if others else math.ceil(ids * count / max(len(order), 1)))
            for name, (sizes, losses) in costs.items():
                # Numbered alike for every i: fewer rows than the ids that stay, never more.
                sizes = np.where(place < i, 1 << 50, sizes)
                if described:  # rows are marked where fewer stay than ids
                    code, marks = more[name]
                    sizes = sizes + code + marks * (place > (i if renumbered else 0))
                way = way + Choices.of(sizes, losses)
            found = way if found is None else found | way
        assert found is not None
        return found

    def store(fitted: Weights, picks: npt.NDArray[np.int64]) -> Weights:
        for (name, table), pick in zip(tables.items(), picks, strict=True):
            keep, way = divmod(int(pick), len(table.ways))
            kept = np.zeros(len(reads), bool)
            kept[order[: counts[keep]]] = True
            fitted = fitted.replace(name, table.cut(kept, table.ways[way]))
        return fitted

    return _Group(sum(now[name] for name in names) + ids, len(names), choices, store)
