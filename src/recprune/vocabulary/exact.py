"""Every id, stored whole."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.vocabulary.keys import MAX_BYTES, Keys, id_keys

__all__ = ["ExactVocabulary"]

Array = npt.NDArray[Any]
_WINDOW = 1 << 23
_LARGEST = 1 << 30  # bytes of the ids of a group, each as long as the longest: a few bytes of xz may claim any number


@dataclass(frozen=True, eq=False)
class ExactVocabulary:
    """Ids in groups, sorted within each; stored as xz of the sorted ids, searched as bytes in memory.

    A group is the ids whose rows are stored alike (see artifact.layout); its rows are neighbours.
    """

    groups: tuple[Any, ...]

    @classmethod
    def build(cls, groups: list[Array]) -> tuple[ExactVocabulary, list[npt.NDArray[np.int64]]]:
        """The vocabulary, and for each group the order in which its ids became rows.

        Raises RecpruneError for an id twice, with a line break, or longer than 1024 bytes.
        """
        if not groups:
            return cls(()), []
        keys = np.split(id_keys(np.concatenate(groups)), np.cumsum([len(group) for group in groups])[:-1])
        orders = [np.argsort(group, kind="stable") for group in keys]
        return cls(tuple(group[order] for group, order in zip(keys, orders, strict=True))), orders

    def __post_init__(self) -> None:
        for group in self.groups:
            if group.ndim != 1 or (group.dtype.kind != "S" and group.dtype != np.int64):
                raise RecpruneError(f"a vocabulary holds ids as bytes or int64, got {group.dtype}")
            if group.nbytes > _LARGEST:
                raise RecpruneError(f"a vocabulary's ids take more than {_LARGEST} bytes: store fingerprints of them")
            if (group[1:] <= group[:-1]).any():
                raise RecpruneError("a vocabulary's ids are not sorted, or one is there twice")
        object.__setattr__(self, "groups", tuple(Keys(group) for group in self.groups))

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""
        rows = np.full(len(values), len(self), dtype=np.int64)
        start = 0
        for group in self.groups:
            at = group.find(values)
            rows = np.where(at >= 0, start + at, rows)
            start += len(group)
        return rows

    def ids(self) -> Array:
        """All ids in row order, as text or integers."""
        if self.spec()["type"] == "integer":
            return np.array([value for group in self.groups for value in group.listed()], dtype=np.int64)
        return np.array(
            [key.decode("utf-8", "surrogatepass") for group in self.groups for key in group.listed()], np.str_
        )

    def __getitem__(self, rows: Array) -> Array:
        """The ids of some rows, as `ids()[rows]`, but no others are decoded: an answer names a few of many."""
        rows, start = np.asarray(rows, dtype=np.int64), 0
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"row out of range of {len(self)} ids")
        found: list[Any] = [None] * len(rows)
        for group in self.groups:
            mine = np.flatnonzero((rows >= start) & (rows < start + len(group)))
            for i, value in zip(mine.tolist(), group.take(rows[mine] - start), strict=True):
                found[i] = value
            start += len(group)
        if self.spec()["type"] == "integer":
            return np.array(found, dtype=np.int64)
        return np.array([key.decode("utf-8", "surrogatepass") for key in found], np.str_)

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory."""
        return sum(group.nbytes for group in self.groups)

    def _compressed(self) -> dict[str, Array]:
        found = {}
        for i, group in enumerate(self.groups):
            if group.dtype.kind == "S":
                raw = b"\n".join(group.listed())
            else:
                # Differences of sorted integers, the lowest bytes of all first: long runs of zeros.
                steps = np.diff(np.array(group.listed(), dtype=np.int64), prepend=np.int64(0))
                raw = steps.view(np.uint8).reshape(-1, 8).T.tobytes()
            # A window no larger than the ids: the default one costs 60 ms for each small group.
            window = min(max(4096, len(raw)), _WINDOW)
            xz = lzma.compress(raw, lzma.FORMAT_RAW, filters=[{**_FILTER, "pb": 0, "lc": 4, "dict_size": window}])
            found[f"ids.{i}"] = np.frombuffer(xz, dtype=np.uint8)
        return found

    def arrays(self) -> dict[str, Array]:
        """The groups, compressed the first time; not by `cached_property`, of which one lock holds up all threads."""
        mine = vars(self)
        if "_packed" not in mine:
            mine["_packed"] = self._compressed()
        return dict(mine["_packed"])

    def spec(self) -> dict[str, Any]:
        """Counts and type of the ids."""
        return {
            "vocabulary": "exact",
            "counts": [len(group) for group in self.groups],
            "type": "text" if all(group.dtype.kind == "S" for group in self.groups) else "integer",
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any], arrays: dict[str, Array]) -> ExactVocabulary:
        """The vocabulary that `spec()` and `arrays()` describe; the constructor validates."""
        if spec["type"] not in ("text", "integer"):
            raise RecpruneError(f"ids of a vocabulary are text or integer, got {spec['type']!r}")
        unpacked = _text if spec["type"] == "text" else _integers
        names = [f"ids.{i}" for i in range(len(spec["counts"]))]
        found = cls(tuple(unpacked(arrays[name], count) for name, count in zip(names, spec["counts"], strict=True)))
        vars(found)["_packed"] = {name: arrays[name] for name in names}
        return found


_FILTER = {"id": lzma.FILTER_LZMA2, "preset": 6}


def _raw(packed: Array, limit: int) -> bytes:
    """At most `limit` + 1 bytes, so that a small file cannot fill the memory."""
    limit = min(limit, 2 * _LARGEST)
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{**_FILTER, "dict_size": _WINDOW}])
    raw = reader.decompress(packed.tobytes(), max_length=limit + 1)
    if not reader.eof or reader.unused_data:
        raise RecpruneError(f"a vocabulary's ids do not end where they should: after at most {limit} bytes")
    return raw


def _integers(packed: Array, count: int) -> Array:
    raw = _raw(packed, 8 * count)
    if len(raw) != 8 * count:
        raise RecpruneError(f"a vocabulary of {count} integers holds {len(raw)} bytes")
    # Steps wrap around where ids span more than 2**63, and so does their sum.
    return np.frombuffer(raw, np.uint8).reshape(8, count).T.copy().view(np.int64).reshape(-1).cumsum()


def _text(packed: Array, count: int) -> Array:
    raw = _raw(packed, (MAX_BYTES + 1) * count)
    raw.decode("utf-8", "surrogatepass")  # a line break is no part of a letter: what is valid whole is valid id by id
    if (found := raw.count(b"\n") + 1 if count or raw else 0) != count:
        raise RecpruneError(f"a vocabulary of {count} ids holds {found}")
    ids = raw.split(b"\n") if count else []
    longest = max(map(len, ids), default=0)
    if longest > MAX_BYTES:
        raise RecpruneError(f"a vocabulary's id is longer than {MAX_BYTES} bytes")
    if longest * count > _LARGEST:
        raise RecpruneError(f"a vocabulary of {count} ids of up to {longest} bytes is too large")
    return np.array(ids, dtype=np.bytes_)
