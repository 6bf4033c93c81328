"""MovieLens 100K: ratings with times of 943 people (Harper and Konstan, ACM TiiS 5(4), 2015)."""

from pathlib import Path

import polars as pl

from recprune.data.fetch import Source, cache_folder, names_in, read_files
from recprune.data.log import Log
from recprune.data.records import as_numbers, read_records
from recprune.errors import RecpruneError

__all__ = ["movielens_100k", "user_files"]

_SOURCE = Source(
    "movielens-100k",
    "recbole==1.2.1",
    {
        "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
        "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    },
)
# The archive of GroupLens itself, given as a path: not fetched, so known by its counts and not by digests.
_OFFICIAL = Source("movielens-100k", "", {"u.data": "", "u.item": "", "u.user": ""})
_COUNTS = {"ratings": 100_000, "films": 1_682, "people": 943}
_GENRES = [
    *[
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ],
    *["Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"],
]
_LICENCE = "MovieLens 100K, GroupLens: research use with acknowledgement; neither commercial use nor redistribution"


def movielens_100k(path: str | Path | None = None) -> Log:
    """Return the MovieLens 100K log.

    Columns: `interactions` user, item, rating (1 to 5), time (seconds since 1970); `items` title, year, genres (words
    with spaces between); `users` age, gender, occupation, zip.

    `path`: a folder or zip with the files of RecBole (ml-100k.inter, .item, .user) or of GroupLens (u.data, u.item,
    u.user). Without one the files of RecBole are fetched once and cached.

    Raises `RecpruneError` where a file is missing, corrupt or cannot be fetched.
    """
    official = path is not None and "u.data" in names_in(Path(path).expanduser())
    source = _OFFICIAL if official else _SOURCE
    contents, digests = read_files(source, path)
    if official:
        ratings = _rows(contents, "u.data", "\t", 4)
        films = [_official_film(row) for row in _rows(contents, "u.item", "|", 5 + len(_GENRES))]
        people = _rows(contents, "u.user", "|", 5)
    else:
        ratings, films, people = (
            _rows(contents, name, "\t", width)[1:] for name, width in zip(_SOURCE.files, (4, 4, 5), strict=True)
        )
    for (what, count), rows, name in zip(_COUNTS.items(), (ratings, films, people), source.files, strict=True):
        if len(rows) != count:
            raise RecpruneError(f"{name} has {len(rows):,} {what}, expected {count:,}; it is truncated or another file")
    repairs = {"title repaired": 0, "film unknown": 0}
    repairs |= {
        f"{name} differs from the known file": 1
        for name, known in source.files.items()
        if known and digests[name] != known
    }
    interactions = _text(ratings, "user", "item", "rating", "time")
    users = _text(people, "user", "age", "gender", "occupation", "zip")
    items = _text([_film(row, repairs) for row in films], "item", "title", "year", "genres")
    return Log(
        _SOURCE.name,
        interactions.with_columns(
            as_numbers(interactions["rating"], "the ratings").cast(pl.Float32),
            as_numbers(interactions["time"], "the ratings").cast(pl.Int64),
        ),
        users.with_columns(as_numbers(users["age"], "the people").cast(pl.Int16)),
        items.with_columns(as_numbers(items["year"], "the films").cast(pl.Int16)),
        repairs,
        _LICENCE,
    )


def user_files() -> list[Path]:
    """The files of the cache, as they were fetched, that name users."""
    return [cache_folder() / _SOURCE.name / name for name in _SOURCE.files if not name.endswith(".item")]


def _rows(contents: dict[str, bytes], name: str, separator: str, width: int) -> list[list[str]]:
    encoding = "latin-1" if name.startswith("u.") else "utf-8"
    rows = list(read_records(contents[name], name, separator=separator, encoding=encoding, quote=None))
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise RecpruneError(f"{name}: record {number:,} has {len(row)} fields, expected {width}")
    return rows


def _text(rows: list[list[str | None]] | list[list[str]], *columns: str) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _official_film(row: list[str]) -> list[str]:
    """`id|Toy Story (1995)|01-Jan-1995||url|flags` as RecBole writes it: id, title, year, genres."""
    title, bracket, year = row[1].rpartition(" (")
    genres = " ".join(genre for genre, flag in zip(_GENRES, row[5:], strict=True) if flag == "1")
    return [row[0], title, year.removesuffix(")"), genres] if bracket else [row[0], row[1], "", genres]


def _film(row: list[str], repairs: dict[str, int]) -> list[str | None]:
    """Repair titles whose year is followed by a mark, `Title (1995) (V)`; null what is unknown."""
    item, title, year, genres = row
    if not year.isdecimal() and title.endswith(")") and (parts := title.rpartition(" ("))[2][:-1].isdecimal():
        title, year = parts[0], parts[2][:-1]
        repairs["title repaired"] += 1
    known = title not in ("unknown", "unkonwn")  # spelt so in RecBole's file
    repairs["film unknown"] += not known
    return [item, title if known else None, year if year.isdecimal() else None, genres if genres != "unknown" else None]
