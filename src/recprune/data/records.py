"""Delimited text, read record by record: a separator or a line break inside quotes is data."""

import csv
import io
from typing import Any

from recprune.errors import RecpruneError

__all__ = ["read_records"]


def read_records(
    content: bytes,
    name: str,
    *,
    separator: str = ",",
    encoding: str = "utf-8",
    quote: str | None = '"',
    escape: str | None = None,
) -> list[list[str]]:
    r"""Return all records, the header included, as lists of text.

    - `quote`: the quoting character; None means that quotes are ordinary text. Inside quotes it is written twice.
    - `escape`: where given, it makes the next character ordinary, and quotes are not doubled.
    - `name` is what errors call the input. A byte order mark is dropped.

    Raises `RecpruneError` where the bytes are not in the encoding or the quoting is broken (a truncated file, for one).

    >>> read_records(b'"a";"say \\"hi\\"\r\nthere"\r\n', "x", separator=";", escape="\\")
    [['a', 'say "hi"\r\nthere']]
    """
    try:
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        where = f"byte {error.start:,} is {content[error.start]:#04x}"
        raise RecpruneError(
            f"{name} is not in {encoding}: {where}; name its encoding (latin-1, cp1252, utf-16, ...)"
        ) from None
    except LookupError:
        raise RecpruneError(
            f"{name}: unknown encoding {encoding!r}; for example utf-8, latin-1, cp1252, utf-16"
        ) from None
    stream = io.StringIO(text.removeprefix("\ufeff"), newline="")
    dialect: dict[str, Any] = {
        "delimiter": separator,
        "escapechar": escape,
        "doublequote": escape is None,
        "strict": True,
    }
    dialect |= {"quoting": csv.QUOTE_NONE} if quote is None else {"quotechar": quote}
    reader = csv.reader(stream, **dialect)
    limit = csv.field_size_limit(max(len(text), 1))  # the default refuses a long field
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        raise RecpruneError(
            f"{name}: record {len(rows) + 1:,} is broken ({error}); the file may be truncated"
        ) from None
    finally:
        csv.field_size_limit(limit)
    return rows if all(rows) else [row for row in rows if row]  # a blank line is not a record
