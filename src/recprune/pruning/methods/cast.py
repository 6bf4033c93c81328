"""Store values in half the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.pruning.step import Step
from recprune.weights import Bfloat16, Dense, Encoding, Weights

__all__ = ["Cast"]

Half = Literal["float16", "bfloat16"]


@dataclass(frozen=True)
class Cast(Step):
    """Store the targets' float32 values as `dtype`, two bytes each; what is stored smaller already stays.

    float16 keeps 11 bits of precision and refuses values above 65504; bfloat16 keeps 8 and has float32's range.
    """

    verb: ClassVar[str] = "cast"
    target: str
    dtype: Half = "float16"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in get_args(Half):
            raise unknown("dtype", str(self.dtype), get_args(Half))

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Round the innermost values of whatever the parameter is stored as."""
        return self.each(weights, lambda param: param.value.map_dense(self._half))

    def _half(self, value: Encoding) -> Encoding:
        if not isinstance(value, Dense) or value.values.dtype != np.float32:
            return value
        if self.dtype == "bfloat16":
            return Bfloat16.encode(value.values)
        largest = float(np.abs(value.values).max(initial=0))
        if largest >= 65520:
            raise RecpruneError(
                f"its largest value is {largest:.6g}, float16 ends at 65504; dtype bfloat16 can hold it"
            )
        return Dense(value.values.astype(np.float16))

    def describe(self) -> str:
        """In words."""
        return f"store {self.target} as {self.dtype}"
