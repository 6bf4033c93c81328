"""Store the rows that are read most with more bits, or more columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.pruning.step import Step, read_tables
from recprune.weights import Codebook, Encoding, LowRank, Param, Quantized, Rows, Stacked, Weights, codebook_bits
from recprune.weights.quantized import check_settings

__all__ = ["Mixed"]

Per = Literal["row", "value"]


@dataclass(frozen=True)
class Mixed(Step):
    """Divide the rows of each target table into groups by how often they are read, and store each group its own way.

    `reads`: the share of all reads that falls on each group, most read rows first; they add up to 1. `bits`: of each
    group, `per="row"` those of a codebook of its own, `per="value"` those of a code, with a scale for each column of a
    group. `width`, per value only: project the rows of each group onto so many directions, those of the singular value
    decomposition weighted by reads, which the group shares (mixed dimensions: Ginart et al. 2021).

    In an artifact the ids of a group become neighbours, so that saying which row lies where takes a few bytes; with
    fingerprints it takes 1 to 4 bits a row. A table that would not get smaller is left as it is.
    """

    verb: ClassVar[str] = "mixed"
    target: str
    reads: tuple[float, ...]
    bits: tuple[int, ...]
    per: Per = "row"
    width: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("reads", "bits", "width"):
            if not isinstance(getattr(self, name), tuple):
                raise RecpruneError(f"{name} must be a list with a number for each group, got {getattr(self, name)!r}")
        if self.per not in get_args(Per):
            raise unknown("per", str(self.per), get_args(Per))
        if not all(type(share) in (int, float) and 0 < share <= 1 for share in self.reads):
            raise RecpruneError(f"reads must be shares in (0, 1], got {list(self.reads)}")
        if not 1 <= len(self.reads) <= 16 or not math.isclose(math.fsum(self.reads), 1, abs_tol=1e-6):
            raise RecpruneError(f"reads must be 1 to 16 shares that add up to 1, got {list(self.reads)}")
        if len(self.bits) != len(self.reads) or (self.width and len(self.width) != len(self.reads)):
            raise RecpruneError(f"{len(self.reads)} groups of reads need as many bits, and as many widths or none")
        for bits in self.bits:
            if self.per == "row":
                codebook_bits(bits)
            else:
                check_settings(bits, "per_column", 1)
        if self.width and self.per == "row":
            raise RecpruneError("width is for codes per value; a word of a codebook has the width of its table")
        if not all(type(width) is int and width >= 1 for width in self.width):
            raise RecpruneError(f"width must be positive whole numbers, got {list(self.width)}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Rank by reads, divide, encode; kept rows stay the kept ones."""

        def smaller(param: Param) -> Encoding:
            return self._smaller(param.value, context.reads(param.axes[0], param.shape[0]))

        return self.each(weights, smaller, read_tables(context))

    def _smaller(self, value: Encoding, reads: npt.NDArray[np.float64]) -> Encoding:
        if isinstance(value, Rows):
            return value.map_stored(self._smaller, reads)
        if 0 in value.shape or not reads.sum():
            return value
        which = self._groups(reads)
        parts = []
        for group in np.unique(which):
            rows = np.flatnonzero(which == group)
            part = value.cut(0, rows)
            coded = self._coded(part, int(group), reads[rows])
            parts.append(coded if coded.nbytes < part.nbytes else part)
        which = np.unique(which, return_inverse=True)[1].reshape(-1)
        mixed = Stacked.encode(which, tuple(parts)) if len(parts) > 1 else parts[0]
        return mixed if mixed.nbytes < value.nbytes else value

    def _groups(self, reads: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The number of each row's group: the one in which the reads of all rows before it end."""
        order = np.argsort(-reads, kind="stable")
        before = np.cumsum(reads[order]) - reads[order]
        bounds = np.cumsum(self.reads)[:-1] * reads.sum()
        which = np.empty(len(reads), dtype=np.int64)
        which[order] = np.searchsorted(bounds * (1 - 1e-9), before, side="right")
        return which

    def _coded(self, part: Encoding, group: int, reads: npt.NDArray[np.float64]) -> Encoding:
        array, bits = part.decode(), self.bits[group]
        if self.per == "row":
            return Codebook.encode(array, bits, reads)
        width = self.width[group] if self.width else array.shape[1]
        if width >= min(array.shape):
            return Quantized.encode(array, bits, "per_column")
        return LowRank.encode(array, width, reads).map_dense(
            lambda factor: Quantized.encode(factor.decode(), bits, "per_column")
        )

    def describe(self) -> str:
        """In words."""
        groups = [f"{100 * s:g} % of reads: {b} bits" for s, b in zip(self.reads, self.bits, strict=True)]
        if self.width:
            groups = [f"{group}, {w} columns" for group, w in zip(groups, self.width, strict=True)]
        return f"store {self.target} in groups by reads, bits per {self.per} ({'; '.join(groups)})"
