"""How often a row is read."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.weights import Param

__all__ = ["popularity"]


def popularity(param: Param, context: Context) -> npt.NDArray[np.float64]:
    """Reads of each row in the training data."""
    return context.reads(param.axes[0], param.shape[0])
