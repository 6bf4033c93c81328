"""A log from a frame at hand: pandas or polars, with columns of any name."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from recprune.data.log import Log
from recprune.data.records import as_numbers
from recprune.errors import RecpruneError, unknown

__all__ = ["log_from_frame", "need_columns"]


def need_columns(frame: pl.DataFrame, columns: Sequence[str], where: str) -> None:
    """Raise `RecpruneError` with the columns that there are where one is missing; `where` names the table."""
    for column in columns:
        if column not in frame.columns:
            raise RecpruneError(f"{where} has no column {column!r}; columns are: {', '.join(frame.columns)}")


def log_from_frame(
    frame: Any,
    *,
    user: str = "user",
    item: str = "item",
    rating: str | None = None,
    label: str | None = None,
    time: str | None = None,
    user_attributes: Sequence[str] = (),
    item_attributes: Sequence[str] = (),
    integers: Sequence[str] = (),
    numbers: Sequence[str] = (),
    users: Any = None,
    items: Any = None,
    name: str = "log",
    licence: str = "unknown",
    where: str = "the frame",
) -> Log:
    """Make a log of a pandas or polars frame; the arguments are the keys of `read_log`, `users` and `items` frames."""
    source = _polars(frame, where)
    repairs: dict[str, int] = {}
    if rating is not None and label is not None:
        raise RecpruneError(f"{where}: name a rating or a label, not both ({rating!r}, {label!r})")
    if user == item:
        raise RecpruneError(f"{where}: user and item are the same column {user!r}")
    value = rating if rating is not None else label
    need_columns(source, [column for column in (user, item, value, time) if column is not None], where)
    for key in integers:
        if key not in ("user", "item"):
            raise unknown("id in integers", key, ("user", "item"))
    source, rows = _drop_without_ids(source, user, item, repairs)
    if not len(source):
        raise RecpruneError(f"{where} has no rows" + (" with a user and an item" if any(repairs.values()) else ""))
    ids = {"user": _ids(source[user], "user" in integers, where), "item": _ids(source[item], "item" in integers, where)}
    columns = [column.alias(key) for key, column in ids.items()]
    columns.append(_ratings(source, value, label is not None, where, rows).alias("rating"))
    if time is not None:
        columns.append(_times(source[time], where).alias("time"))
    sides = []
    for key, column, table, attributes in (
        ("user", user, users, user_attributes),
        ("item", item, items, item_attributes),
    ):
        side = source if table is None else _polars(table, f"{key}s")
        side_where = where if table is None else f"the table of {key}s"
        need_columns(side, [column, *attributes], side_where)
        if table is not None:
            side = side.filter(pl.col(column).is_not_null())
            attributes = attributes or [each for each in side.columns if each != column]
        if taken := {"user", "item", "rating", "time"} & set(attributes):
            raise RecpruneError(f"{side_where}: an attribute cannot be called {sorted(taken)[0]!r}; rename the column")
        if len(set(attributes)) < len(attributes):
            twice = next(each for i, each in enumerate(attributes) if each in attributes[:i])
            raise RecpruneError(f"{side_where}: {twice!r} is named twice among the attributes of {key}s")
        known = ids[key] if table is None else _ids(side[column], key in integers, side_where)
        sides.append(_attributes(known.alias(key), side.select(attributes), numbers, side_where, repairs))
    if lost := [each for each in numbers if not any(each in side.columns for side in sides)]:
        raise unknown("attribute in numbers", lost[0], [each for side in sides for each in side.columns[1:]])
    return Log(name, pl.DataFrame(columns), sides[0], sides[1], repairs, licence)


def _polars(frame: Any, where: str) -> pl.DataFrame:
    if isinstance(frame, pl.DataFrame):
        return frame
    import narwhals.stable.v1 as nw

    names = [str(name) for name in getattr(frame, "columns", ())]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecpruneError(f"{where} names the column {twice[0]!r} more than once")
    try:
        given = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise RecpruneError(f"{where} must be a pandas or polars frame, got {type(frame).__name__}") from None
    return pl.DataFrame([_series(given[column], str(column)) for column in given.columns])


def _series(column: Any, name: str) -> pl.Series:
    """A column as polars has it: NaN in text or in integers that pandas widened means missing."""
    if column.dtype.is_numeric() and not column.null_count():
        return pl.Series(name, column.to_numpy())
    missing = column.is_null().to_list()
    values = [None if no else value for value, no in zip(column.to_list(), missing, strict=True)]
    if len({type(value) for value in values if value is not None}) > 1:
        values = [None if value is None else str(value) for value in values]
    return pl.Series(name, values)


def _drop_without_ids(
    frame: pl.DataFrame, user: str, item: str, repairs: dict[str, int]
) -> tuple[pl.DataFrame, pl.Series]:
    """The rows with both ids, and their numbers in the given frame, from 1."""
    rows = pl.arange(1, len(frame) + 1, eager=True)
    for key, column in (("user", user), ("item", item)):
        missing = frame[column].is_null()
        if frame[column].dtype == pl.String:
            missing |= (frame[column] == "").fill_null(False)
        frame, rows = frame.filter(~missing), rows.filter(~missing)
        repairs[f"rows without {key} dropped"] = int(missing.sum())
    return frame, rows


def _ids(column: pl.Series, integer: bool, where: str) -> pl.Series:
    if column.dtype.is_float():
        raise RecpruneError(
            f"{where}: column {column.name!r} holds floating-point numbers, not ids; convert them to text or integers"
        )
    if not (column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise RecpruneError(f"{where}: column {column.name!r} holds {column.dtype}, not ids; convert it to text")
    if not integer:
        return column.cast(pl.String)
    known = column if column.dtype.is_integer() else column.cast(pl.String)
    result = known.cast(pl.Int64, strict=False)
    if (bad := result.is_null() & column.is_not_null()).any():
        first = column.filter(bad)[0]
        raise RecpruneError(f"{where}: {first!r} in column {column.name!r} is no integer; ids are text unless declared")
    return result


def _ratings(frame: pl.DataFrame, column: str | None, is_label: bool, where: str, rows: pl.Series) -> pl.Series:
    if column is None:
        return pl.repeat(1.0, len(frame), dtype=pl.Float32, eager=True)
    given = frame[column].cast(pl.Int8) if frame[column].dtype == pl.Boolean else frame[column]
    if is_label and given.dtype == pl.String:
        given = given.replace({"true": "1", "false": "0", "True": "1", "False": "0"})
    if missing := given.null_count():
        row = rows[int(given.is_null().arg_max() or 0)]
        raise RecpruneError(f"{where}: column {column!r} lacks {missing:,} values; the first is missing in row {row:,}")
    values = as_numbers(given, where, rows)
    if is_label and not (fine := values.is_in([0.0, 1.0])).all():
        raise RecpruneError(
            f"{where}: labels in {column!r} must be 0 or 1, got {given.filter(~fine)[0]!r}; is it a rating?"
        )
    return values.cast(pl.Float32)


def _times(column: pl.Series, where: str) -> pl.Series:
    """Seconds since 1970, from numbers or from dates and times (text in ISO 8601)."""
    if missing := column.null_count():
        raise RecpruneError(f"{where}: column {column.name!r} lacks {missing:,} times")
    if column.dtype == pl.String and not column.str.contains(r"^\s*[+-]?[\d.]+\s*$").all():
        parsed = _datetimes(column)
        if parsed.null_count():
            first = column.filter(parsed.is_null())[0]
            raise RecpruneError(
                f"{where}: {first!r} in column {column.name!r} is no time; write 2004-08-31 or 2004-08-31T12:00:00"
            )
        column = parsed
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("s")
    return as_numbers(column, where)


def _datetimes(column: pl.Series) -> pl.Series:
    """Python reads ISO 8601 with and without time, fraction and zone; what it cannot read is null."""

    def parse(text: str) -> datetime | None:
        try:
            time = datetime.fromisoformat(text.strip())
            return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
        except (ValueError, OverflowError):  # in UTC it may lie before the year 1 or after 9999
            return None

    memo = {text: parse(text) for text in column.unique()}
    return pl.Series(column.name, [memo[text] for text in column], dtype=pl.Datetime("us"))


def _text(column: pl.Series, where: str) -> pl.Series:
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise RecpruneError(f"{where}: column {column.name!r} holds {column.dtype}, not text or numbers") from None


def _attributes(
    ids: pl.Series, frame: pl.DataFrame, numbers: Sequence[str], where: str, repairs: dict[str, int]
) -> pl.DataFrame:
    """One row an id: numbers as float32, all else as text; the first value that is known counts."""
    if not frame.width:
        return pl.DataFrame({ids.name: ids[:0]})
    columns = [
        (
            as_numbers(column, where).cast(pl.Float32)
            if column.name in numbers or column.dtype.is_numeric()
            else _text(column, where)
        )
        for column in frame
    ]
    table = pl.DataFrame([ids, *columns])
    grouped = table.group_by(ids.name, maintain_order=True)
    names = [column.name for column in columns]
    varied = grouped.agg(pl.col(names).drop_nulls().n_unique() > 1).select(pl.any_horizontal(names).sum()).item()
    repairs[f"{ids.name}s with several values of an attribute"] = int(varied)
    return grouped.agg(pl.col(names).drop_nulls().first())
