"""Packed unsigned integers of 1 to 24 bits, and a stable hash of ids: what the compact formats are built from."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["hash64", "pack", "packed_bytes", "unpack"]

Array = npt.NDArray[Any]
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)


def packed_bytes(count: int, width: int) -> int:
    """Bytes that `pack` needs for `count` values of `width` bits."""
    return (count * width + 7) // 8


def pack(values: Array, width: int) -> npt.NDArray[np.uint8]:
    """Pack unsigned integers below 2**width, most significant bit first, without gaps.

    >>> pack(np.array([1, 2, 3]), 4).tolist()
    [18, 48]
    """
    flat = np.ascontiguousarray(values, dtype=np.uint32).reshape(-1)
    if width == 8:
        return flat.astype(np.uint8)
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint32)
    bits = (flat[:, None] >> shifts) & np.uint32(1)
    return np.packbits(bits.astype(np.uint8).reshape(-1))


def unpack(packed: npt.NDArray[np.uint8], index: Array, width: int) -> npt.NDArray[np.uint32]:
    """Read the values at `index` (any shape) out of a `pack`ed array: only the bytes touched are read.

    >>> unpack(pack(np.array([1, 2, 3]), 4), np.array([2, 0]), 4).tolist()
    [3, 1]
    """
    index = np.asarray(index, dtype=np.int64)
    if width == 8:
        return packed[index].astype(np.uint32)
    first = index * width
    byte = first >> 3
    # A value of up to 24 bits at any bit offset lies within four bytes; past the end zeros are read.
    last = len(packed) - 1
    word = np.zeros(index.shape, dtype=np.uint64)
    for k in range((width + 14) // 8):
        part = packed[np.minimum(byte + k, last)].astype(np.uint64) if last >= 0 else np.zeros(index.shape, np.uint64)
        word |= part << np.uint64(8 * (3 - k))
    shift = (32 - width - (first & 7)).astype(np.uint64)
    return ((word >> shift) & np.uint64((1 << width) - 1)).astype(np.uint32)


def hash64(values: Array, seed: int = 0) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each id, equal on every machine and version: FNV-1a over UTF-8, then splitmix64.

    Integers are hashed by their value. Source: Fowler, Noll, Vo; Steele et al. 2014 (splitmix64).
    """
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        state = array.astype(np.int64).view(np.uint64) ^ _FNV_OFFSET
    else:
        text = array if array.dtype.kind == "S" else np.char.encode(array.astype(np.str_), "utf-8")
        width = max(text.dtype.itemsize, 1)
        letters = np.ascontiguousarray(text).view(np.uint8).reshape(len(array), width)
        state = np.full(len(array), _FNV_OFFSET, dtype=np.uint64)
        for column in letters.T:
            # Trailing zero bytes are numpy's padding, so they must not change the hash.
            state = np.where(column != 0, (state ^ column) * _FNV_PRIME, state)
    with np.errstate(over="ignore"):
        mixed = state + np.uint64(0x9E3779B97F4A7C15) * np.uint64(2 * seed + 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        result: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result
