"""How often a unit is read, times what its removal changes."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.pruning.importance.units import Units

__all__ = ["expected_loss"]


def expected_loss(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """Of a row: reads times the squared distance to the row that would be read instead.

    A dropped row reads the shared row, which is about the mean of the dropped by reads; the mean over all rows stands
    for it here. To second order, the loss of a removal is proportional to this where the curvature of the loss is alike
    for all rows (optimal brain damage: LeCun et al. 1989, with the reads as the diagonal).

    Statistics that were counted from labels are better ranked by popularity where the model is retrained afterwards: a rank
    by value lets the labels of the training rows choose which of them see their statistic, and the model learns that.

    Of a column or neuron: the norm of what makes it (a neuron's weights and bias, a table's column weighted by the reads
    of its rows) times the norm of what reads it (the next layer's column). Tables that share an axis which no layer reads
    are multiplied with each other (dot product, factorization machine): there it is the norm over all pairs of them.
    """
    return _rows(units, context) if units.of_rows else _positions(units, context)


def _rows(units: Units, context: Context) -> npt.NDArray[np.float64]:
    reads = context.reads(units.axis, len(units))
    weight = context.shares(units.axis, len(units))
    ((_, _, table),) = units.values()
    (name,) = units.names
    # What a dropped row reads: zeros where unknown ids count nothing.
    centre = 0.0 if units.weights[name].unknown_is_zero else weight @ table / weight.sum()
    loss: npt.NDArray[np.float64] = reads * ((table - centre) ** 2).sum(axis=1)
    return loss


def _positions(units: Units, context: Context) -> npt.NDArray[np.float64]:
    tables: list[npt.NDArray[np.float64]] = []
    made: list[npt.NDArray[np.float64]] = []
    read: list[npt.NDArray[np.float64]] = []
    for name, side, values in units.values():
        param = units.weights[name]
        energy = values**2
        is_table = bool(param.protected) or param.axes[0] in context.popularity
        if is_table:
            shares = context.shares(param.axes[0], param.shape[0])
            weight = (shares / shares.sum()).reshape(-1, *[1] * (len(param.shape) - 1))
            energy = energy * units.split(np.broadcast_to(weight, param.shape), name, side)
        (tables if is_table else read if side else made).append(energy.sum(axis=1))
    if len(tables) > 1 and not read:
        total = np.sum(tables, axis=0)
        tables = [(total**2 - np.sum(np.square(tables), axis=0)) / 2]
    score = np.ones(len(units))
    for sides in (made + tables, read):
        if sides:
            score *= np.sqrt(np.maximum(np.sum(sides, axis=0), 0))
    return score
