"""From raw rows (ids, attributes, a title) to what `like` models read, fitted on training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recprune.errors import RecpruneError
from recprune.recommenders.statistics import STATISTICS, statistics
from recprune.text import words

__all__ = ["SEPARATOR", "Encoded", "FeatureSettings", "Features"]

Array = npt.NDArray[Any]
SEPARATOR = " x "


@dataclass(frozen=True)
class FeatureSettings:
    """Which columns are read, and how.

    - `ids`: columns with a table by id. Unknown values are the id "". `features_for` fits the columns to those of a log.
    - `buckets`: numeric columns and their edges: value v reads row `searchsorted(edges, v, side="right")`, a missing one
      row `len(edges) + 1`.
    - `words`: the column of texts whose words are pooled; None for no words.
    - `statistics`: keys (an id or bucket column, or a pair `user x author`) and the columns of their tables, of
      `recprune.recommenders.statistics.STATISTICS`.
    - `liked`: the rating from which on a label is 1.
    - `folds`: in how many parts the training rows are cut: the statistics of a row come from the other parts.
    """

    ids: tuple[str, ...] = ("user", "item", "work", "author", "publisher", "country", "region", "city")
    buckets: tuple[tuple[str, tuple[float, ...]], ...] = ()
    words: str | None = "title"
    statistics: tuple[tuple[str, tuple[str, ...]], ...] = ()
    liked: float = 8.0
    folds: int = 10

    def __post_init__(self) -> None:
        """Check names."""
        names = [*self.ids, *(name for name, _ in self.buckets)]
        if len(set(names)) != len(names) or self.words in names:
            raise RecpruneError(f"a column is named twice: {', '.join([*names, self.words or ''])}")
        if self.folds < 2:
            raise RecpruneError(f"folds must be at least 2, got {self.folds}")
        for key, columns in self.statistics:
            for part in key.split(SEPARATOR):
                if part not in names:
                    raise RecpruneError(f"statistics of {key!r}: no column {part!r}; columns are: {', '.join(names)}")
            for column in columns:
                if column not in STATISTICS:
                    raise RecpruneError(f"no statistic {column!r}; statistics are: {', '.join(STATISTICS)}")

    @property
    def pairs(self) -> tuple[str, ...]:
        """Keys of statistics that are pairs."""
        return tuple(key for key, _ in self.statistics if SEPARATOR in key)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a frame must have."""
        return (*self.ids, *(name for name, _ in self.buckets), *((self.words,) if self.words else ()))


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded rows.

    - `rows`: for each id column, bucket column and pair: the row of its table, int32, shape (rows,); unknown ids read
      row n, the last.
    - `words`, `offsets`: the bags of words: bag i is `words[offsets[i]:offsets[i + 1]]`.
    - `statistics`: for each key float32 (rows, columns), out of fold: given for training rows only; else the model
      reads its own tables.
    """

    rows: Mapping[str, npt.NDArray[np.int32]]
    words: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    offsets: npt.NDArray[np.int64] | None = None
    statistics: Mapping[str, npt.NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.rows.values())))

    def take(self, index: Array) -> Encoded:
        """Return the rows at `index`."""
        rows = {name: values[index] for name, values in self.rows.items()}
        found = None if self.statistics is None else {name: values[index] for name, values in self.statistics.items()}
        if self.offsets is None:
            return Encoded(rows, statistics=found)
        counts = np.diff(self.offsets)[index]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        at = np.arange(offsets[-1]) + np.repeat(self.offsets[index] - offsets[:-1], counts)
        return Encoded(rows, self.words[at], offsets, found)


@dataclass(frozen=True, eq=False)
class Features:
    """What was fitted: vocabularies and tables of statistics. Make one with `Features.fit`.

    - `ids`: for each id column (and the words' column) its ids in row order, most read first.
    - `readings`: for each id and bucket column and the words: how many labelled training rows read each row, int64 (n + 1,).
    - `pairs`: for each pair its ids in row order, as two columns of text.
    - `tables`: for each key of statistics float32 (n + 1, columns), standardised; row n is what an unknown id has.
    """

    settings: FeatureSettings
    ids: Mapping[str, pl.Series]
    readings: Mapping[str, npt.NDArray[np.int64]]
    pairs: Mapping[str, tuple[pl.Series, pl.Series]]
    tables: Mapping[str, npt.NDArray[np.float32]]
    _keys: Mapping[str, tuple[Array, Array]]

    @classmethod
    def fit(
        cls, train: pl.DataFrame, implicit: pl.DataFrame, settings: FeatureSettings, *, seed: int = 0
    ) -> tuple[Features, Encoded]:
        """Fit on labelled training rows (with `rating`) and on interactions without a rating.

        Returns the features and the training rows encoded, with out-of-fold statistics.
        """
        for frame, extra in ((train, ("rating",)), (implicit, ())):
            if missing := [name for name in (*settings.columns, *extra) if name not in frame.columns]:
                raise RecpruneError(f"no column {missing[0]!r}; columns are: {', '.join(frame.columns)}")
        if not len(train):
            raise RecpruneError("no training rows")
        ids, readings = {}, {}
        for name in settings.ids:
            ids[name], readings[name] = _vocabulary(_text(train[name]), _text(implicit[name]))
        words = None
        if settings.words:
            kinds, bags = words = _bags(train[settings.words])
            ids[settings.words], readings[settings.words] = _vocabulary(kinds.gather(bags.words), None)
        bare = cls(settings, ids, readings, {}, {}, {})
        rows = bare._encoded(bare._rows(train), words)
        for name, edges in settings.buckets:
            readings[name] = np.bincount(rows.rows[name], minlength=len(edges) + 2).astype(np.int64)
        if not settings.statistics:
            return bare, rows
        found, implicits = dict(rows.rows), bare._rows(implicit)
        pairs, keys = {}, {}
        for name in settings.pairs:
            pairs[name], keys[name], found[name], implicits[name] = bare._pair(name, found, implicits)
        sizes = {
            key: len(readings[key]) if key in readings else len(keys[key][0]) + 1 for key, _ in settings.statistics
        }
        tables, outside = statistics(
            {key: found[key] for key in sizes},
            {key: np.bincount(implicits[key], minlength=sizes[key]) for key in sizes},
            train["rating"].to_numpy().astype(np.float64),
            settings,
            np.random.default_rng(seed).integers(0, settings.folds, len(train)),
            sizes,
        )
        features = cls(settings, ids, readings, pairs, tables, keys)
        return features, Encoded(found, rows.words, rows.offsets, outside)

    def encode(self, frame: pl.DataFrame) -> Encoded:
        """Encode rows for scoring: their statistics are read from the tables."""
        if missing := [name for name in self.settings.columns if name not in frame.columns]:
            raise RecpruneError(f"no column {missing[0]!r}; columns are: {', '.join(frame.columns)}")
        return self._encoded(self._rows(frame), _bags(frame[self.settings.words]) if self.settings.words else None)

    def _rows(self, frame: pl.DataFrame) -> dict[str, npt.NDArray[np.int32]]:
        rows = {name: _lookup(_text(frame[name]), self.ids[name]) for name in self.settings.ids}
        for name, edges in self.settings.buckets:
            values = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            missing_row = len(edges) + 1
            rows[name] = np.where(np.isnan(values), missing_row, np.searchsorted(edges, values, side="right")).astype(
                np.int32
            )
        for name in self._keys:
            left, right = name.split(SEPARATOR)
            values, order = self._keys[name]
            rows[name] = _find(values, order, self._join(left, right, rows))
        return rows

    def _encoded(self, rows: dict[str, npt.NDArray[np.int32]], words: tuple[pl.Series, Encoded] | None) -> Encoded:
        if words is None:
            return Encoded(rows)
        kinds, bags = words
        return Encoded(rows, _lookup(kinds, self.ids[self.settings.words or ""])[bags.words], bags.offsets)

    def rows_in(self, older: Features, name: str) -> Array:
        """For each row of a table of ids or buckets, but the last, its row in features that were fitted on more rows."""
        if name in self.ids:
            return _lookup(self.ids[name], older.ids[name])
        return np.arange(len(self.readings[name]) - 1)

    def matrix(self, rows: Encoded) -> npt.NDArray[np.float32]:
        """All statistics of rows side by side, (rows, columns): out of fold for training rows, else from the tables."""
        given = rows.statistics or {key: table[rows.rows[key]] for key, table in self.tables.items()}
        return np.column_stack([given[key] for key in self.tables])

    def blocks(self) -> dict[str, list[tuple[str, int]]]:
        """Name the blocks of statistics: `user history`, `user ratings`, ...: table and column of each member."""
        found: dict[str, list[tuple[str, int]]] = {}
        for key, columns in self.settings.statistics:
            for i, column in enumerate(columns):
                name = key if SEPARATOR in key else f"{key} {STATISTICS[column]}"
                found.setdefault(name, []).append((key, i))
        return found

    def _join(self, left: str, right: str, rows: Mapping[str, Array]) -> Array:
        """One number for each pair; -1 where a part is unknown."""
        a, b = (rows[name].astype(np.int64) for name in (left, right))
        known = (a < len(self.readings[left]) - 1) & (b < len(self.readings[right]) - 1)
        return np.where(known, a * len(self.readings[right]) + b, -1)

    def _pair(self, name: str, train: Mapping[str, Array], implicit: Mapping[str, Array]) -> tuple[Any, ...]:
        left, right = name.split(SEPARATOR)
        values, counts = np.unique(self._join(left, right, train), return_counts=True)
        values, counts = values[values >= 0], counts[values >= 0]
        popular = np.argsort(-counts, kind="stable")  # row -> place in values
        order = np.empty(len(values), np.int32)
        order[popular] = np.arange(len(values), dtype=np.int32)
        a, b = np.divmod(values[popular], len(self.readings[right]))
        names = (self._names(left).gather(a), self._names(right).gather(b))
        found = [_find(values, order, self._join(left, right, rows)) for rows in (train, implicit)]
        return names, (values, order), *found

    def _names(self, column: str) -> pl.Series:
        if column in self.ids:
            return self.ids[column]
        raise RecpruneError(f"a pair is of id columns, {column!r} is none")


def _text(values: pl.Series) -> pl.Series:
    return values.cast(pl.String).fill_null("")


def _bags(texts: pl.Series) -> tuple[pl.Series, Encoded]:
    """Words of the distinct texts, one after the other, and as bags the places among them of each text's words.

    So a title that many have read is analysed once.
    """
    distinct = _text(texts).unique(maintain_order=True)
    lists = [words(text) for text in distinct]
    found = pl.Series([word for given in lists for word in given], dtype=pl.String)
    offsets = np.cumsum([0, *map(len, lists)])
    return found, Encoded({}, np.arange(len(found), dtype=np.int32), offsets).take(_lookup(_text(texts), distinct))


def _vocabulary(train: pl.Series, implicit: pl.Series | None) -> tuple[pl.Series, npt.NDArray[np.int64]]:
    """Ids, most read first: labelled readings, then others, then by name, so that the order of rows does not matter."""
    counts = pl.DataFrame({"id": train}).group_by("id").agg(n=pl.len().cast(pl.Int64))
    counts = counts.with_columns(m=pl.lit(0, pl.Int64))
    if implicit is not None:
        other = pl.DataFrame({"id": implicit}).group_by("id").agg(m=pl.len().cast(pl.Int64))
        counts = counts.drop("m").join(other, on="id", how="full", coalesce=True).fill_null(0)
    counts = counts.sort("n", "m", "id", descending=[True, True, False])
    return counts["id"], np.append(counts["n"].to_numpy(), 0)


def _lookup(values: pl.Series, ids: pl.Series) -> npt.NDArray[np.int32]:
    table = pl.DataFrame({"id": ids, "row": np.arange(len(ids), dtype=np.int32)})
    found = pl.DataFrame({"id": values}).join(table, on="id", how="left", maintain_order="left")["row"]
    return found.fill_null(len(ids)).to_numpy()


def _find(values: Array, order: Array, wanted: Array) -> npt.NDArray[np.int32]:
    """Row of each wanted number among sorted `values`; row `len(values)` where it is none."""
    if not len(values):
        return np.zeros(len(wanted), np.int32)
    at = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[at] == wanted, order[at], len(values)).astype(np.int32)
