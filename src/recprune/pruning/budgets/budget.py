"""What a budget is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.weights import Param

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """Says which rows of each table stay, given a score for each row (the higher is kept)."""

    kind: ClassVar[str] = ""

    def allocate(
        self, params: Mapping[str, Param], importance: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """For each table a mark for each row; protected rows are always kept and always counted."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """`{kind: fields}`."""
        return {self.kind: asdict(self)}

    def describe(self) -> str:
        """In words, after "keeping"."""
        raise NotImplementedError
