"""What each choice costs alone, and from that the best recipe for every size: no trial, a first frontier."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, product
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from recprune.artifact import Artifact
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.space import Kind, Knob, Space
from recprune.pruning.step import Step
from recprune.vocabulary import ExactVocabulary, IntegerVocabulary, Vocabulary
from recprune.weights import Encoding, LowRank, Rows, Weights

__all__ = ["Estimate", "Tradeoff", "measure"]

Array = npt.NDArray[Any]
_PROBED_BITS = 4
_NEVER = 1e9  # the drop of what cannot be done


@dataclass(frozen=True)
class Estimate:
    """What was measured of one knob, an entry for each choice, everything else untouched.

    `drop`: how much worse the leading metric gets. `moved`: how far the answers are from the original's. `rows`: rows that
    are left. `fixed` and `each`: bytes that are stored whatever the rows, and bytes of a row. `scale`: of a width, by part
    what is left of its bytes.
    """

    drop: list[float]
    moved: list[float]
    rows: list[int]
    fixed: list[float]
    each: list[float]
    scale: dict[str, list[float]] = field(default_factory=dict)


def measure(
    original: Artifact,
    weights: Weights,
    knob: Knob,
    context: Context,
    run: Callable[[Step, Weights, Context], Weights],
    lost: Callable[[Weights], tuple[float, float]],
    lost_hashed: Callable[[str, int], tuple[float, float]],
    parts: Sequence[str],
) -> Estimate:
    """Try every choice of a knob alone.

    `run`: does a step. `lost`: how much worse other weights are, and how far their answers moved. `lost_hashed`: the same
    where the ids of an axis are stored as so many bits; each bit more halves it, so one is tried. `parts`: of all knobs.
    """
    found, rows, fixed, each = [(0.0, 0.0)], [], [], []
    if knob.kind == "bits":
        vocabulary = original.vocabularies[knob.part]
        bits = [choice for choice in knob.choices if isinstance(choice, int)]
        drop, moved = lost_hashed(knob.part, _PROBED_BITS)
        exact, whole = _bytes_each(vocabulary), _whole(vocabulary)
        # Two bits beside the hash say where it lies.
        each = [exact, *(min(whole, (b + 2) / 8) for b in bits)]
        share = [0.0, *(0.0 if whole <= (b + 2) / 8 else 2.0 ** (_PROBED_BITS - b) for b in bits)]
        many = len(share)
        return Estimate(
            [max(drop, 0.0) * s for s in share],
            [moved * s for s in share],
            [len(vocabulary)] * many,
            [0.0] * many,
            each,
        )
    if knob.kind == "width":
        cut = [run(choice, weights, context) if isinstance(choice, Step) else weights for choice in knob.choices]
        found += [_possible(lost, tried) for tried in cut[1:]]
        none = [0] * len(cut)
        now = {part: size for part in parts if (size := _bytes_of(part, weights))}
        scale = {part: [_bytes_of(part, tried) / size for tried in cut] for part, size in now.items()}
        drops, moves = (list(column) for column in zip(*found, strict=True))
        return Estimate(drops, moves, none, [0.0] * len(cut), [0.0] * len(cut), scale)
    for choice in knob.choices:
        tried = run(choice, weights, context) if isinstance(choice, Step) else weights
        if choice is not None:
            found.append(_possible(lost, tried))
        values = [tried[name].value for name in weights.match(knob.part)]
        rows.append(sum(_stored(value) for value in values))
        halves = sum(value.cut(0, np.arange(value.shape[0] // 2)).nbytes for value in map(_inner, values))
        whole = sum(value.nbytes for value in map(_inner, values))
        slope = 2 * (whole - halves) / max(rows[-1], 1)
        each.append(slope)
        fixed.append(whole - slope * rows[-1])
    return Estimate([drop for drop, _ in found], [moved for _, moved in found], rows, fixed, each)


def _bytes_of(part: str, weights: Weights) -> int:
    """Bytes of what a knob is about, where that is parameters."""
    return sum(weights[name].nbytes for name in part.split(",") if name in weights)


def _bytes_each(vocabulary: Vocabulary) -> float:
    return sum(array.nbytes for array in vocabulary.arrays().values()) / max(len(vocabulary), 1)


def _whole(vocabulary: Vocabulary) -> float:
    """Bytes of an id where ids are numbers that are stored as such."""
    built = IntegerVocabulary.build([vocabulary.ids()]) if isinstance(vocabulary, ExactVocabulary) else None
    return math.inf if built is None else _bytes_each(built[0])


def _possible(lost: Callable[[Weights], tuple[float, float]], weights: Weights) -> tuple[float, float]:
    try:
        return lost(weights)
    except RecpruneError:  # nothing is left to read
        return _NEVER, 0.0


@dataclass(frozen=True, eq=False)
class Tradeoff:
    """The best settings at a price of a byte, as far as drops add up.

    Every part chooses for itself (Everett 1963; Shoham and Gersho 1988); tables on one axis of ids share the ids, so they
    choose below a common number of rows.
    """

    space: Space
    estimates: Mapping[str, Estimate]
    context: Context

    @cached_property
    def drops(self) -> dict[str, Array]:
        """What each choice of each knob is believed to cost.

        A drop that is measured on some thousand labels is mostly noise where it is small, and the best of hundreds are the
        luckiest. So half of it is what was measured, and half what so far a move of the answers costs on average.
        """
        pairs = [
            p for found in self.estimates.values() for p in zip(found.drop, found.moved, strict=True) if p[0] < _NEVER
        ]
        rate = sum(drop for drop, _ in pairs) / max(sum(moved for _, moved in pairs), 1e-12)
        believed = {}
        for knob in self.space.knobs:
            found = self.estimates[knob.name]
            drop = np.array(found.drop)
            if any(found.moved):
                drop = np.where(drop < _NEVER, (np.maximum(drop, 0) + max(rate, 0) * np.array(found.moved)) / 2, drop)
            believed[knob.name] = np.array(_no_luck(knob, drop.tolist()))
        return believed

    @property
    def kinds(self) -> list[str]:
        """Of the knobs that there are."""
        there = {knob.kind for knob in self.space.knobs}
        return [kind for kind in get_args(Kind) if kind in there]

    @property
    def parts(self) -> list[str]:
        """What is chosen by itself: each axis of ids with its tables, and every other part."""
        return list(dict.fromkeys(knob.axis or knob.part for knob in self.space.knobs))

    def best(self, price: float, trust: Mapping[str, float]) -> tuple[int, dict[str, int]]:
        """Bytes of all parts, and the settings.

        `price`: what a byte is worth, in the metric. `trust`: drops of a kind or part count that often.
        """
        found = self._at(price, trust)
        return round(found.bytes), found.settings

    def prices(self, count: int) -> list[float]:
        """At most `count` prices, falling sizes, that give different settings, sizes spread evenly in their logarithm."""
        sizes = np.log([size for size, _ in self._ladder])
        at = {int(np.argmin(np.abs(sizes - aim))) for aim in np.linspace(sizes[0], sizes[-1], count)}
        return [self._ladder[i][1] for i in sorted(at)]

    def price_for(self, size: int, trust: Mapping[str, float]) -> float:
        """A price at which the best settings take about so many bytes, of those that lie within `prices`."""
        prices = self.prices(2)
        low, high = prices[0], prices[-1]
        for _ in range(20):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._at(middle, trust).bytes > size else (low, middle)
        return high

    @cached_property
    def _ladder(self) -> list[tuple[float, float]]:
        """Size and price of every different settings, from the largest."""
        worst = sum(max(drop for drop in found if drop < _NEVER) for found in self.drops.values())
        largest = max(found.fixed[0] + found.each[0] * found.rows[0] for found in self.estimates.values())
        listed: dict[str, tuple[float, float]] = {}
        for price in max(worst, 1e-9) / max(largest, 1.0) * np.geomspace(1e-6, 1e4, 300):
            found = self._at(float(price), {})
            listed.setdefault(str(found.settings), (max(found.bytes, 1.0), float(price)))
        return list(listed.values())

    def _at(self, price: float, trust: Mapping[str, float]) -> _Best:
        """The best of every way to cut widths, each with what is best of all other knobs then."""
        widths, others = ([k for k in self.space.knobs if (k.kind == "width") == is_one] for is_one in (True, False))
        drops = {
            knob.name: self.drops[knob.name] * trust.get(knob.kind, 1.0) * trust.get(knob.axis or knob.part, 1.0)
            for knob in self.space.knobs
        }
        knobs_of = {part: [k for k in others if (k.axis or k.part) == part] for part in self.parts}
        known: dict[tuple[Any, ...], _Best] = {}

        def best_of(part: str, scale: Mapping[str, float]) -> _Best:
            # Most parts have few of the widths: what is best of them is found once for all cuts of the others.
            knobs = knobs_of[part]
            key = (part, *(scale.get(knob.part, 1.0) for knob in knobs))
            if key not in known:
                tables = [knob.part for knob in knobs if knob.kind == "keep"]
                known[key] = (
                    self._axis(part, tables, drops, price, scale) if tables else self._alone(knobs, drops, price, scale)
                )
            return known[key]

        def together(cut: tuple[int, ...]) -> list[_Best]:
            scale: dict[str, float] = {}
            for knob, choice in zip(widths, cut, strict=True):
                for part, left in self.estimates[knob.name].scale.items():
                    scale[part] = scale.get(part, 1.0) * left[choice]
            own = [_Best(float(drops[k.name][c]), 0.0, {k.name: c}) for k, c in zip(widths, cut, strict=True)]
            return own + [best_of(part, scale) for part in self.parts]

        ways = (together(cut) for cut in product(*(range(len(knob.choices)) for knob in widths)))
        best = min(ways, key=lambda way: sum(part.cost for part in way))
        settings = {name: choice for part in best for name, choice in part.settings.items()}
        return _Best(sum(part.cost for part in best), sum(part.bytes for part in best), settings)

    def _alone(self, knobs: list[Knob], drops: Mapping[str, Array], price: float, scale: Mapping[str, float]) -> _Best:
        """What is not on an axis of ids whose rows may go: every knob by itself."""
        whole = _Best(0.0, 0.0, {})
        for knob in knobs:
            found = self.estimates[knob.name]
            size = (np.array(found.fixed) + np.array(found.each) * np.array(found.rows)) * scale.get(knob.part, 1.0)
            cost = drops[knob.name] + price * size
            i = int(np.argmin(cost))
            whole = _Best(whole.cost + float(cost[i]), whole.bytes + float(size[i]), whole.settings | {knob.name: i})
        return whole

    def _axis(
        self, axis: str, tables: list[str], drops: Mapping[str, Array], price: float, scale: Mapping[str, float]
    ) -> _Best:
        """The tables on an axis and its ids: tables keep at most as many rows as there are ids, for each such number."""
        best = _Best(np.inf, 0.0, {})
        counts = sorted({rows for table in tables for rows in self.estimates[f"keep {table}"].rows})
        fewest = next((rows for rows in counts if rows), 1)
        for ids in counts:
            cost, size = 0.0, 0.0
            settings: dict[str, int] = {}
            for table in tables:
                keep, code = self.estimates[f"keep {table}"], self.estimates[f"code {table}"]
                rows = np.array(keep.rows)[:, None]
                sizes = (np.array(code.fixed) + np.array(code.each) * rows) * scale.get(table, 1.0)
                lost = drops[f"keep {table}"][:, None] + drops[f"code {table}"]
                gone = np.array(keep.rows) == 0
                sizes[gone], lost[gone] = 0, drops[f"keep {table}"][gone, None]
                total = np.where(rows <= ids, lost + price * sizes, np.inf)
                i, j = np.unravel_index(int(np.argmin(total)), total.shape)
                settings |= {f"keep {table}": int(i), f"code {table}": int(j)}
                cost, size = cost + float(total[i, j]), size + float(sizes[i, j])
            name = f"bits {axis}"
            if name in drops:
                found = self.estimates[name]
                known = ids or fewest  # where all of these tables go, a small one may still read the ids
                stored = np.array(found.each) * known
                lost = drops[name] * _unknown(axis, known, found.rows[0], self.context)
                n = int(np.argmin(lost + price * stored))
                settings[name] = n
                if ids:
                    cost, size = cost + float(lost[n] + price * stored[n]), size + float(stored[n])
            if cost < best.cost:
                best = _Best(cost, size, settings)
        return best


@dataclass(frozen=True)
class _Best:
    cost: float
    bytes: float
    settings: dict[str, int]


def _unknown(axis: str, ids: int, whole: int, context: Context) -> float:
    """How many times more reads ask for an unknown id where only the most read `ids` of `whole` are known."""
    reads = context.popularity.get(axis)
    if reads is None:
        return 1.0
    known = np.cumsum(np.sort(np.asarray(reads, dtype=np.float64)[:-1])[::-1])
    total = float(np.sum(reads))
    before, after = (total - float(known[min(n, len(known)) - 1]) for n in (whole, ids))
    return max(after, 1.0) / max(before, 1.0)


def _no_luck(knob: Knob, drops: list[float]) -> list[float]:
    """A harder choice of the same kind costs no less than a milder one: what seems so is noise."""
    kinds = [(type(choice).__name__, getattr(choice, "importance", "")) for choice in knob.choices]
    found: list[float] = []
    for _, group in groupby(zip(kinds, drops, strict=True), key=lambda entry: entry[0]):
        found += np.maximum.accumulate([drop for _, drop in group]).tolist()
    return found


def _inner(value: Encoding) -> Encoding:
    """What holds the rows that are stored."""
    if isinstance(value, Rows):
        return _inner(value.inner)
    return value.left if isinstance(value, LowRank) else value


def _stored(value: Encoding) -> int:
    """Rows that are stored; none where a row has no columns."""
    return 0 if 0 in value.shape else int(value.mask().sum())
