"""Increasing integers in about two bits more than nothing: the index of a sparse matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.bits import pack, packed_bytes, unpack_first
from recprune.errors import RecpruneError

__all__ = ["decode", "encode", "low_width"]

Array = npt.NDArray[Any]
_WIDEST = 24  # bits that `pack` can hold


def low_width(count: int, universe: int) -> int:
    """How many low bits of each value are stored as they are: log2(universe / count), at most 24."""
    return min(_WIDEST, max(0, (universe // count).bit_length() - 1)) if count else 0


def encode(values: Array, universe: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Code strictly increasing integers in 0..universe-1 as `(high, low)`.

    `low` holds the lowest `low_width` bits of each value, packed; `high` a one for each value, after as many zeros as its
    upper part exceeds the one before: 2 + log2(universe / count) bits a value. Source: Elias 1974, Fano 1971.

    >>> high, low = encode(np.array([3, 4, 60]), 64)
    >>> len(high) + len(low), decode(high, low, 3, 64).tolist()
    (3, [3, 4, 60])
    """
    values = np.asarray(values, dtype=np.int64)
    if len(values) and (values[0] < 0 or values[-1] >= universe or (np.diff(values) <= 0).any()):
        raise RecpruneError(f"values to code must increase strictly within 0..{universe - 1}")
    width = low_width(len(values), universe)
    bits = np.zeros(_high_bits(len(values), universe, width), dtype=np.uint8)
    bits[(values >> width) + np.arange(len(values))] = 1
    return np.packbits(bits), pack(values & ((1 << width) - 1), width)


def decode(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8], count: int, universe: int) -> npt.NDArray[np.int64]:
    """The values that `encode` coded. Raises RecpruneError for bytes that are no code of `count` values below `universe`."""
    width = low_width(count, universe)
    expected = packed_bytes(_high_bits(count, universe, width), 1), packed_bytes(count, width)
    for name, array, size in (("high", high, expected[0]), ("low", low, expected[1])):
        if array.dtype != np.uint8 or array.shape != (size,):
            raise RecpruneError(f"{name} bits of an index of {count} entries must be {size} bytes, got {array.shape}")
    ones = np.flatnonzero(np.unpackbits(high))
    if len(ones) != count:
        raise RecpruneError(f"an index of {count} entries marks {len(ones)}")
    values: npt.NDArray[np.int64] = (ones - np.arange(count)) << width
    if width:
        values += unpack_first(low, count, width)
    if count and (values[-1] >= universe or (np.diff(values) <= 0).any()):
        raise RecpruneError(f"an index of {count} entries does not increase within 0..{universe - 1}")
    return values


def _high_bits(count: int, universe: int, width: int) -> int:
    return count + ((universe - 1) >> width) if count else 0
