"""Let rare rows share rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from recprune.bits import mix64, pack
from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.pruning.step import Step, in_order, read_tables
from recprune.weights import Codebook, Columns, Encoding, Param, Rows, Stacked, Weights

__all__ = ["Share"]

By = Literal["hash", "quotient"]


@dataclass(frozen=True)
class Share(Step):
    """Keep the fraction `keep` of the rows of each target table, those read most; the others share rows.

    `by="hash"`: a rare row becomes one of `rows` shared ones, by a hash of its place (Weinberger et al. 2009).
    `by="quotient"`: the first half of its columns is shared by the rows whose place has the same quotient by `rows`, the
    second half by those with the same remainder, so that no two rows are alike (compositional, by concatenation: Shi et
    al. 2020). A shared row is the mean of its readers weighted by reads, which has the least squared error.

    An artifact renumbers rows, so which row reads which is stored. `codebook` stores as much and chooses it: this step is
    here to be compared with.
    """

    verb: ClassVar[str] = "share"
    target: str
    keep: float
    rows: int = 256
    by: By = "hash"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.rows) is not int or not 2 <= self.rows <= 4096:
            raise RecpruneError(f"rows must be 2..4096 shared rows, got {self.rows!r}")
        if self.by not in get_args(By):
            raise unknown("way to share rows", str(self.by), get_args(By))

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Rank by reads, share the rest; kept and protected rows stay their own."""

        def smaller(param: Param) -> Encoding:
            reads = context.reads(param.axes[0], param.shape[0]).copy()
            reads[list(param.protected)] = np.inf
            return self._smaller(param.value, reads)

        tables = read_tables(context)
        return self.each(weights, smaller, tables if self.by == "hash" else in_order(context, tables))

    def _smaller(self, value: Encoding, reads: npt.NDArray[np.float64]) -> Encoding:
        if isinstance(value, Rows):
            return value.map_stored(self._smaller, reads)
        kept = max(math.ceil(self.keep * len(reads)), int(np.isinf(reads).sum()))
        rare = np.ones(len(reads), dtype=bool)
        rare[np.argsort(-reads, kind="stable")[:kept]] = False
        if 0 in value.shape or not rare.any():
            return value
        tail, place = value.decode()[rare], np.arange(int(rare.sum()))
        if self.by == "hash":
            classes = [(mix64(place.astype(np.uint64), 0) % np.uint64(self.rows)).astype(np.int64)]
        else:
            if len(place) > 4096 * self.rows:
                least = -(-len(place) // 4096)
                raise RecpruneError(
                    f"share of {len(place):,} rare rows by quotient needs at least {least:,} shared rows"
                )
            classes = [place // self.rows, place % self.rows][: tail.shape[1]]
        pieces = np.array_split(tail, len(classes), axis=1)
        books = tuple(_shared(p, c, reads[rare]) for p, c in zip(pieces, classes, strict=True))
        head = value.cut(0, np.flatnonzero(~rare))
        shared = Stacked.encode(rare.astype(np.int64), (head, Columns(books) if len(books) > 1 else books[0]))
        return shared if shared.nbytes < value.nbytes else value

    def describe(self) -> str:
        """In words."""
        how = "by a hash" if self.by == "hash" else "by quotient and remainder"
        return (
            f"let the rows of {self.target} beside the {100 * self.keep:.3g} % read most share {self.rows} rows {how}"
        )


def _shared(piece: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], reads: npt.NDArray[np.float64]) -> Codebook:
    """One row a class: the mean of its rows, weighted by reads."""
    count = int(classes.max()) + 1
    bits = max(1, (count - 1).bit_length())
    weight = reads + 1e-9
    total = np.maximum(np.bincount(classes, weight, count), 1e-30)
    words = np.stack([np.bincount(classes, weight * column, count) / total for column in piece.T], axis=1)
    if np.abs(words).max(initial=0) > 6e4:
        raise RecpruneError("a shared row cannot hold values above 60000")
    return Codebook(pack(classes, bits), words.astype(np.float16), bits, len(classes))
