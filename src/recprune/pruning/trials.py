"""What a search tried, and what it picks from that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recprune.errors import RecpruneError
from recprune.evaluation import Gate, Interval
from recprune.pruning.recipe import Recipe

__all__ = ["HOW", "RATIOS", "Trial", "choose", "family", "frontier", "meets", "worst"]

RATIOS = (10, 30, 100, 300)  # a search leaves an artifact for each, where it was reached
HOW = (
    "chosen on validation: parts were measured on one half of the users and recipes judged on the other, with one standard "
    "error of the paired difference to spare (or half of what may be lost, where that is less), and it must hold on the "
    "first half too, so that the luckiest of many is not taken for the best"
)


@dataclass(frozen=True, eq=False)
class Trial:
    """One recipe that was tried.

    `differences`: compressed - original on validation, paired, by metric; `others`: the same on the half of the users on
    which parts were measured. `us`: microseconds of an answer while validation
    was scored. `folder`: where its artifact lies, in the search's folder.
    """

    number: int
    recipe: Recipe
    disk_bytes: int
    differences: Mapping[str, Interval]
    others: Mapping[str, float]
    us: float
    folder: str
    retrained: bool = False


def worst(trial: Trial, metric: str, sign: float) -> float:
    """How far the metric fell on the half of the users where it fell further, and one standard error.

    `sign`: 1 where higher is better, else -1. The luckiest of many on one half is seldom so on the other.
    """
    found = trial.differences[metric]
    return max(-sign * found.value, -sign * trial.others[metric]) + found.error


def frontier(trials: Iterable[Trial], metric: str, sign: float = 1.0) -> list[Trial]:
    """The trials that no smaller one equals, by size: what they lose falls."""
    best: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.disk_bytes, -sign * t.differences[metric].value, t.number)):
        if not best or sign * trial.differences[metric].value > sign * best[-1].differences[metric].value:
            best.append(trial)
    return best


def choose(
    trials: Sequence[Trial],
    originals: Mapping[str, float],
    signs: Mapping[str, float],
    gate: Gate | None = None,
    size: int | None = None,
) -> Trial:
    """The smallest trial within the gate; without a gate, the best by `worst` of the first metric within `size` bytes.

    A rule is met where the drop and one standard error stay within it (Breiman et al. 1984); where half of what it allows is
    less than that error, half of it must be to spare. It must hold for the other users too, with nothing to spare.
    `originals`: value of each metric of the original. `signs`: 1 where
    higher is better, else -1.

    Raises RecpruneError that names the best reachable where nothing fits.
    """
    if not trials:
        raise RecpruneError("nothing was tried yet")
    metric = next(iter(signs))
    fits = [t for t in trials if size is None or t.disk_bytes <= size]
    if not fits:
        smallest = min(trials, key=lambda t: t.disk_bytes)
        raise RecpruneError(
            f"nothing that was tried fits into {size:,} bytes; the smallest has {smallest.disk_bytes:,} "
            f"({metric} {smallest.differences[metric].value:+.4f})"
        )
    if gate is None:
        return min(fits, key=lambda t: (worst(t, metric, signs[metric]), t.disk_bytes, t.number))
    for rule in gate.rules:
        if rule.metric not in signs:
            raise RecpruneError(f"the search judges {', '.join(signs)}, not {rule.metric!r}")
    good = [t for t in fits if meets(t, gate, originals, signs)]
    if not good:
        nearest = min(fits, key=lambda t: (max(_over(t, gate, originals, signs)), t.disk_bytes))
        lost = ", ".join(f"{rule.metric} {nearest.differences[rule.metric].value:+.4f}" for rule in gate.rules)
        raise RecpruneError(
            f"nothing that was tried meets {gate} with a margin for noise"
            + (f" in {size:,} bytes" if size else "")
            + f"; the nearest has {nearest.disk_bytes:,} bytes and {lost}"
        )
    return min(good, key=lambda t: (t.disk_bytes, t.number))


def meets(trial: Trial, gate: Gate, originals: Mapping[str, float], signs: Mapping[str, float]) -> bool:
    """Whether every rule holds, with something to spare."""
    return max(_over(trial, gate, originals, signs)) <= 0


def _over(trial: Trial, gate: Gate, originals: Mapping[str, float], signs: Mapping[str, float]) -> list[float]:
    found = []
    for rule in gate.rules:
        limit = rule.max_drop * (abs(originals[rule.metric]) if rule.relative else 1.0)
        difference = trial.differences[rule.metric]
        found.append(min(difference.error, limit / 2) - signs[rule.metric] * difference.value - limit)
        found.append(-signs[rule.metric] * trial.others[rule.metric] - limit)
    return found


def family(
    trials: Sequence[Trial], metric: str, sign: float, original_bytes: int, ratios: Sequence[int] = RATIOS
) -> dict[int, Trial]:
    """For each ratio that was reached the best trial that is that many times smaller than the original, each trial once."""
    found: dict[int, Trial] = {}
    for ratio in ratios:
        fits = [t for t in trials if t.disk_bytes * ratio <= original_bytes]
        best = min(fits, key=lambda t: (worst(t, metric, sign), t.disk_bytes, t.number), default=None)
        if best is not None and best not in found.values():
            found[ratio] = best
    return found
