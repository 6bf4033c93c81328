"""The norm of a unit."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.pruning.importance.units import Units

__all__ = ["magnitude"]


def magnitude(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """Euclidean norm of all that belongs to a unit: the default of pruning libraries, and the wrong score for tables.

    A row that was hardly ever read keeps the norm it was initialised with, or one that a single reading gave it.
    """
    total = np.zeros(len(units))
    for _, _, values in units.values():
        total += (values**2).sum(axis=1)
    norm: npt.NDArray[np.float64] = np.sqrt(total)
    return norm
