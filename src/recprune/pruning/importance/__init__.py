"""What matters: a score for each row of a table; the higher is kept."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import unknown
from recprune.pruning.importance.expected_loss import expected_loss
from recprune.pruning.importance.magnitude import magnitude
from recprune.pruning.importance.popularity import popularity
from recprune.weights import Param

__all__ = ["IMPORTANCES", "expected_loss", "importance_of", "magnitude", "popularity"]

IMPORTANCES: dict[str, Callable[[Param, Context], npt.NDArray[np.float64]]] = {
    "magnitude": magnitude,
    "popularity": popularity,
    "expected_loss": expected_loss,
}


def importance_of(name: str) -> Callable[[Param, Context], npt.NDArray[np.float64]]:
    """The importance of that name; an unknown one is an error that lists the choices."""
    if not isinstance(name, str) or name not in IMPORTANCES:
        raise unknown("importance", str(name), IMPORTANCES)
    return IMPORTANCES[name]
