"""Float32 without its lower half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.weights.encoding import Encoding

__all__ = ["Bfloat16"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Bfloat16(Encoding):
    """The upper 16 bits of each float32: its range, and 8 bits of precision where float16 has 11.

    numpy has no such type, so the file holds unsigned integers, `halves`, and says in the encoding what they are.
    Values are rounded to the nearest, ties to even.

    >>> Bfloat16.encode(np.array([1.0, -2.0**127, 1 + 2**-9])).decode().tolist()
    [1.0, -1.7014118346046923e+38, 1.0]
    """

    kind: ClassVar[str] = "bfloat16"
    halves: npt.NDArray[np.uint16]

    @classmethod
    def encode(cls, array: Array) -> Bfloat16:
        """Round an array. Raises RecpruneError for NaN, infinity and what rounds to it."""
        values = np.array(array, dtype=np.float32, order="C")
        if not np.isfinite(values).all():
            raise RecpruneError("bfloat16 cannot hold NaN or infinity")
        bits = values.view(np.uint32)
        return cls(np.asarray((bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16, dtype=np.uint16))

    def __post_init__(self) -> None:
        if self.halves.dtype != np.uint16:
            raise RecpruneError(f"halves of bfloat16 must be uint16, got {self.halves.dtype}")
        if ((self.halves & 0x7F80) == 0x7F80).any():
            raise RecpruneError("bfloat16 cannot hold NaN or infinity, nor values that round to it")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.halves.shape

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """The rows, as float32."""
        return _widened(self.halves[rows])

    def decode(self) -> npt.NDArray[np.float32]:
        """The array, as float32."""
        return _widened(self.halves)

    def recode(self, array: Array) -> Bfloat16:
        """Another array, rounded alike."""
        return Bfloat16.encode(array)


def _widened(halves: Array) -> npt.NDArray[np.float32]:
    return np.asarray(np.left_shift(halves, 16, dtype=np.uint32)).view(np.float32)
