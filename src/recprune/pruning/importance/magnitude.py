"""The norm of a row."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.weights import Param

__all__ = ["magnitude"]


def magnitude(param: Param, context: Context) -> npt.NDArray[np.float64]:
    """Euclidean norm of each row: the default of general pruning libraries, and the wrong score for tables.

    A row that was hardly ever read keeps the norm it was initialised with, or one that a single reading gave it.
    """
    table = param.value.decode().reshape(param.shape[0], -1).astype(np.float64)
    norm: npt.NDArray[np.float64] = np.sqrt((table**2).sum(axis=1))
    return norm
