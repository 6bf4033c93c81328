"""Store values as integer codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import Step
from recprune.weights import Encoding, Granularity, Quantized, Weights
from recprune.weights.quantized import check_settings

__all__ = ["Quantize"]


@dataclass(frozen=True)
class Quantize(Step):
    """Quantize the targets to `bits` (1, 2, 3, 4 or 8) with a scale per row, group of rows, column, or tensor.

    Where a parameter would not get smaller it is left as it is: a scale for each row of a narrow table costs more than
    it saves, so share it by group there. Groups are neighbouring rows: an artifact renumbers the rows of tables with a
    vocabulary and forms their groups anew, so measure such a recipe on the artifact;
    `per_row` and `per_column` lose nothing. At 1 bit only the signs and one mean magnitude a scale are left (XNOR-Net:
    Rastegari et al. 2016); values of zero come back as zero only where all that share their scale are zero.
    """

    verb: ClassVar[str] = "quantize"
    target: str
    bits: int = 8
    granularity: Granularity = "per_row"
    group: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.granularity != "per_group" and self.group != 1:
            raise RecpruneError(f"group is for granularity per_group, not {self.granularity!r}")
        check_settings(self.bits, self.granularity, self.group)

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Quantize the innermost values of whatever the parameter is stored as."""
        return self.each(weights, lambda param: param.value.map_dense(self._smaller))

    def _smaller(self, value: Encoding) -> Encoding:
        if not value.shape:
            return value
        coded = Quantized.encode(value.decode(), self.bits, self.granularity, self.group)
        return coded if coded.nbytes < value.nbytes else value

    def describe(self) -> str:
        """In words."""
        scales = (
            f"one scale for {self.group} rows" if self.granularity == "per_group" else "a scale " + self.granularity
        )
        return f"quantize {self.target} to {self.bits} bit{'s' * (self.bits > 1)}, {scales.replace('_', ' ')}"
