"""Users who are to be left out of a log: kept as hashes, never as ids."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from recprune.data.log import Log
from recprune.errors import RecpruneError

__all__ = ["NOBODY", "Forgotten"]

_BYTES = 16  # of a hash: that two users share one does not happen


@dataclass(frozen=True)
class Forgotten:
    """A list of users as hashes under a random `salt` (hexadecimal) of the list.

    Whoever holds the list can try ids on it, so a short id can be guessed: the list is kept as the log is kept.

    >>> nobody = Forgotten()
    >>> some = nobody.adding(["ann", "bob"])
    >>> "ann" in some, "eve" in some, "ann" in nobody, len(some)
    (True, False, False, 2)
    """

    salt: str = ""
    hashes: frozenset[str] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, user: object) -> bool:
        return bool(self.hashes) and self._hash(str(user)) in self.hashes

    @property
    def digest(self) -> str:
        """Of the list as a whole, "" where there is nobody: what was made without these users is known by it."""
        return hashlib.sha256(self.content).hexdigest()[:16] if self.hashes else ""

    @property
    def content(self) -> bytes:
        """As it lies in a file."""
        return json.dumps({"format": 1, "salt": self.salt, "users": sorted(self.hashes)}).encode()

    @classmethod
    def read(cls, path: Path) -> Forgotten:
        """The list at `path`, or nobody where there is none. Raises RecpruneError for a file that is no such list."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != 1 or not isinstance(found["salt"], str):
                raise ValueError
            bytes.fromhex(found["salt"])
            return cls(found["salt"], frozenset(map(str, found["users"])))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            # To go on without it would bring back who asked to be forgotten.
            raise RecpruneError(f"{path} is no list of forgotten users; put back the one that was there") from error

    def adding(self, users: Iterable[str]) -> Forgotten:
        """The list with some users more."""
        longer = self if self.salt else replace(self, salt=secrets.token_hex(32))
        return replace(longer, hashes=self.hashes | {longer._hash(user) for user in users})

    def without(self, log: Log) -> Log:
        """The log without these users: no interaction of theirs, no attributes. How many there were is in its `repairs`."""
        if not self.hashes:
            return log
        named = pl.concat([log.interactions["user"], log.users["user"]]).unique()
        gone = named.filter(pl.Series([user in self for user in named.cast(pl.String).to_list()], dtype=pl.Boolean))
        stays = ~pl.col("user").is_in(gone.implode())
        repairs = {**log.repairs, "users forgotten": len(gone)}
        return replace(log, interactions=log.interactions.filter(stays), users=log.users.filter(stays), repairs=repairs)

    def _hash(self, user: str) -> str:
        return hashlib.blake2b(user.encode(), key=bytes.fromhex(self.salt), digest_size=_BYTES).hexdigest()


NOBODY = Forgotten()
