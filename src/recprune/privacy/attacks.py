"""Membership inference: was this in the training data? Higher scores say yes.

A **signal** is how sure a model is of something that may have been in its training data: a log-likelihood, or a score. A
unit (an interaction, or a user) has as many signals as models are attacked together: one, or two where the original and the
compressed model are both known. Reference models are trained by the attacker, each with some of the units and without the
others, so that it is known what the signal of a unit is in either case.

The plainest attack takes the signal itself (a threshold on the loss: Yeom et al., CSF 2018); it needs no reference models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError

__all__ = ["absence", "likelihood_ratio"]

Floats = npt.NDArray[np.float64]
_PRIOR = 4.0  # models' worth of the variance of all units, beside that of a unit's own few models


def likelihood_ratio(target: npt.ArrayLike, references: npt.ArrayLike, inside: npt.ArrayLike) -> Floats:
    """Log ratio of the likelihoods of what the target says of each unit, with it and without it in training: (units,).

    `target`: (units, signals). `references`: (models, units, signals). `inside`: (models, units), whether the unit was in
    the training data of that model. Raises RecpruneError for shapes that do not fit.

    LiRA, online (Carlini et al., IEEE S&P 2022), with normal distributions of one variance. A few models say little of a
    unit alone, so both parts are drawn to what all units say: the variance, and how far a signal moves when the unit is
    in training (by as much as that is noise: James and Stein 1961). That makes it a stronger attack at 16 models, and lets a
    second, useless signal do no harm.

    >>> models = np.array([[0.0], [2.0], [1.0], [3.0]])[..., None]
    >>> inside = np.array([[False], [True], [False], [True]])
    >>> likelihood_ratio([[2.5], ], models, inside).round(2).tolist()  # halfway between .5 and 2.5 is 1.5
    [4.0]
    """
    x, known, was = _checked(target, references, inside)
    without, within = 1 - was, was
    n0, m0 = _mean(known, without)
    n1, m1 = _mean(known, within)
    left = (known - m1) * within[..., None] + (known - m0) * without[..., None]
    spread = np.einsum("mud,mue->ude", left, left)
    freedom = np.maximum(n0 - 1, 0) + np.maximum(n1 - 1, 0)
    common = spread.sum(axis=0) / max(freedom.sum(), 1)
    # A hair beside it: a signal that never moves, or two that are one, must not divide by zero.
    hair = np.eye(x.shape[1]) * max(float(np.trace(common)), 1e-12) * 1e-6
    variance = (spread + _PRIOR * (common + hair)) / (freedom + _PRIOR)[:, None, None]
    root: Floats = np.linalg.cholesky(variance)

    def white(values: Floats) -> Floats:
        return np.asarray(np.linalg.solve(root, values[..., None])[..., 0], dtype=np.float64)

    both = (n0 > 0) & (n1 > 0)
    if not both.any():
        return np.zeros(len(x))
    noise = 1 / np.maximum(n0, 1) + 1 / np.maximum(n1, 1)
    shift = _shrunk(white(m1 - m0), noise, both)
    # The unit's centre is all that its models say; the two means lie on both sides of it.
    share = (n1 / (n0 + n1))[:, None]
    apart = white(x - (share * m1 + (1 - share) * m0))
    middle = (1 - 2 * share[:, 0]) / 2
    ratio: Floats = (apart * shift).sum(axis=1) - middle * np.square(shift).sum(axis=1)
    return ratio


def absence(target: npt.ArrayLike, references: npt.ArrayLike, inside: npt.ArrayLike) -> Floats:
    """How far what the target says of each unit is above what models say that were trained without it: (units,).

    LiRA, offline: only models without the unit are needed, in standard deviations that all units share. One signal a unit;
    arguments as for `likelihood_ratio`. A unit that every model was trained with gets 0.

    >>> models = np.array([[0.0], [2.0], [9.0]])[..., None]
    >>> absence([[5.0]], models, np.array([[False], [False], [True]])).round(3).tolist()  # 4 above 1, deviation sqrt(2)
    [2.828]
    """
    x, known, was = _checked(target, references, inside)
    if x.shape[1] != 1:
        raise RecpruneError(f"absence takes one signal a unit, got {x.shape[1]}")
    count, mean = _mean(known, 1 - was)
    spread = np.square((known - mean) * (1 - was)[..., None]).sum()
    deviation = np.sqrt(max(spread / max(np.maximum(count - 1, 0).sum(), 1), 1e-24))
    above: Floats = np.where(count > 0, (x - mean)[:, 0] / deviation, 0.0)
    return above


def _checked(target: npt.ArrayLike, references: npt.ArrayLike, inside: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    x, known, was = (np.asarray(values, dtype=np.float64) for values in (target, references, inside))
    if x.ndim != 2 or known.ndim != 3 or known.shape[1:] != x.shape or was.shape != known.shape[:2]:
        raise RecpruneError(
            f"signals of a target (units, signals), of references (models, units, signals) and who was inside (models, "
            f"units) do not fit: {x.shape}, {known.shape}, {was.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(known).all()):
        raise RecpruneError("signals must be finite")
    return x, known, was


def _mean(known: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """How many models count for each unit, (units,), and their mean, (units, signals); 0 where none does."""
    count = weight.sum(axis=0)
    total = np.einsum("mu,mud->ud", weight, known)
    return count, total / np.maximum(count, 1)[:, None]


def _shrunk(shift: Floats, noise: Floats, both: Any) -> Floats:
    """Each unit's shift drawn to the mean of all, in every direction by the share of its variance that is noise."""
    mean = shift[both].mean(axis=0)
    apart = np.where(both[:, None], shift - mean, 0.0)
    true = apart[both].T @ apart[both] / both.sum() - noise[both].mean() * np.eye(len(mean))
    values, directions = np.linalg.eigh(true)
    kept = np.maximum(values, 0) / (np.maximum(values, 0) + noise[:, None])
    found: Floats = mean + (apart @ directions * kept) @ directions.T
    return found
