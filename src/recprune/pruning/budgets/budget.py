"""What a budget is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError, unknown
from recprune.weights import Param

__all__ = ["Budget", "best_rows"]


@dataclass(frozen=True)
class Budget:
    """Says which rows of each table stay, given a score for each row (the higher is kept).

    A budget of latency would be one more of these: what a row costs is then time and not bytes.
    """

    kind: ClassVar[str] = ""

    def allocate(
        self, params: Mapping[str, Param], importance: Mapping[str, npt.NDArray[np.float64]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """For each table a mark for each row; protected rows are always kept and always counted."""
        raise NotImplementedError

    def covers(self, name: str) -> bool:
        """Whether the budget says anything of the table of that name; where not, it is left whole."""
        return True

    def check(self, targets: Sequence[str]) -> None:
        """Raise RecpruneError where the budget names something else than the targets."""

    def to_json(self) -> dict[str, Any]:
        """`{kind: fields}`."""
        return {self.kind: asdict(self)}

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """From the fields by name, or the value of the first; an unknown one is named with the nearest known one."""
        known = [f.name for f in fields(cls)]
        values = dict(value) if isinstance(value, Mapping) else {known[0]: value}
        for key in values:
            if key not in known:
                raise unknown(f"field of {cls.kind}", str(key), known)
        try:
            return cls(**values)
        except TypeError as error:
            raise RecpruneError(f"budget {cls.kind}: {error}") from error

    def describe(self) -> str:
        """In words, after "keeping"."""
        raise NotImplementedError


def best_rows(param: Param, score: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.bool_]:
    """Marks of the `count` best rows of those that a table stores, protected ones first; ties go to the earlier row."""
    score = np.where(param.value.mask(), score, -np.inf)
    score[list(param.protected)] = np.inf
    kept = np.zeros(len(score), dtype=bool)
    kept[np.argsort(-score, kind="stable")[: max(count, len(param.protected))]] = True
    return kept
