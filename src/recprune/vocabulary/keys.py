"""What an id is: one definition for building and for looking up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.bits import FEW, utf8
from recprune.errors import RecpruneError

__all__ = [
    "MAX_BYTES",
    "Keys",
    "as_bytes",
    "as_integers",
    "as_text",
    "each_bytes",
    "find",
    "id_keys",
    "missing",
    "pair_keys",
]

Array = npt.NDArray[Any]
MAX_BYTES = 1024  # of an id in UTF-8
_NO_ID = "\n"  # no id holds a line break
_DIGITS = 18  # that surely fit 64 bits
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,17}")


def missing(value: Any) -> bool:
    """Whether a value is None, NaN or a missing value of pandas.

    >>> [missing(v) for v in (None, float("nan"), "", 0)]
    [True, True, False, False]
    """
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def as_text(values: Array | Sequence[Any]) -> npt.NDArray[np.str_]:
    """Ids as text. A number without fraction is its digits, whatever its type; a missing id is the empty text.

    >>> as_text(["a", 7, 7.0, None]).tolist()
    ['a', '7', '7', '']
    """
    # A plain list stays a list of objects: numpy would turn ["a", nan] into the ids "a" and "nan".
    array = values if isinstance(values, np.ndarray) else np.fromiter(values, dtype=object, count=len(values))
    if array.dtype.kind in "iuU":
        return array.astype(np.str_, copy=False)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "surrogatepass")
    return np.array([_text(value) for value in array.tolist()], dtype=np.str_)


def _text(value: Any) -> str:
    if isinstance(value, str):
        # One long text would make the whole array as wide; it cannot be an id.
        return str(value) if len(value) <= MAX_BYTES else _NO_ID
    if isinstance(value, bytes):
        return _text(value.decode("utf-8", "replace"))
    if missing(value):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return _text(str(value))


def as_bytes(values: Array | Sequence[Any]) -> Array:
    """Ids as UTF-8 of fixed width, what numpy sorts and searches fastest."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return values
    return utf8(as_text(values))


def each_bytes(values: Array | Sequence[Any]) -> list[bytes]:
    """As `as_bytes`, one by one.

    >>> each_bytes(["a", 7, 7.0, None])
    [b'a', b'7', b'7', b'']
    """
    kind = values.dtype.kind if isinstance(values, np.ndarray) else "O"
    each: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if kind == "S":
        return each
    texts = each if kind == "U" else [_text(value) for value in each]
    # Arrays of texts end where only zero bytes follow.
    return [text.encode("utf-8", "surrogatepass").rstrip(b"\0") for text in texts]


