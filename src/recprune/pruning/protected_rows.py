"""Rows with a meaning of their own, such as padding, in a table that is stored another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from recprune.weights import Dense, Encoding, Param, Rows, Stacked

__all__ = ["as_they_were"]


def as_they_were(param: Param, value: Encoding) -> Encoding:
    """`value`, another way to store `param`, with protected rows that read exactly as before.

    A row of padding is added up many times, so it must not become nearly zero. Those that a code would change are stored
    beside it as floats; only tables can be stored so, and what is none stays as it is. Where one of them is the row of
    unknown ids (`has_unknown`), they are learned rows like all others, and coded.
    """
    if param.has_unknown or not param.protected:
        return value
    rows = np.unique(param.protected)
    exact = param.value.take(rows)
    if np.array_equal(value.take(rows), exact):
        return value
    if len(value.shape) != 2:
        return param.value
    return _apart(value, rows, exact)


def _apart(value: Encoding, rows: npt.NDArray[np.int64], exact: npt.NDArray[np.float32]) -> Encoding:
    if isinstance(value, Rows):  # outermost, where steps that come later look for it
        return replace(value, inner=_apart(value.inner, value.position(rows), exact))
    others = np.setdiff1d(np.arange(value.shape[0]), rows)
    rest, part = value.cut(0, others), np.zeros(len(others), np.int64)
    parts: tuple[Encoding, ...] = (rest,)
    if isinstance(rest, Stacked):  # no stack within a stack, however many steps follow each other
        parts, part = rest.parts, rest.position(np.arange(len(others)))[0]
    which = np.zeros(value.shape[0], np.int64)
    which[others] = part + 1
    _, which = np.unique(which, return_inverse=True)
    return Stacked.encode(which, tuple(p for p in (Dense(exact), *parts) if p.shape[0]))
