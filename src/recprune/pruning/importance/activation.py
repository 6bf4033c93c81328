"""How much a unit gives."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.importance.units import Units

__all__ = ["activation"]


def activation(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """Mean squared norm of what a unit gives: over reads for rows and columns of tables, over calibration data for neurons.

    A row gives itself as often as it is read. Source: activation norms as in Hu et al. 2016 and Sun et al. 2024 (Wanda).
    """
    total = np.zeros(len(units))
    found = False
    for name, side, values in units.values():
        param = units.weights[name]
        if units.of_rows or (side and (param.protected or param.axes[0] in context.popularity)):
            shares = context.shares(param.axes[0], param.shape[0])
            weight = (shares / shares.sum()).reshape(-1, *[1] * (len(param.shape) - 1))
            energy = values**2 * units.split(np.broadcast_to(weight, param.shape), name, side)
            total += energy.sum(axis=1)
            found = True
    if found:
        return total
    if context.calibration is None:
        need = f"activation of {units.axis!r} needs data to run the model on"
        raise context.lacks(need, "is not run on it; choose another importance, such as expected_loss", "give data")
    inputs = context.calibration.inputs(units.weights)
    for name in units.names:
        for side, expression in units.sides(name):
            if side == 1 and name in inputs:
                # Every layer that reads the units reads the same of them.
                at = [
                    units.weights.positions(expression, units.axis, np.array([k]), only=True) for k in range(len(units))
                ]
                squares: npt.NDArray[np.float64] = np.asarray(inputs[name], np.float64)[np.stack(at)].sum(axis=1)
                return squares
    raise RecpruneError(f"activation of {units.axis!r} is not known: no linear layer reads it")
