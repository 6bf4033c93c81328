"""The user's own log: csv or parquet files and a small YAML that says which column is what."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.frames import log_from_frame, need_columns
from recprune.data.log import Log
from recprune.data.records import read_table
from recprune.documents import read_yaml
from recprune.errors import RecpruneError, unknown
from recprune.memory import require

__all__ = ["read_file", "read_log", "user_files"]

_DIALECT = ("separator", "quote", "encoding")
_LISTS = ("user_attributes", "item_attributes", "integers", "numbers")
_KEYS = ("name", "licence", "file", "user", "item", "rating", "label", "time", *_LISTS, "users", "items", *_DIALECT)


def read_log(config: str | Path | Mapping[str, Any]) -> Log:
    """Read the log that a YAML file (or the same as a mapping) describes.

        name: shop
        file: orders.csv            # or .parquet; paths are relative to the YAML
        user: customer              # columns of the file
        item: sku
        rating: stars               # or `label`, of 0 and 1; neither: every row is a 1
        time: at                    # optional: seconds since 1970, or a date or time in ISO 8601
        user_attributes: [age]      # optional
        item_attributes: [brand]    # optional
        numbers: [age]              # attributes that are numbers; all others are text
        integers: [user]            # ids that are integers; ids are text otherwise: 0155061224 keeps its zero
        users: {file: customers.csv, user: id}   # optional: where the attributes of users are, if not in `file`
        items: {file: goods.csv, item: sku}      # the same for items
        separator: ";"              # of csv files; default: comma
        quote: none                 # quotes are ordinary text; default: the double quote
        encoding: latin-1           # default: utf-8, with or without a byte order mark
        licence: ours

    Rows without a user or an item are dropped and counted in `repairs`; where an id has several values of an attribute,
    the first counts, and the ids are counted.

    Raises `RecpruneError`, in one line, on an unknown key, a file or column that is missing, a file that is empty or
    broken, ids that are not of the declared type, and ratings that are missing or not finite.
    """
    folder, given = (Path(), dict(config)) if isinstance(config, Mapping) else _given(Path(config))
    where = "the mapping" if isinstance(config, Mapping) else str(config)
    for key in given:
        if key not in _KEYS:
            raise unknown(f"key in {where}", str(key), _KEYS)
    for key in ("file", "user", "item"):
        if key not in given:
            raise RecpruneError(f"{where} lacks {key!r}; it needs file, user and item")
    for key, value in given.items():
        if key in _LISTS and not (isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)):
            raise RecpruneError(f"{where}: {key} must be a list of names, got {value!r}")
        if key not in (*_LISTS, "users", "items") and not _is_text(key, value):
            raise RecpruneError(f"{where}: {key} must be text, got {value!r}")
    tables: dict[str, Any] = {key: _side_table(given, key, folder, where) for key in ("users", "items") if key in given}
    columns: dict[str, Any] = {
        key: given[key] for key in (*_LISTS, "user", "item", "rating", "label", "time", "licence") if key in given
    }
    file = folder / given["file"]
    return log_from_frame(
        read_file(file, given), where=given["file"], name=given.get("name", file.stem), **columns, **tables
    )


def user_files(path: Path) -> list[Path]:
    """The files that name users, of the log that a YAML describes."""
    folder, given = _given(path)
    tables = [given, *([given["users"]] if "users" in given else [])]
    return [folder / str(table["file"]) for table in tables]


def _given(path: Path) -> tuple[Path, dict[str, Any]]:
    given = read_yaml(path)
    if not isinstance(given, dict):
        raise RecpruneError(f"{path} must be a mapping with the keys file, user and item")
    return path.parent, given


def _is_text(key: str, value: object) -> bool:
    """YAML reads `quote: off` as False and an empty value as None, which mean the same as none."""
    return isinstance(value, str) or (key == "quote" and (value is None or value is False))


def _side_table(given: Mapping[str, Any], key: str, folder: Path, where: str) -> pl.DataFrame:
    """The table of attributes under `users` or `items`, its id named as in the log."""
    table, name = given[key], key.removesuffix("s")
    if not isinstance(table, Mapping) or "file" not in table:
        raise RecpruneError(f"{where}: {key} must be a mapping with the key file, got {table!r}")
    for each, value in table.items():
        if not _is_text(each, value):
            raise RecpruneError(f"{where}: {each} under {key} must be text, got {value!r}")
        if each not in ("file", name, *_DIALECT):
            raise unknown(f"key under {key} in {where}", str(each), ("file", name, *_DIALECT))
    frame = read_file(folder / str(table["file"]), {**given, **table})
    column = table.get(name, given[name])
    need_columns(frame, [column], str(table["file"]))
    if column != given[name]:
        frame = frame.drop(given[name], strict=False).rename({column: given[name]})
    return frame


def read_file(path: Path, given: Mapping[str, Any]) -> pl.DataFrame:
    """A csv or parquet file as a frame; `given`: separator, quote and encoding of csv. Errors as of `read_log`."""
    if not os.path.isfile(path):  # a name that no file can have is one more that is none
        raise RecpruneError(f"no such file: {path}")
    if path.suffix == ".parquet":
        try:
            lazy = pl.scan_parquet(path)
            cells = lazy.select(pl.len()).collect().item() * len(lazy.collect_schema())
            require(8 * cells, f"{path} of {cells:,} values", "leave out columns, or rows")
            return lazy.collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            said = next(iter(str(error).splitlines()), "")
            raise RecpruneError(f"{path} is not readable as parquet: {said}") from None
    separator, quote = given.get("separator", ","), given.get("quote", '"')
    separator = {"tab": "\t", r"\t": "\t"}.get(separator, separator)
    quote = None if quote in ("none", "off", "", False, None) else quote
    if any(not isinstance(each, str) or len(each) != 1 or each in "\r\n" for each in (separator, quote or '"')):
        raise RecpruneError(
            f"{path}: separator and quote must be one character (quote: none), got {separator!r}, {quote!r}"
        )
    return read_table(path, str(path), separator=separator, quote=quote, encoding=given.get("encoding", "utf-8"))
