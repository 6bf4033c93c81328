"""The k best of a row of scores."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["top_k"]


def top_k(
    scores: npt.NDArray[Any],
    k: int,
    exclude: npt.NDArray[Any] | None = None,
    candidates: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Positions and values of the k highest scores; ties go to the lower position.

    Exactly as many as there are candidates left where these are fewer than k: never a filler.

    >>> top_k(np.array([0.1, 0.9, 0.9]), 2)[0].tolist()
    [1, 2]
    """
    places = _contenders(scores, k, exclude) if candidates is None else None
    if places is None:
        open_ = np.zeros(len(scores), dtype=bool)
        open_[slice(None) if candidates is None else candidates] = True
        if exclude is not None:
            open_[exclude] = False
        places = np.flatnonzero(open_)
    values = scores[places]
    if len(places) > k:
        # Everything above the k-th value, then the first of those equal to it.
        bound = np.partition(values, len(values) - k)[len(values) - k]
        above = np.flatnonzero(values > bound)
        equal = np.flatnonzero(values == bound)[: k - len(above)]
        chosen = np.concatenate([above, equal])
        places, values = places[chosen], values[chosen]
    order = np.lexsort((places, -values))
    return places[order].astype(np.int64), values[order].astype(np.float32)


def _contenders(scores: npt.NDArray[Any], k: int, exclude: npt.NDArray[Any] | None) -> npt.NDArray[np.int64] | None:
    """All that reach the k-th value, at once for a whole catalogue; None where that could be one that is excluded."""
    if len(scores) <= k or scores.dtype.kind != "f":
        return None
    left = scores.copy()
    if exclude is not None:
        left[exclude] = -np.inf
    bound = np.partition(left, len(left) - k)[len(left) - k]
    return np.flatnonzero(left >= bound) if bound > -np.inf else None
