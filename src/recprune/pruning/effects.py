"""What storing a part of a model another way does to its scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from recprune.weights import Dense, Encoding, Rows, Weights

__all__ = ["Effects"]

Array = npt.NDArray[np.float64]
_STEP = 0.1  # of the spread of a table: how far its columns are moved
_RIDGE = 0.003  # of the mean sensitivity of the columns, which each has at least
_COLUMNS = 64  # a table of more takes as many passes over the data
_SCORES = 1 << 16  # looked at for each column


class Effects:
    """Changes of the scores of the calibration rows, one part of `weights` at a time. `run`: the scores of weights."""

    def __init__(self, weights: Weights, run: Callable[[Weights], npt.NDArray[np.floating]]) -> None:
        self._weights, self._run = weights, run
        self._before = run(weights).astype(np.float64)

    def change(self, name: str, value: Encoding) -> float:
        """The mean squared change when the parameter of that name is stored as `value`."""
        return float(np.square(self._run(self._weights.replace(name, value)) - self._before).mean())

    def metric(self, name: str) -> Array:
        """How much each direction of the rows of a table counts, (columns, columns), invertible.

        The squared norm of a small change of a row, times this, is the mean squared change of the scores that read it: each
        column is moved a little in all rows, and the metric is a root of the products of the slopes. Of a table that is
        coded already or very wide: all directions alike. Source: Hessian-weighted k-means, Choi et al. 2017, with the whole
        Gauss-Newton matrix of a row in place of its diagonal.
        """
        value = self._weights[name].value
        inner = value.inner if isinstance(value, Rows) else value
        columns = value.shape[1]
        if not isinstance(inner, Dense) or columns > _COLUMNS:
            return np.eye(columns)
        values = inner.decode()
        step = _STEP * float(values.std()) or 1.0
        slopes = []
        for column in np.eye(columns, dtype=np.float32):
            moved: Encoding = Dense(values + np.float32(step) * column)
            moved = replace(value, inner=moved) if isinstance(value, Rows) else moved
            change = (self._run(self._weights.replace(name, moved)) - self._before).reshape(-1) / step
            slopes.append(change[:: -(-len(change) // _SCORES)])
        square = np.stack(slopes) @ np.stack(slopes).T
        mean = float(np.trace(square)) / columns
        if not 0 < mean < np.inf:  # nothing reads it, or the scores leave what floats can hold
            return np.eye(columns)
        energy, basis = np.linalg.eigh(square / mean + _RIDGE * np.eye(columns))
        metric: Array = basis * np.sqrt(energy)
        return metric
