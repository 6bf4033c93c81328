"""How long one request takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["side_by_side"]


def side_by_side(
    original: Callable[[int], Any], compressed: Callable[[int], Any], how: str, requests: int = 200
) -> dict[str, Any]:
    """p50 and p99 in microseconds of two ways to answer the same requests, taken in turns so that both see the same machine.

    The functions take the number of a request. `how`: what was measured, in words.
    """
    took = np.zeros((2, requests))
    for i in range(min(10, requests)):
        original(i), compressed(i)
    for i in range(requests):
        for side, answer in enumerate((original, compressed)):
            start = time.perf_counter_ns()
            answer(i)
            took[side, i] = (time.perf_counter_ns() - start) / 1000
    p50, p99 = np.percentile(took, 50, axis=1), np.percentile(took, 99, axis=1)
    sides = [{"p50_us": float(p50[i]), "p99_us": float(p99[i]), "how": how} for i in (0, 1)]
    return {"original": sides[0], "compressed": sides[1], "ratio": float(p50[0] / p50[1])}
