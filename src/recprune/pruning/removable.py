"""What can be made zero and removed as a whole: rows of tables, positions of axes, fields, single weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.protected_rows import as_they_were
from recprune.pruning.step import row_tables
from recprune.recovery.sparsity import Part, Pool
from recprune.weights import Dense, Encoding, LowRank, Rows, Sparse, Weights, match

__all__ = ["REMOVABLE", "Removable", "plain"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Removable(ABC):
    """A pool of units, and how they are cut out of the weights."""

    what: tuple[str, ...]
    pool: Pool
    words: ClassVar[str] = ""

    @staticmethod
    @abstractmethod
    def names(weights: Weights, target: str) -> list[str]:
        """Parameters that lose something."""

    @classmethod
    @abstractmethod
    def find(cls, weights: Weights, target: str, context: Context) -> list[Removable]:
        """What `target` matches; RecpruneError names the choices where it matches nothing."""

    @abstractmethod
    def remove(self, weights: Weights, kept: Array) -> Weights:
        """Weights without the units that are not `kept` (boolean, one a unit)."""


class _Rows(Removable):
    """Rows of one axis, those of one id in all tables of the target together."""

    words = "the rows"

    @staticmethod
    def names(weights: Weights, target: str) -> list[str]:
        return weights.match(target)

    @classmethod
    def find(cls, weights: Weights, target: str, context: Context) -> list[Removable]:
        tables = [name for name, param in weights.items() if row_tables(context).fits(param)]
        by_axis: dict[str, list[str]] = {}
        for name in weights.match(target):
            if name not in tables:
                raise RecpruneError(f"{name!r} has no rows to drop: it is no table; tables are: {', '.join(tables)}")
            if min(weights[name].shape):
                by_axis.setdefault(weights[name].axes[0], []).append(name)
        found: list[Removable] = []
        for axis, names in by_axis.items():
            reads = context.shares(axis, weights.sizes[axis])
            free, anchor = _free_rows([weights[name] for name in names], reads)
            number = np.where(free, np.cumsum(free) - 1, -1)
            parts = []
            for name in names:
                place, count = _places(weights[name].value)
                stored = np.flatnonzero(weights[name].value.mask())
                unit = np.full(count, -1)
                unit[place[stored]] = number[stored]
                parts.append(Part(name, 0, unit, np.bincount(place, reads, count), int(place[anchor])))
            found.append(cls(tuple(names), Pool(tuple(parts), int(free.sum()))))
        return found

    def remove(self, weights: Weights, kept: Array) -> Weights:
        for part in self.pool.parts:
            value = weights[part.name].value
            stay = value.mask() & ~np.isin(part.unit, np.flatnonzero(~kept))[_places(value)[0]]
            if not stay.all():
                assert part.anchor is not None
                weights = weights.replace(part.name, _only(value, stay, part.anchor))
        return weights


class _Axis(Removable):
    """Positions of an axis: columns of tables, neurons of layers."""

    words = "the positions"

    @staticmethod
    def names(weights: Weights, target: str) -> list[str]:
        return _having(weights, _Axis._axes(weights, target))

    @staticmethod
    def _axes(weights: Weights, target: str) -> list[str]:
        rows = {param.axes[0] for param in weights.values() if param.protected}
        return match(target, sorted(set(weights.atoms()) - rows), "axis")

    @classmethod
    def find(cls, weights: Weights, target: str, context: Context) -> list[Removable]:
        found: list[Removable] = []
        for axis in cls._axes(weights, target):
            count = weights.sizes[axis]
            found.append(cls((axis,), Pool(_made(weights, {axis: np.arange(count)}, context), count)))
        return found

    def remove(self, weights: Weights, kept: Array) -> Weights:
        return weights.cut(self.what[0], np.flatnonzero(kept))


class _Fields(Removable):
    """Whole input fields: every trained column of the tables on one row axis."""

    words = "the fields"

    @staticmethod
    def names(weights: Weights, target: str) -> list[str]:
        return _having(weights, [axis for axes in _Fields._columns(weights, target).values() for axis in axes])

    @staticmethod
    def _columns(weights: Weights, target: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for param in weights.values():
            table = param.protected and param.trained and len(param.axes) == 2 and param.axes[0] != param.axes[1]
            if table and param.axes[1] and min(param.shape):
                found.setdefault(param.axes[0], []).extend(param.axes[1].split("+"))
        return {field: found[field] for field in match(target, list(found), "field")}

    @classmethod
    def find(cls, weights: Weights, target: str, context: Context) -> list[Removable]:
        columns = cls._columns(weights, target)
        number = {axis: np.full(weights.sizes[axis], i) for i, axes in enumerate(columns.values()) for axis in axes}
        return [cls(tuple(columns), Pool(_made(weights, number, context), len(columns)))]

    def remove(self, weights: Weights, kept: Array) -> Weights:
        for field, stays in zip(self.what, kept, strict=True):
            if not stays:
                for axis in self._columns(weights, field)[field]:
                    weights = weights.cut(axis, np.zeros(0, np.int64))
        return weights


class _Weights(Removable):
    """Single entries of a matrix."""

    words = "the single weights"

    @staticmethod
    def names(weights: Weights, target: str) -> list[str]:
        return weights.match(target)

    @classmethod
    def find(cls, weights: Weights, target: str, context: Context) -> list[Removable]:
        found: list[Removable] = []
        for name in weights.match(target):
            param = weights[name]
            if len(param.shape) != 2:
                raise RecpruneError(f"{name!r} has {len(param.shape)} axes; single weights are those of matrices")
            place, rows = _places(param.value)
            reads = np.bincount(place, context.shares(param.axes[0], len(place)), rows)
            if not param.has_unknown:  # the row of a mask or of padding is not made zero
                reads[place[list(param.protected)]] = 1e12 * (1 + reads.max(initial=0))
            part = Part(name, None, np.zeros(0, np.int64), reads)
            found.append(cls((name,), Pool((part,), rows * param.shape[1])))
        return found

    def remove(self, weights: Weights, kept: Array) -> Weights:
        (name,) = self.what
        value = weights[name].value
        coded = plain(value).map_dense(lambda v: Sparse.from_dense(v.decode() * kept.reshape(v.shape), bits=8))
        coded = as_they_were(weights[name], coded)
        return weights.replace(name, coded) if coded.nbytes < value.nbytes else weights


REMOVABLE: Mapping[str, type[Removable]] = {"rows": _Rows, "axis": _Axis, "fields": _Fields, "weights": _Weights}


def plain(value: Encoding) -> Encoding:
    """The same values as floats, with the same rows stored: what can be trained to zeros."""
    if isinstance(value, Rows):
        return Rows(value.kept, Dense(value.inner.decode()), value.default, value.rows)
    if isinstance(value, LowRank) and isinstance(value.left, Rows):
        return plain(Rows(value.left.kept, LowRank(value.left.inner, value.right), value.left.default, value.left.rows))
    return Dense(value.decode())


def _places(value: Encoding) -> tuple[Array, int]:
    """Where each row lies in what is stored, and how many rows that are."""
    if isinstance(value, LowRank):
        return _places(value.left)
    if isinstance(value, Rows):
        return value.position(np.arange(value.rows)), value.inner.shape[0]
    return np.arange(value.shape[0]), value.shape[0]


def _free_rows(params: Iterable[Any], reads: Array) -> tuple[Array, int]:
    """Rows that some table stores for themselves and that may go, and the one that the dropped will read."""
    free, anchor = np.zeros(len(reads), dtype=bool), -1
    params = list(params)
    for param in params:
        free |= param.value.mask()
    for param in params:
        free[list(param.protected)] = False
        if param.protected and param.has_unknown:
            anchor = param.protected[-1]
    if anchor < 0:
        # No row is there for unknown ids: the least read of those that all tables store becomes the shared row.
        everywhere = free & np.all([param.value.mask() for param in params], axis=0)
        if not everywhere.any():
            raise RecpruneError(f"no row of axis {params[0].axes[0]!r} can be shared: none may go from every table")
        anchor = int(np.flatnonzero(everywhere)[np.argmin(reads[everywhere])])
        free[anchor] = False
    return free, anchor


def _only(value: Encoding, stay: Array, anchor: int) -> Encoding:
    """Store the rows `stay`; all others read what lies at place `anchor`."""
    if isinstance(value, LowRank):
        return LowRank(_only(value.left, stay, anchor), value.right)
    stored = _places(value)[0][stay]
    if anchor not in stored:
        stored = np.append(stored, anchor)
    inner = value.inner if isinstance(value, Rows) else value
    return Rows.encode(stay, inner.cut(0, stored), int(np.flatnonzero(stored == anchor)[0]))


def _having(weights: Weights, axes: Iterable[str]) -> list[str]:
    atoms = weights.atoms()
    return list(dict.fromkeys(name for axis in axes for name in atoms[axis]))


def _made(weights: Weights, number: Mapping[str, Array], context: Context) -> tuple[Part, ...]:
    """What makes the positions of axes, `number` being the unit of each: columns of tables, else the rows of layers."""
    tables, layers = [], []
    for name, param in weights.items():
        is_table = bool(param.protected) or (param.axes[:1] and param.axes[0] in context.popularity)
        for i, expression in enumerate(param.axes):
            atoms = set(expression.replace("*", "+").split("+"))
            if not atoms & set(number) or (i == 0) == is_table or i > 1:
                continue
            unit = np.full(param.shape[i], -1)
            for axis in atoms & set(number):
                for k, of in enumerate(number[axis]):
                    unit[weights.positions(expression, axis, np.array([k]), only=True)] = of
            if is_table:
                place, count = _places(param.value)
                reads = np.bincount(place, context.shares(param.axes[0], len(place)), count)
                tables.append(Part(name, 1, unit, reads / reads.sum()))
            elif i == 0:
                layers.append(Part(name, 0, unit, np.ones(1)))
    made = tables or layers
    if not made:
        raise RecpruneError(f"nothing makes the positions of {', '.join(number)}: only layers read them")
    return tuple(made)