def as_integers(values: Array | Sequence[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Ids as int64, and which of them are integers at all, written as they would be: "007" is text.

    >>> [found.tolist() for found in as_integers(["7", "-12", "007", "7a", ""])]
    [[7, -12, 0, 0, 0], [True, True, False, False, False]]
    """
    if isinstance(values, np.ndarray) and (
        values.dtype.kind == "i" or (values.dtype.kind == "u" and values.itemsize < 8)
    ):
        return values.astype(np.int64), np.ones(len(values), dtype=bool)
    if len(values) <= FEW:
        each = each_bytes(values)
        whole = [_INTEGER.fullmatch(text) is not None for text in each]
        read = [int(text) if ok else 0 for text, ok in zip(each, whole, strict=True)]
        return np.array(read, dtype=np.int64), np.array(whole, dtype=bool)
    texts = np.ascontiguousarray(as_bytes(values))
    length = np.char.str_len(texts)
    letters = texts.view(np.uint8).reshape(len(texts), texts.dtype.itemsize)
    minus = np.char.startswith(texts, b"-")
    found = np.zeros(len(texts), dtype=np.int64)
    # As it would be written: digits, but no zero before others, and no minus before a zero.
    good = (length > minus) & (length - minus <= _DIGITS) & ~np.char.startswith(texts, b"-0")
    good &= (length == 1) | ~np.char.startswith(texts, b"0")
    for i, column in enumerate(letters.T[: _DIGITS + 1]):
        here = (i < length) & ((i > 0) | ~minus)
        digit = column - np.uint8(ord("0"))  # wraps around: what is no digit is above 9
        good &= ~here | (digit < 10)
        found = np.where(here & good, found * 10 + digit, found)
    return np.where(good, np.where(minus, -found, found), 0), good


def id_keys(ids: Array) -> Array:
    """The keys of a vocabulary: int64 for integers, UTF-8 for all else.

    Raises RecpruneError for an id twice, with a line break, or longer than `MAX_BYTES`.
    """
    ids = np.asarray(ids)
    if ids.dtype.kind in "iu":
        keys: Array = ids.astype(np.int64)
        if ids.dtype.kind == "u" and (keys < 0).any():
            raise RecpruneError(f"an integer id is larger than 2**63 - 1: {ids.max()}; give such ids as text")
    else:
        keys = as_bytes(ids)
        if keys.dtype.itemsize > MAX_BYTES or (len(keys) and (np.char.count(keys, b"\n") > 0).any()):
            raise RecpruneError(f"an id holds a line break or is longer than {MAX_BYTES} bytes")
    unique, counts = np.unique(keys, return_counts=True)
    if len(unique) < len(keys):
        raise RecpruneError(f"an id is twice in a vocabulary: {as_text(unique[counts > 1][:1])[0]!r}")
    return keys


def find(keys: Array, values: Array | Sequence[Any]) -> npt.NDArray[np.int64]:
    """Place of each id among sorted `keys`; -1 for an unknown one."""
    if not len(keys):
        return np.full(len(values), -1, dtype=np.int64)
    if keys.dtype.kind == "S":
        wanted = as_bytes(values)
        good = np.ones(len(wanted), dtype=bool)
        # Cut to the width of the keys: else numpy widens all keys to the longest id asked for.
        at = np.searchsorted(keys, wanted.astype(keys.dtype))
    else:
        wanted, good = as_integers(values)
        at = np.searchsorted(keys, wanted)
    at = np.minimum(at, len(keys) - 1)
    return np.where(good & (keys[at] == wanted), at, -1)


def pair_keys(left: Array | Sequence[Any], right: Array | Sequence[Any]) -> npt.NDArray[np.str_]:
    """One text key for each pair of ids.

    >>> pair_keys(np.array(["u1"]), np.array(["a"])).tolist()
    ['u1\\x1fa']
    """
    return np.char.add(np.char.add(as_text(left), "\x1f"), as_text(right))


class Keys:
    """Sorted ids, searched in place: those of like length together, so that one long title does not widen all of them.

    >>> keys = Keys(np.array([b"a", b"b", b"longer than eight"]))
    >>> keys.find(["b", "longer than eight", "longer"]).tolist(), keys.nbytes
    ([1, 2, -1], 60)
    """

    def __init__(self, ids: Array) -> None:
        self.dtype = ids.dtype
        self.size = len(ids)
        self._classes: list[tuple[int, int, Array, npt.NDArray[np.int32]]] = []
        if ids.dtype.kind != "S":
            self._classes.append((0, 0, ids, np.arange(len(ids), dtype=np.int32)))
            return
        length = np.char.str_len(ids) if len(ids) else np.zeros(0, np.int64)
        low, width = 0, 8
        while low <= int(length.max(initial=-1)):
            rows = np.flatnonzero((length >= low) & (length <= width)).astype(np.int32)
            if len(rows):
                self._classes.append((low, width, ids[rows].astype(f"S{max(width, 1)}"), rows))
            low, width = width + 1, 2 * width
        self._classes.sort(key=lambda given: -len(given[3]))  # most ids are in the first that is asked

    def __len__(self) -> int:
        return self.size

    def find(self, values: Array | Sequence[Any]) -> npt.NDArray[np.int64]:
        """Place of each id in the sorted order; -1 for an unknown one."""
        if self.dtype.kind != "S":
            return find(self._classes[0][2], values)
        if len(values) <= FEW:
            return np.array([self._find(text) for text in each_bytes(values)], dtype=np.int64)
        wanted = as_bytes(values)
        found = np.full(len(wanted), -1, dtype=np.int64)
        length = np.char.str_len(wanted) if len(wanted) else np.zeros(0, np.int64)
        for low, width, keys, rows in self._classes:
            mine = np.flatnonzero((length >= low) & (length <= width))
            if len(mine):
                at = find(keys, wanted[mine].astype(keys.dtype))
                found[mine] = np.where(at >= 0, rows[at], -1)
        return found

    def _find(self, text: bytes) -> int:
        for low, width, keys, rows in self._classes:
            if low <= len(text) <= width:
                at = int(keys.searchsorted(np.bytes_(text)))
                return int(rows[at]) if at < len(keys) and keys[at] == text else -1
        return -1

    def listed(self) -> list[Any]:
        """All ids in their order, bytes or integers."""
        if self.dtype.kind != "S":
            return list(self._classes[0][2].tolist())
        ids: list[Any] = [b""] * self.size
        for _, _, keys, rows in self._classes:
            for row, key in zip(rows.tolist(), keys.tolist(), strict=True):
                ids[row] = key
        return ids

    def take(self, places: Array) -> list[Any]:
        """The ids at these places of the order, bytes or integers."""
        if self.dtype.kind != "S":
            return list(self._classes[0][2][places].tolist())
        if len(places) <= FEW:
            return [self._at(place) for place in places.tolist()]
        ids: list[Any] = [b""] * len(places)
        for _, _, keys, rows in self._classes:
            at = np.minimum(np.searchsorted(rows, places.astype(np.int32)), len(rows) - 1)
            mine = np.flatnonzero(rows[at] == places)
            for i, key in zip(mine.tolist(), keys[at[mine]].tolist(), strict=True):
                ids[i] = key
        return ids

    def _at(self, place: int) -> bytes:
        for _, _, keys, rows in self._classes:
            at = int(rows.searchsorted(np.int32(place)))  # of another type, numpy would convert all rows
            if at < len(rows) and rows[at] == place:
                return bytes(keys[at])
        raise IndexError(f"no id at {place}")

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(keys.nbytes + (rows.nbytes if self.dtype.kind == "S" else 0) for _, _, keys, rows in self._classes)
