"""The log: who read, bought or rated what, with what is known of the users and the items."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import polars as pl

from recprune.errors import RecpruneError

__all__ = ["Log"]


@dataclass(frozen=True)
class Log:
    """Interactions of users with items, and the attributes of both.

    - `interactions`: one row an interaction: `user`, `item` (text, or integers where they were declared so), `rating`
      (float32; what 0 means is up to the log: in Book-Crossing an interaction without a rating) and perhaps `time`
      (seconds since 1970).
    - `users`, `items`: attributes, one row an id, keyed by `user` and `item`; an id may be without attributes, or have
      some and no interaction. Unknown values are null.
    - `repairs`: how many values were repaired or nulled on reading, by kind.
    - `licence`: under what the data may be used.

    >>> log = Log("toy", pl.DataFrame({"user": ["u"], "item": ["a"], "rating": [8.0]}))
    >>> log.interactions["rating"].dtype, log.users.columns
    (Float32, ['user'])
    """

    name: str
    interactions: pl.DataFrame
    users: pl.DataFrame = field(default_factory=pl.DataFrame)
    items: pl.DataFrame = field(default_factory=pl.DataFrame)
    repairs: Mapping[str, int] = field(default_factory=dict)
    licence: str = "unknown"

    def __post_init__(self) -> None:
        """Check columns and keys; ratings become float32, missing attribute tables empty ones."""
        have = self.interactions.columns
        if missing := [name for name in ("user", "item", "rating") if name not in have]:
            raise RecpruneError(f"log {self.name!r}: interactions lack {missing[0]!r}; columns are: {', '.join(have)}")
        if not len(self.interactions):
            raise RecpruneError(f"log {self.name!r} has no interactions")
        set_ = object.__setattr__
        set_(self, "interactions", self.interactions.with_columns(pl.col("rating").cast(pl.Float32)))
        set_(self, "repairs", MappingProxyType(dict(self.repairs)))
        for table, key in (("users", "user"), ("items", "item")):
            frame: pl.DataFrame = getattr(self, table)
            if not frame.width:
                frame = pl.DataFrame(schema={key: self.interactions.schema[key]})
                set_(self, table, frame)
            if key not in frame.columns:
                raise RecpruneError(f"log {self.name!r}: {table} lack {key!r}; columns are: {', '.join(frame.columns)}")
            if frame.schema[key] != self.interactions.schema[key]:
                kinds = f"{frame.schema[key]} and {self.interactions.schema[key]}"
                raise RecpruneError(f"log {self.name!r}: {key!r} is {kinds} in {table} and interactions")
            if (double := frame[key].is_duplicated()).any():
                raise RecpruneError(f"log {self.name!r}: {table} have {frame.filter(double)[key][0]!r} more than once")
        both = (set(self.users.columns) & set(self.items.columns)) - {"user", "item"}
        if both:
            raise RecpruneError(f"log {self.name!r}: {sorted(both)[0]!r} is an attribute of users and of items")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as its fields (a read-only mapping cannot be pickled)."""
        return Log, (self.name, self.interactions, self.users, self.items, dict(self.repairs), self.licence)

    @property
    def digest(self) -> str:
        """SHA-256 of the log's manifest: its name, licence and repairs, and the SHA-256 of each table as csv.

        >>> log = Log("toy", pl.DataFrame({"user": ["u"], "item": ["a"], "rating": [8.0]}))
        >>> log.digest == Log("toy", log.interactions).digest != Log("toy", log.interactions, licence="ours").digest
        True
        """
        tables = {name: getattr(self, name).write_csv() for name in ("interactions", "users", "items")}
        manifest = {
            "name": self.name,
            "licence": self.licence,
            "repairs": dict(self.repairs),
            "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in tables.items()},
        }
        return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_frame(
        cls, frame: Any, *, user: str = "user", item: str = "item", rating: str | None = None, **columns: Any
    ) -> "Log":
        """Make a log of a pandas or polars frame; `columns` are the other keys of `recprune.data.read_log`.

        >>> frame = pl.DataFrame({"who": ["u", "u"], "what": ["a", "b"], "stars": [5, 1]})
        >>> Log.from_frame(frame, user="who", item="what", rating="stars").interactions["rating"].to_list()
        [5.0, 1.0]
        """
        from recprune.data.frames import log_from_frame

        return log_from_frame(frame, user=user, item=item, rating=rating, **columns)

    def joined(self, pairs: pl.DataFrame | None = None) -> pl.DataFrame:
        """Return the rows of `pairs` (columns `user` and `item`; default: all interactions) with attributes.

        The order stays; ids without attributes get nulls.
        """
        frame = self.interactions if pairs is None else pairs
        if missing := [name for name in ("user", "item") if name not in frame.columns]:
            raise RecpruneError(f"pairs lack {missing[0]!r}; columns are: {', '.join(frame.columns)}")
        frame = frame.join(self.users, on="user", how="left", maintain_order="left")
        return frame.join(self.items, on="item", how="left", maintain_order="left")

    def popularity(self, key: str = "item") -> pl.DataFrame:
        """Count the interactions of every `key` (`user` or `item`): columns `key` and `count`, most popular first."""
        if key not in ("user", "item"):
            raise RecpruneError(f"popularity is of 'user' or 'item', got {key!r}")
        return self.interactions.group_by(key).agg(count=pl.len()).sort(["count", key], descending=[True, False])
