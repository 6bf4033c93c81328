"""How often a row is read, times what its removal changes."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.weights import Param

__all__ = ["expected_loss"]


def expected_loss(param: Param, context: Context) -> npt.NDArray[np.float64]:
    """Reads times the squared distance to the row that would be read instead.

    A dropped row reads the shared row, which is about the mean of the dropped by reads; the mean over all rows stands
    for it here. To second order, the loss of a removal is proportional to this where the curvature of the loss is alike
    for all rows (optimal brain damage: LeCun et al. 1989, with the reads as the diagonal).

    Statistics that were counted from labels are better ranked by popularity where the model is retrained afterwards: a rank
    by value lets the labels of the training rows choose which of them see their statistic, and the model learns that.
    """
    reads = context.reads(param.axes[0], param.shape[0])
    table = param.value.decode().reshape(param.shape[0], -1).astype(np.float64)
    weight = context.shares(param.axes[0], param.shape[0])
    centre = weight @ table / weight.sum()
    loss: npt.NDArray[np.float64] = reads * ((table - centre) ** 2).sum(axis=1)
    return loss
