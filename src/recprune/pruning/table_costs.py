"""What each way to store a table costs: bytes, and what it changes in the scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from recprune.pruning.effects import Effects
from recprune.pruning.protected_rows import as_they_were
from recprune.pruning.shared_row import drop
from recprune.pruning.table_codes import CODES, LARGE, MOST, PER_WORD, WIDE, WIDE_CODES, Code, Words
from recprune.weights import Dense, Encoding, Param, Rows, Stacked

__all__ = ["TableCosts"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_Way = tuple[Code, ...]
"""The code of all rows that stay; or two, of those that are read most and of the others."""
_LARGE_BOOK, _BEFORE = Words(LARGE), (Words(LARGE - 4), Words(LARGE - 2))
_SAMPLE = 4096  # rows of a table on which its ways are compared
_PROBE = 0.3  # what the two measured cuts of a table leave: this share of its rows, and three bits a row
_PROBE_BITS = Words(3)


class TableCosts:
    """What it costs to keep some rows of one table, and to code them.

    `reads`: of each row. `head`: which rows are read most; they can have a code of their own. Three ways are measured, a cut
    of rows and one of bits for each group; all others follow from their squared errors by reads and by `effects.metric`.
    """

    def __init__(self, name: str, param: Param, reads: Array, head: npt.NDArray[np.bool_], effects: Effects) -> None:
        self.param, self.reads = param, reads
        self.values = param.value.decode()
        self.metric = effects.metric(name)
        self.table = self.values @ self.metric  # here squared distances are changes of the scores
        self.codes = CODES + (WIDE_CODES if param.shape[1] >= WIDE else ())
        if np.abs(self.values).max(initial=0) > MOST:
            self.codes = (None,)
        pairs = ((first, rest) for first in self.codes for rest in self.codes if rest is not None)
        self.ways: tuple[_Way, ...] = (*((code,) for code in self.codes), *pairs)
        self.fixed = np.isin(np.arange(len(reads)), param.protected)
        self.shared = param.protected[-1:] if param.has_unknown else ()
        self.stored = param.value.mask() & ~self.fixed
        self.head = head & self.stored
        read = self.reads * (self.stored | self.fixed)
        centre = read @ self.table / read.sum()
        apart = read * ((self.table - centre) ** 2).sum(axis=1) * self.stored
        order = np.argsort(-apart, kind="stable")[: int(self.stored.sum())]
        kept = np.zeros(len(reads), bool)
        kept[order[: math.ceil(_PROBE * len(order))]] = True
        self.per_drop = _ratio(effects.change(name, self.cut(kept, (None,))), self._spread(order)[kept.sum()])
        self.row_loss = self.per_drop * apart
        self.per_code = np.zeros(len(reads))
        for group, way in ((self.head, (_PROBE_BITS, None)), (~self.head, (None, _PROBE_BITS))):
            if len(self.codes) > 1 and (group & self.stored).any():
                coded = self.cut(self.stored, way)
                error = float(read @ ((coded.decode() @ self.metric - self.table) ** 2).sum(axis=1))
                self.per_code[group] = _ratio(effects.change(name, coded), error)
        self._samples: dict[Code, Encoding] = {}

    def cut(self, kept: npt.NDArray[np.bool_], way: _Way) -> Encoding:
        """The table with these rows only (of those it stores), coded."""
        value = self.param.value
        if (self.stored & ~kept).any():
            value = drop(self.param, kept & self.stored | self.fixed & value.mask(), self.reads).value
        if not isinstance(value, Rows):
            return as_they_were(self.param, _stored(value, way, self.reads, self.head, self.metric))
        at, own = value.position(np.arange(value.rows)), value.mask()
        rows = value.inner.shape[0]
        shares = np.bincount(at, self.reads, rows).astype(np.float64)
        head = np.bincount(at[own], self.head[own], rows) > 0
        return as_they_were(self.param, replace(value, inner=_stored(value.inner, way, shares, head, self.metric)))

    def costs(self, order: Counts, counts: list[int], renumbered: bool) -> tuple[Array, Array]:
        """Bytes and change of the scores, (counts, ways), when the first rows of `order` stay."""

        def among(rows: npt.NDArray[np.bool_]) -> Counts:
            found: Counts = np.append(0, np.cumsum(rows[order]))[counts]
            return found

        many = among(self.stored) + self.fixed.sum() + (not self.shared)
        marks = np.where(many < len(self.reads), 32 if renumbered else (len(self.reads) + 7) // 8, 0)
        lost = self.per_drop * self._spread(order)[counts]
        mine = among(self.head)
        heads = self.head[order]
        whole = self._errors(order, np.asarray(counts))
        first, rest = self._errors(order[heads], mine), self._errors(order[~heads], np.asarray(counts) - mine)
        inner = self.param.value.inner if isinstance(self.param.value, Rows) else self.param.value
        sizes, losses = np.full((len(counts), len(self.ways)), 1 << 50), np.zeros((len(counts), len(self.ways)))
        for i, way in enumerate(self.ways):
            if len(way) == 1 and way[0] in whole:
                sizes[:, i] = _bytes(inner, way[0], many) + marks
                losses[:, i] = lost + whole[way[0]]
            elif len(way) == 2 and way[0] in first and way[1] in rest:
                both = _bytes(inner, way[0], mine) + _bytes(inner, way[1], many - mine) + marks + (many + 7) // 8
                sizes[:, i] = np.where((mine > 0) & (mine < many), both, 1 << 50)
                losses[:, i] = lost + first[way[0]] + rest[way[1]]
        return sizes, losses

    def _errors(self, rows: Counts, upto: Counts) -> dict[Code, Array]:
        """What each code that they can have changes in the scores, for the first `upto` of these rows."""
        # The codes are compared on a sample: every few rows, each for its neighbours.
        step = max(1, len(rows) // _SAMPLE)
        sample = rows[::step]
        weight = self.reads[sample] * self.stored[sample] * step
        at = -(-upto // step)
        inner = self.param.value.inner if isinstance(self.param.value, Rows) else self.param.value
        errors: dict[Code, Array] = {None: np.zeros(len(sample))}
        for code in self.codes if isinstance(inner, Dense) and weight.any() else ():
            if code == _LARGE_BOOK:
                # So large a book would know the sample by heart: two bits more bring what the last two did.
                if self.stored[rows].sum() >= PER_WORD << LARGE:
                    less, last = (errors[way] for way in _BEFORE)
                    errors[code] = last * (last.sum() / max(less.sum(), 1e-30))
            elif code is not None:
                self._samples[code] = _coded(Dense(self.values[sample]), code, weight, self.metric)
                error = ((self._samples[code].decode() @ self.metric - self.table[sample]) ** 2).sum(axis=1)
                errors[code] = weight * self.per_code[sample] * error
        return {code: np.append(0, np.cumsum(error))[at] for code, error in errors.items()}

    def described(
        self, order: Counts, counts: list[int], renumbered: bool, describe: Callable[[Encoding], int]
    ) -> tuple[Counts, Counts]:
        """What `costs` leaves out: what says how a way is stored, (ways,), and which rows are, (counts, 1).

        `describe`: bytes of a description. A sample has that of its whole, but for a digit or two.
        """
        value, width = self.param.value, self.param.shape[1]
        inner = value.inner if isinstance(value, Rows) else value
        bare, marked = describe(inner), describe(Rows.encode(np.zeros(8, bool), inner, 0))
        codes: dict[Code, int] = {}
        for code in self.codes:
            sample = self._samples.get(_BEFORE[-1] if code == _LARGE_BOOK else code)
            codes[code] = 0 if code is None or sample is None else describe(sample) - bare - code.described(width)
        two = describe(Stacked((inner, inner))) - bare
        ways = np.array([sum(codes[code] for code in way) + two * (len(way) > 1) for way in self.ways])
        marks = np.full((len(counts), 1), marked - bare)
        bitmap = (len(self.reads) + 7) // 8
        for i, count in enumerate(counts if not renumbered else ()):
            kept = np.zeros(len(self.reads) + 2, np.int8)
            kept[1:-1][order[:count]] = self.stored[order[:count]]
            kept[1:-1] |= self.fixed
            runs = int((np.diff(kept) > 0).sum()) + (not self.shared)
            marks[i] += min(8 * runs, bitmap) - bitmap
        return ways, marks

    def _spread(self, order: Counts) -> Array:
        """Squared distance to their mean, by reads, of the shared row and all but the first k of `order`, for each k."""
        rest = np.append(order, self.shared)[::-1].astype(np.int64)
        weight = self.reads[rest] * (self.stored | self.fixed)[rest]
        table = self.table[rest]
        square = np.cumsum(weight * (table**2).sum(axis=1))
        mean = np.cumsum(weight[:, None] * table, axis=0)
        spread: Array = np.maximum(square - (mean**2).sum(axis=1) / np.maximum(np.cumsum(weight), 1e-9), 0)[::-1]
        return spread if self.shared else np.append(spread, 0)


def _ratio(change: float, error: float) -> float:
    return change / error if error > 0 else 0.0


def _coded(value: Encoding, code: Code, shares: Array, metric: Array) -> Encoding:
    return value if code is None or not isinstance(value, Dense) else code.encode(value.decode(), shares, metric)


def _stored(value: Encoding, way: _Way, shares: Array, head: npt.NDArray[np.bool_], metric: Array) -> Encoding:
    if len(way) == 1 or not head.any() or head.all():
        return _coded(value, way[-1] if not head.any() else way[0], shares, metric)
    groups = [np.flatnonzero(group) for group in (head, ~head)]
    parts = [_coded(value.cut(0, rows), code, shares[rows], metric) for rows, code in zip(groups, way, strict=True)]
    return Stacked.encode(~head, tuple(parts))


def _bytes(inner: Encoding, code: Code, rows: Counts) -> Counts:
    if code is not None:
        return code.bytes(rows, inner.shape[1])
    whole: Counts = np.ceil(rows * (inner.nbytes / max(inner.shape[0], 1))).astype(np.int64)
    return whole
