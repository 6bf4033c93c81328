"""Delimited text, read record by record: a separator or a line break inside quotes is data."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from recprune.errors import RecpruneError

__all__ = ["as_numbers", "read_records", "read_table"]

_NO_FILES = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")  # of Python itself
_CHUNK = 100_000  # records held as Python lists at a time


def read_records(
    source: bytes | Path,
    name: str,
    *,
    separator: str = ",",
    encoding: str = "utf-8",
    quote: str | None = '"',
    escape: str | None = None,
) -> Iterator[list[str]]:
    r"""Yield all records, the header included, as lists of text.

    - `source`: the bytes, or the path of a file; `name` is what errors call it. A byte order mark is dropped, and so
      are blank lines.
    - `quote`: the quoting character; None means that quotes are ordinary text. Inside quotes it is written twice.
    - `escape`: where given, it makes the next character ordinary, and quotes are not doubled.

    Raises `RecpruneError` where the bytes are not in the encoding or the quoting is broken (a truncated file, for one).

    >>> list(read_records(b'"a";"say \\"hi\\"\r\nthere"\r\n', "x", separator=";", escape="\\"))
    [['a', 'say "hi"\r\nthere']]
    """
    dialect: dict[str, Any] = {"delimiter": separator, "escapechar": escape, "doublequote": escape is None}
    dialect |= {"quoting": csv.QUOTE_NONE} if quote is None else {"quotechar": quote}
    limit = csv.field_size_limit(2**31 - 1)  # the default refuses a long field
    number = 0
    try:
        with _open(source, name, encoding) as stream:
            for row in csv.reader(stream, strict=True, **dialect):
                number += 1
                if row:
                    yield row
    except UnicodeError as error:  # UTF-16 without its mark is not a UnicodeDecodeError
        where = f"{getattr(error, 'reason', error)}, after record {number:,}"
        raise RecpruneError(f"{name} is not {encoding} ({where}); name its encoding: latin-1, cp1252, ...") from None
    except csv.Error as error:
        where = f"{name}: record {number + 1:,} is broken"
        raise RecpruneError(f"{where} ({error}); the file may be truncated, or quotes may be ordinary text") from None
    finally:
        csv.field_size_limit(limit)


def _open(source: bytes | Path, name: str, encoding: str) -> TextIO:
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        if codecs.lookup(encoding).name in _NO_FILES:
            raise LookupError
        if isinstance(source, bytes):
            return io.TextIOWrapper(io.BytesIO(source), encoding=encoding, newline="")
        return source.open(encoding=encoding, newline="")
    except (LookupError, ValueError):  # a name with a zero character is a ValueError
        raise RecpruneError(f"{name}: unknown encoding {encoding!r}; for example utf-8, latin-1, cp1252") from None
    except OSError as error:
        raise RecpruneError(f"{name} cannot be read: {error.strerror}") from None


def read_table(
    source: bytes | Path, name: str, *, separator: str = ",", encoding: str = "utf-8", quote: str | None = '"'
) -> pl.DataFrame:
    r"""Return delimited text with a header as a frame of text columns; nothing is guessed, an empty field is null.

    Raises `RecpruneError` where the file is empty, the header names a column twice, or a record has too few or too many
    fields, and as `read_records`.

    >>> read_table(b"user,isbn\n7,0155061224\n", "x").rows()
    [('7', '0155061224')]
    """
    records = read_records(source, name, separator=separator, encoding=encoding, quote=quote)
    header = next(records, None)
    if header is None:
        raise RecpruneError(f"{name} is empty; it needs a header and records")
    if twice := [column for column, count in Counter(header).items() if count > 1]:
        columns = ", ".join(header)
        raise RecpruneError(f"{name}: the header names {twice[0]!r} more than once; columns are: {columns}")
    schema = dict.fromkeys(header, pl.String)
    frames = [pl.DataFrame(schema=schema)]
    start = 2
    while chunk := list(islice(records, _CHUNK)):
        for number, row in enumerate(chunk, start):
            if len(row) != len(header):
                hint = f"; is the separator {separator!r}?" if len(header) == 1 else ""
                counts = f"{len(row)} fields, the header has {len(header)}"
                raise RecpruneError(f"{name}: record {number:,} has {counts}{hint}")
        frames.append(pl.DataFrame(chunk, schema=schema, orient="row"))
        start += len(chunk)
    frame = pl.concat(frames)
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def as_numbers(column: pl.Series, name: str, rows: pl.Series | None = None) -> pl.Series:
    """Return a column of text or numbers as float64; nulls stay.

    `name` is what errors call the table, `rows` the numbers of its rows (default: from 1).

    Raises `RecpruneError` with the first value that is no finite number.
    """
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise RecpruneError(f"{name}: column {column.name!r} holds {column.dtype}, not numbers")
    given = column.str.strip_chars() if column.dtype == pl.String else column
    result = given.cast(pl.Float64, strict=False)
    # What float32, in which ratings and attributes are kept, cannot hold would become infinite.
    bad = (result.is_null() & given.is_not_null()) | ~result.cast(pl.Float32).is_finite().fill_null(True)
    if bad.any():
        first = int(bad.arg_max() or 0)
        row = first + 1 if rows is None else rows[first]
        where = f"{name}: {given[first]!r} in column {column.name!r}, row {row:,}, is no finite number"
        raise RecpruneError(where + (f" ({int(bad.sum()):,} such rows)" if bad.sum() > 1 else ""))
    return result
