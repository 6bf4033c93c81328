"""Find the smallest recipe for a constraint, without being told one."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recprune.adapters import Adapter, adapter_for
from recprune.errors import RecpruneError
from recprune.evaluation import Gate
from recprune.files import remove_directory
from recprune.judge import Judge
from recprune.processes import follow_parent
from recprune.pruning.methods import DropFields, DropRows
from recprune.pruning.recipe import Recipe
from recprune.pruning.space import Fit
from recprune.pruning.store import MADE_UP, Store, alone
from recprune.pruning.trials import RATIOS, Trial, choose, family, frontier, meets
from recprune.pruning.workbench import Workbench

__all__ = ["Found", "constraint", "search"]

_FIRST = 24  # recipes of the first frontier
_FITTED: tuple[Fit, ...] = ("last", "first")  # the ways that leave codes to `fit_bytes`
_NEAR = math.log(1.3)
_MISSES = 50  # proposals in a row that were all tried before: there is nothing new

Say = Callable[[str], None]
Open = Callable[[], tuple[Any, Any, Judge]]
_Promise = tuple[Trial, Fit, int]


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found. `trials`: everything tried, paths relative to `folder`. `chosen`: the one for the constraint.

    `originals`: value of each metric of the original on validation; `metric` leads, and `sign` is 1 where higher is better.
    """

    folder: Path
    metric: str
    sign: float
    original_bytes: int
    originals: Mapping[str, float]
    trials: Sequence[Trial]
    chosen: Trial

    @property
    def frontier(self) -> list[Trial]:
        """What no smaller trial equals."""
        return frontier(self.trials, self.metric, self.sign)

    @property
    def family(self) -> dict[int, Trial]:
        """For each ratio that was reached the best that small."""
        return family(self.trials, self.metric, self.sign, self.original_bytes)


