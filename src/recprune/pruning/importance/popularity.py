"""How often a row is read."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.pruning.importance.units import Units

__all__ = ["popularity"]


def popularity(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """Reads of each row in the training data; columns and neurons have none."""
    return context.reads(units.axis, len(units))
