"""The log that a configuration names: read without the users who are forgotten, and where else they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from recprune.data import Forgotten, Log, book_crossing, movielens_100k, read_log
from recprune.data.forgotten import NOBODY
from recprune.errors import RecpruneError

__all__ = ["drop_cached", "identity", "load_log", "user_files"]

_PUBLIC = ("book_crossing", "movielens_100k")


def load_log(data: str, folder: Path = Path(), forgotten: Forgotten = NOBODY) -> Log:
    """The log that a configuration names, without the users who are forgotten."""
    if data == "book_crossing":
        return book_crossing(forgotten=forgotten)
    if data == "movielens_100k":
        return forgotten.without(movielens_100k())
    path = folder / data
    if not path.exists():
        raise RecpruneError(f"data {data!r} is none of book_crossing, movielens_100k, nor the YAML of a log at {path}")
    return forgotten.without(read_log(path))


def identity(data: str, forgotten: Forgotten, log: Callable[[], Log]) -> list[str]:
    """What tells one log from another: the name of a public one, else all that it holds, in whichever files.

    So a user who is forgotten and one who was deleted from the files leave the same log.
    """
    if data in _PUBLIC:
        return [data, forgotten.digest] if forgotten else [data]
    given = log()
    content = hashlib.sha256(f"{given.name} {given.licence}".encode())
    for frame in (given.interactions, given.users, given.items):
        content.update(frame.write_csv().encode())
    return [content.hexdigest()]


def user_files(data: str, folder: Path) -> list[Path]:
    """The files that the log is read from and that name its users: they are not ours to change."""
    from recprune.data.book_crossing import user_files as of_books
    from recprune.data.movielens import user_files as of_films
    from recprune.data.own import user_files as of_own

    return {"book_crossing": of_books, "movielens_100k": of_films}.get(data, lambda: of_own(folder / data))()


def drop_cached(data: str, forgotten: Forgotten) -> None:
    """Remove what is cached of the log and still has these users."""
    from recprune.data.book_crossing import drop_parsed

    if data == "book_crossing":
        drop_parsed(forgotten)