@dataclass(frozen=True)
class _Goal:
    """What is searched for, and how long: goes to every worker."""

    gate: Gate | None
    size: int | None
    original_bytes: int
    epochs: int
    seed: int

    @property
    def bounds(self) -> list[int]:
        """Bytes that an artifact is wanted for, the one that was asked for first."""
        asked = [self.size] if self.size else []
        return list(dict.fromkeys([*asked, *(self.original_bytes // ratio for ratio in RATIOS)]))

    def aim(self, size: int) -> int:
        """A size near a bound is that bound: what lies between them is of no use there."""
        bound = min(self.bounds, key=lambda bound: abs(math.log(bound / size)))
        return bound if abs(math.log(bound / size)) < _NEAR else size

    def choose(self, bench: Workbench, trials: Sequence[Trial]) -> Trial:
        return choose(trials, bench.values, bench.signs, self.gate, self.size)


def search(
    model: Any,
    data: Any,
    judge: Judge,
    *,
    folder: str | Path,
    max_drop: str | None = None,
    size: int | None = None,
    ratio: float | None = None,
    trials: int = 100,
    retrain: int = 8,
    epochs: int = 3,
    time_limit: float = math.inf,
    seed: int = 0,
    workers: int = 1,
    reopen: Open | None = None,
    adapter: Adapter | None = None,
    original_bytes: int | None = None,
    say: Say = lambda line: None,
) -> Found:
    """The smallest artifact within `max_drop` (such as `auc:0.001`), or the best within `size` bytes or `ratio` times less.

    No recipe is given: what may be done to each part follows from the model's axes and bytes (`space_of`). Every choice is
    measured alone, on one half of the users; the best combinations for a range of sizes, as far as losses add up, are tried
    first and judged on the other half, then others near them (`trials` in all, nothing retrained); then the `retrain` most
    promising are retrained for up to `epochs`. `judge`: what is true on validation. `data`: as for `compress`.

    What was tried is kept in `folder`, and the same call goes on from there after a kill or `time_limit` (seconds); Ctrl-C
    ends the search and keeps it too. A call with another constraint starts from what is known, and retrains for that one.

    `workers`: processes; each calls `reopen`, a function that can be pickled and gives model, data and judge. With one the
    result is the same for a seed. `original_bytes`: of the original's artifact, where it was written before.

    Raises RecpruneError where the constraint was not reached, naming the best that was, and for a store that is damaged or
    in use.
    """
    gate = constraint(max_drop, size, ratio, time_limit)
    if workers > 1 and reopen is None:
        raise RecpruneError("several workers need `reopen`, which gives each of them the model")
    for rule in gate.rules if gate else ():
        if rule.metric not in judge.metrics:
            raise RecpruneError(f"the search judges {', '.join(judge.metrics)}, not {rule.metric!r}")
    stop = time.monotonic() + time_limit
    bench = Workbench(model, data, judge, Path(folder), adapter or adapter_for(model), epochs, seed)
    original = bench.original_bytes() if original_bytes is None else original_bytes
    limit = size if ratio is None else min(int(original / ratio), size or original)
    if limit == 0:
        raise RecpruneError(f"a ratio of {ratio} leaves less than a byte: the original has {original:,} bytes")
    goal = _Goal(gate, limit, original, epochs, seed)
    with alone(_path(bench), say):
        try:
            bench.measure(stop, say)
            _phase(bench, goal, False, _prepare(bench, goal, trials), stop, workers, reopen, say)
            if retrain and bench.context.trainer is not None and time.monotonic() < stop:
                _phase(bench, goal, True, _promise(bench, goal, retrain), stop, workers, reopen, say)
        except KeyboardInterrupt:
            say("stopped: what was tried is kept, the same command goes on from there")
        tried = _tried(bench)
        sign = bench.signs[bench.metric]
        found = Found(bench.folder, bench.metric, sign, original, bench.values, tried, goal.choose(bench, tried))
        kept = [found.chosen, *found.frontier, *found.family.values()]
        for trial in kept:
            bench.restore(trial.recipe, trial.folder, say)
        _tidy(bench.folder / "tried", kept)
    return found


def constraint(max_drop: str | None, size: int | None, ratio: float | None, time_limit: float) -> Gate | None:
    """The gate that `max_drop` says. Raises RecpruneError where nothing is asked for, or what cannot be."""
    if max_drop is None and size is None and ratio is None:
        raise RecpruneError("a search needs a constraint: max_drop, size or ratio")
    if size is not None and size < 1:
        raise RecpruneError(f"size must be 1 byte or more, got {size}")
    if ratio is not None and not 1 <= ratio < math.inf:
        raise RecpruneError(f"ratio, how many times smaller, must be a number from 1 on, got {ratio}")
    if not time_limit >= 0:
        raise RecpruneError(f"time_limit must be seconds, got {time_limit}")
    return None if max_drop is None else Gate.parse(max_drop)


def _path(bench: Workbench) -> Path:
    return bench.folder / "trials.log"


def _store(bench: Workbench, retrained: bool) -> Store:
    return Store(_path(bench), bench.key + "-retrained" * retrained, bench.tradeoff, bench.fits, retrained)


def _prepare(bench: Workbench, goal: _Goal, trials: int) -> int:
    """Put the first frontier in line, and again what was running when a search was killed. How many are to be done in all.

    A search that goes on for another size tries that size too, though it may have tried enough.
    """
    store = _store(bench, False)
    for phase in (store, _store(bench, True)):
        phase.recover()
    fresh, before = store.empty, store.done()
    prices = bench.tradeoff.prices(min(_FIRST, max(trials // 2, 2)))
    for price in prices if fresh else ():
        store.enqueue({"price": price})
    added = 0
    if bench.fits:  # it measures the model each time, which takes as long as several trials
        for bound in (b for b in goal.bounds if b > bench.size_at(prices[-1])):
            price = min(prices, key=lambda p: abs(math.log(bench.size_at(p) / bound)))
            added += sum(store.enqueue({"price": price}, fit, bound) for fit in _FITTED)
    return trials if fresh else max(trials, before + added)


def _promise(bench: Workbench, goal: _Goal, count: int) -> int:
    """Put in line for retraining what is on the frontier beyond the constraint, or near a bound, and was not before.

    How many are to be done in all, what was retrained for other constraints too.
    """
    store = _store(bench, True)
    points = {trial.number: (trial, point) for trial, point in _store(bench, False).trials()}
    promising = _promising(bench, goal, [trial for trial, _ in points.values()], count)
    found = [(points[trial.number][1], fit, size) for trial, fit, size in promising]
    if "width" in bench.tradeoff.kinds:  # a cut width is far off before retraining, and often the best after
        sizes = list(dict.fromkeys((size or trial.disk_bytes, size) for trial, _, size in promising))
        last: Fit = "last" if bench.fits else "no"
        cut = [
            ({"price": bench.tradeoff.price_for(aim - bench.around, {"width": trust}), "width": trust}, last, size)
            for trust in MADE_UP
            for aim, size in sizes
        ]
        found = [*cut, *found]
    for point, fit, size in found[:count]:
        store.enqueue(point, fit, size)
    return store.done() + store.waiting()


def _promising(bench: Workbench, goal: _Goal, listed: Sequence[Trial], count: int) -> list[_Promise]:
    """At most `count` trials, what is left to `fit_bytes`, and the bytes that it is to meet; 0 where it cannot act."""
    best = frontier(listed, bench.metric, bench.signs[bench.metric])
    if goal.gate is None and bench.fits:
        return _near_bounds(best, goal.bounds, count)
    if not bench.fits:  # codes come after training, which makes up for dropped rows and blocks only
        best = [t for t in best if _drops(t.recipe)]
    if goal.gate is not None:
        good = [t.disk_bytes for t in listed if meets(t, goal.gate, bench.values, bench.signs)]
        best = [t for t in best if t.disk_bytes < min(good, default=math.inf)]
    elif goal.size is not None:
        size = goal.size
        best = [t for t in best if t.disk_bytes <= size]
    ways: Sequence[Fit] = _FITTED if bench.fits else ("no",)
    each = min(-(-count // len(ways)), len(best))
    places = np.linspace(len(best) - 1, 0, each).round().astype(int)
    return [(best[i], fit, best[i].disk_bytes if bench.fits else 0) for fit in ways for i in places][:count]


def _near_bounds(best: Sequence[Trial], bounds: Sequence[int], count: int) -> list[_Promise]:
    """For each bound in turn the trials nearest to it, each with the bound: rather larger, to leave rows to choose from."""
    smallest = min(t.disk_bytes for t in best)
    # Where none was reached, that which was asked for: `fit_bytes` may do what nothing did yet.
    reached = [bound for bound in bounds if bound >= smallest] or bounds[:1]
    nearest = [sorted(best, key=lambda t: abs(math.log(t.disk_bytes / bound) - _NEAR)) for bound in reached]
    lines = list(zip(nearest, reached, strict=True))
    turns = [(line[i], fit, bound) for i in range(len(best)) for fit in _FITTED for line, bound in lines]
    return turns[:count]


def _drops(recipe: Recipe) -> bool:
    return any(isinstance(step, DropRows | DropFields) for step in recipe.steps)


def _run(bench: Workbench, goal: _Goal, retrained: bool, count: int, stop: float, worker: int, say: Say) -> None:
    """Try until `count` trials are done by all processes together."""
    store = _store(bench, retrained)
    misses, what = 0, _what(retrained)
    while time.monotonic() < stop and misses < _MISSES:
        with store.turn():  # who counts and then takes must not be overtaken: no more are tried than was asked for
            if store.done() + store.running() >= count or (retrained and not store.waiting()):
                return
            trial, size, settings, fit = store.ask((goal.seed, worker), _near(bench, goal, store))
            epochs = goal.epochs if retrained else 0
            asked = trial.user_attrs.get("bytes") or goal.aim(size + bench.around)
            recipe = bench.space.recipe(settings, epochs, fit, asked)
            if not store.claim(trial, recipe):
                store.fail(trial, "repeated")
                misses += 1
                continue
        misses = 0
        try:
            found = bench.judged(recipe, f"tried/{bench.key}-{'r' * retrained}{trial.number}")
        except RecpruneError as error:
            if isinstance(error.__cause__, OSError):  # the disk's fault, not the recipe's
                store.fail(trial, "stopped")
                raise
            store.fail(trial, "error", str(error))
            say(f"not {what}: {error}")
            continue
        except BaseException:
            store.fail(trial, "stopped")
            raise
        value = found["differences"][bench.metric]["value"]
        store.finish(trial, (math.log(found["disk_bytes"]), -bench.signs[bench.metric] * value), found)
        say(f"{what} {store.done()}/{count}: {found['disk_bytes']:,} bytes, {bench.metric} {value:+.4f}")


def _near(bench: Workbench, goal: _Goal, store: Store) -> float | None:
    """A price at which something good was found, near which half of the proposals stay.

    In turns of what would be chosen now, which has every second one, and of the family's members.
    """
    points = {trial.number: (trial, point) for trial, point in store.trials()}
    listed = [trial for trial, _ in points.values()]
    members = list(family(listed, bench.metric, bench.signs[bench.metric], goal.original_bytes).values())
    try:
        chosen = [goal.choose(bench, listed)]
    except RecpruneError:
        chosen = []
    turns = [trial for member in members for trial in (*chosen, member)] or chosen
    return points[turns[len(points) // 2 % len(turns)].number][1]["price"] if turns else None


def _what(retrained: bool) -> str:
    return "retrained" if retrained else "tried"


def _phase(
    bench: Workbench,
    goal: _Goal,
    retrained: bool,
    count: int,
    stop: float,
    workers: int,
    reopen: Open | None,
    say: Say,
) -> None:
    """Run in this process, or in several that are watched from here."""
    if workers == 1:
        return _run(bench, goal, retrained, count, stop, 0, say)
    store, what = _store(bench, retrained), _what(retrained)
    failed = store.failures()
    spawn = multiprocessing.get_context("spawn")
    left = stop - time.monotonic()
    given = (reopen, bench.folder, bench.adapter, goal, retrained, count, left)
    processes = [spawn.Process(target=_worker, args=(*given, i + 1), daemon=True) for i in range(workers)]
    for process in processes:
        process.start()
    try:
        told, alive = -1, True
        while alive:
            alive = any(process.is_alive() for process in processes)  # what the last of them did is told too
            if alive:
                time.sleep(0.5)
            done, now = store.done(), store.failures()
            for number in sorted(now.keys() - failed.keys()):
                say(f"not {what}: {now[number]}")
            failed = now
            if done != told:
                told = done
                say(f"{what} {done}/{count}")
    except BaseException:
        for process in processes:
            process.join(10)  # Ctrl-C reaches the workers too: each marks its trial as stopped
            process.terminate()
        raise
    if any(process.exitcode for process in processes):
        say("a worker ended early, perhaps for want of memory; what was tried is kept")


def _worker(
    reopen: Open,
    folder: Path,
    adapter: Adapter,
    goal: _Goal,
    retrained: bool,
    count: int,
    left: float,
    worker: int,
) -> None:
    """A process of a search: opens the model anew and works on the same store."""
    follow_parent()
    stop = time.monotonic() + left
    try:
        model, data, judge = reopen()
        bench = Workbench(model, data, judge, folder, adapter, goal.epochs, goal.seed)
        _run(bench, goal, retrained, count, stop, worker, lambda line: None)
    except KeyboardInterrupt:
        return


def _tried(bench: Workbench) -> list[Trial]:
    """Everything judged, one-shot first; numbers are unique over both."""
    if not bench.measured:
        raise RecpruneError("stopped before every part was measured; the same command goes on from there")
    first, second = ([trial for trial, _ in _store(bench, r).trials()] for r in (False, True))
    start = max((trial.number for trial in first), default=-1) + 1
    return first + [replace(trial, number=trial.number + start) for trial in second]


def _tidy(folder: Path, keep: Sequence[Trial]) -> None:
    """Leave the artifacts of the best only."""
    names = {Path(trial.folder).name for trial in keep}
    for path in folder.iterdir():
        if path.name not in names:
            remove_directory(path)
