"""Packed unsigned integers of 1 to 24 bits, and a stable hash of ids: what the compact formats are built from."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "FEW",
    "fnv64",
    "fnv_of",
    "hash64",
    "mix64",
    "mix_of",
    "pack",
    "packed_bytes",
    "unpack",
    "unpack_first",
    "unpack_one",
    "utf8",
]

Array = npt.NDArray[Any]
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of splitmix64
_64 = (1 << 64) - 1
FEW = 16  # one request: up to so many values plain integers are quicker than arrays
_PART = 1 << 20


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `pack` needs for `count` values of `width` bits."""
    return (count * width + 7) // 8


def pack(values: Array, width: int) -> npt.NDArray[np.uint8]:
    """Pack unsigned integers below 2**width, most significant bit first, without gaps.

    >>> pack(np.array([1, 2, 3]), 4).tolist()
    [18, 48]
    """
    flat = np.asarray(values).reshape(-1)
    if width == 8:
        return flat.astype(np.uint8)
    packed = np.empty(packed_bytes(len(flat), width), dtype=np.uint8)
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint32)
    # A bit takes four bytes while it is shifted, so a large table goes in parts; each but the last fills whole bytes.
    for start in range(0, len(flat), _PART):
        bits = (flat[start : start + _PART].astype(np.uint32)[:, None] >> shifts) & np.uint32(1)
        part = np.packbits(bits.astype(np.uint8))
        packed[start * width // 8 :][: len(part)] = part
    return packed


def unpack(packed: npt.NDArray[np.uint8], index: Array, width: int) -> npt.NDArray[np.uint32]:
    """Read the values at `index` (any shape) out of a `pack`ed array: only the bytes touched are read.

    >>> unpack(pack(np.array([1, 2, 3]), 4), np.array([2, 0]), 4).tolist()
    [3, 1]
    """
    index = np.asarray(index, dtype=np.int64)
    if width == 8 or not index.size:
        return packed[index].astype(np.uint32) if index.size else np.zeros(index.shape, dtype=np.uint32)
    if index.size <= FEW:
        few = [unpack_one(packed, i, width) for i in index.reshape(-1).tolist()]
        return np.array(few, dtype=np.uint32).reshape(index.shape)
    first = index * width
    byte = first >> 3
    word = np.zeros(index.shape, dtype=np.uint32)
    # A value of up to 24 bits at any bit offset lies within four bytes; a byte past the end is shifted out again.
    for k in range((width + 14) // 8):
        word |= packed[np.minimum(byte + k, len(packed) - 1)].astype(np.uint32) << np.uint32(8 * (3 - k))
    return (word >> (32 - width - (first & 7)).astype(np.uint32)) & np.uint32((1 << width) - 1)


def unpack_one(packed: npt.NDArray[np.uint8], i: int, width: int) -> int:
    """The value at `i`, as `unpack` gives it."""
    first, stop = i * width, (i + 1) * width
    word = int.from_bytes(packed[first >> 3 : (stop + 7) >> 3].tobytes())
    return word >> (-stop & 7) & ((1 << width) - 1)


def unpack_first(packed: npt.NDArray[np.uint8], count: int, width: int) -> Array:
    """The first `count` values out of a `pack`ed array, several times faster than by their places: uint8 up to 8 bits.

    >>> unpack_first(pack(np.array([1, 2, 3]), 4), 3, 4).tolist()
    [1, 2, 3]
    """
    if width == 8:
        return packed[:count]
    if 8 % width == 0:
        used = packed[: packed_bytes(count, width)]
        parts = np.empty((len(used), 8 // width), dtype=np.uint8)
        for i, shift in enumerate(range(8 - width, -1, -width)):
            parts[:, i] = (used >> shift) & ((1 << width) - 1)
        return parts.reshape(-1)[:count]
    found = np.empty(count, dtype=np.uint8 if width < 8 else np.uint32)
    # Each part but the last ends with a whole byte.
    for start in range(0, count, _PART):
        many = min(_PART, count - start)
        bits = np.unpackbits(packed[start * width // 8 :][: packed_bytes(many, width)], count=many * width)
        part = bits[::width].astype(found.dtype)
        for i in range(1, width):
            part = (part << 1) | bits[i::width]
        found[start : start + many] = part
    return found


def hash64(values: Array, seed: int = 0) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each text, equal on every machine and version: FNV-1a over UTF-8, then splitmix64.

    Integers are hashed as their decimal digits, so that 7 and "7" are one id. Zero bytes do not count (numpy pads with
    them). Source: Fowler, Noll, Vo; Steele et al. 2014 (splitmix64).
    """
    return mix64(fnv64(values), seed)


def fnv64(values: Array) -> npt.NDArray[np.uint64]:
    """The first half of `hash64`, which does not depend on the seed: FNV-1a over the UTF-8 bytes of each text."""
    array = np.asarray(values)
    if array.dtype.kind != "S":
        array = utf8(array.astype(np.str_, copy=False))
    texts = np.ascontiguousarray(array)
    # The longest first: each letter is read of those texts alone that have it.
    shorter: npt.NDArray[np.int64] = -np.char.str_len(texts).astype(np.int64)
    order = np.argsort(shorter, kind="stable")
    letters = np.ascontiguousarray(texts.view(np.uint8).reshape(len(texts), max(texts.dtype.itemsize, 1))[order].T)
    state = np.full(len(texts), np.uint64(_FNV_OFFSET), dtype=np.uint64)
    many = np.searchsorted(shorter[order], -np.arange(len(letters))).tolist()
    zeros = np.count_nonzero(letters) < -shorter.sum()  # within a text, where they do not count
    for column, reached in zip(letters, many, strict=True):
        here, mine = column[:reached], state[:reached]
        before = mine.copy() if zeros else mine
        mine ^= here
        mine *= np.uint64(_FNV_PRIME)
        if zeros:
            np.copyto(mine, before, where=here == 0)
    found = np.empty_like(state)
    found[order] = state
    return found


def utf8(texts: npt.NDArray[np.str_]) -> npt.NDArray[np.bytes_]:
    """Texts as UTF-8 of fixed width; surrogates pass."""
    texts = np.ascontiguousarray(texts)
    width = texts.itemsize // 4
    letters = texts.view(np.uint32).reshape(len(texts), width)
    # ASCII is its own UTF-8, and ten times faster this way.
    other = np.flatnonzero((letters >= 128).any(axis=1))
    encoded = letters.astype(np.uint8).view(f"S{width}").reshape(-1)
    if not len(other):
        return encoded
    slow = np.char.encode(texts[other], "utf-8", "surrogatepass")
    found = encoded.astype(f"S{max(width, slow.itemsize)}")
    found[other] = slow
    return found


def fnv_of(text: bytes) -> int:
    """As `fnv64`, of one text."""
    state = _FNV_OFFSET
    for letter in text:
        if letter:
            state = (state ^ letter) * _FNV_PRIME & _64
    return state


def mix64(state: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """The second half of `hash64`: the finalizer of splitmix64, another for every seed."""
    mixed = state + np.uint64(_STEP * (2 * seed + 1) & _64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_SECOND)
    result: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result


def mix_of(state: int, seed: int) -> int:
    """As `mix64`, of one state."""
    mixed = state + _STEP * (2 * seed + 1) & _64
    mixed = (mixed ^ mixed >> 30) * _FIRST & _64
    mixed = (mixed ^ mixed >> 27) * _SECOND & _64
    return mixed ^ mixed >> 31
