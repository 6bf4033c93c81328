"""What the training loss says, to first order, of a unit's removal."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.importance.units import Units

__all__ = ["taylor"]


def taylor(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """|sum of gradient x (value - what takes its place)|, the gradient summed over the training rows.

    A row gives way to the shared row (the mean by reads), a column or neuron to zero. In a model that was trained to the
    end the gradients of what is read often cancel, so that the first order says less there than the second, which
    `expected_loss` stands for. Source: Molchanov et al. 2017.
    """
    if context.calibration is None:
        why = "has none; choose another importance, such as expected_loss"
        raise context.lacks("taylor needs gradients", why, "give data, and a loss where the model is your own")
    gradients = context.calibration.gradients(units.weights)
    total = np.zeros(len(units))
    for name, side, values in units.values():
        if name not in gradients:
            known = ", ".join(gradients)
            raise RecpruneError(f"taylor needs gradients, and {name!r} is not trained; those that are: {known}")
        if units.of_rows and not units.weights[name].unknown_is_zero:
            shares = context.shares(units.axis, len(units))
            values = values - shares @ values / shares.sum()
        total += (units.split(np.asarray(gradients[name], np.float64), name, side) * values).sum(axis=1)
    return np.abs(total)
