"""Tables side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.weights.encoding import Encoding

__all__ = ["Columns"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Columns(Encoding):
    """Groups of columns, each stored its own way: with a codebook each it is product quantization (Jégou et al. 2011).

    >>> from recprune.weights import Codebook
    >>> rng = np.random.default_rng(0)
    >>> both = Columns(tuple(Codebook.encode(rng.normal(size=(100, 2)), bits=4) for _ in range(2)))
    >>> both.shape, both.nbytes == 2 * (100 * 4 // 8 + 16 * 2 * 2)
    ((100, 4), True)
    """

    kind: ClassVar[str] = "columns"
    parts: tuple[Encoding, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple) or not self.parts or not all(isinstance(p, Encoding) for p in self.parts):
            raise RecpruneError("tables side by side need one encoding or more")
        if any(len(part.shape) != 2 for part in self.parts) or len({part.shape[0] for part in self.parts}) > 1:
            shapes = [part.shape for part in self.parts]
            raise RecpruneError(f"tables side by side have two axes and as many rows each, got shapes {shapes}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and the columns of all parts."""
        return (self.parts[0].shape[0], sum(part.shape[1] for part in self.parts))

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """The rows of every part, one after the other."""
        return np.concatenate([part.take(rows) for part in self.parts], axis=-1)

    def recode(self, array: Array) -> Columns:
        """The same groups of columns of another array."""
        if array.shape[1] != self.shape[1]:
            raise RecpruneError(f"a table of {array.shape[1]} columns does not fit groups of {self.shape[1]}")
        pieces = np.split(array, self._starts()[1:], axis=1)
        return Columns(tuple(part.recode(piece) for part, piece in zip(self.parts, pieces, strict=True)))

    def cut(self, axis: int, keep: Array) -> Encoding:
        """Rows are cut in every part, columns in the part that has them."""
        keep = np.asarray(keep, dtype=np.int64)
        if axis == 0:
            return Columns(tuple(part.cut(0, keep) for part in self.parts))
        if (np.diff(keep) < 0).any():
            raise RecpruneError("the columns of tables side by side are kept in their order")
        starts = self._starts()
        which = np.searchsorted(starts, keep, side="right") - 1
        cut = [part.cut(1, keep[which == i] - starts[i]) for i, part in enumerate(self.parts) if (which == i).any()]
        return Columns(tuple(cut) or (self.parts[0].cut(1, keep),))

    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum([0, *(part.shape[1] for part in self.parts[:-1])])
