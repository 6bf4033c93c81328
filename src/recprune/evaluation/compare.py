"""Original and compressed on the same test, with paired intervals by resampling users."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from recprune.errors import RecpruneError
from recprune.evaluation.classification import RowTruth
from recprune.evaluation.metrics import Metric, parse_metric
from recprune.evaluation.ranking import ListTruth
from recprune.evaluation.slices import Slice
from recprune.evaluation.statistics import Floats, Statistic

__all__ = ["Comparison", "Evaluation", "Interval", "SliceComparison", "compare", "differences", "estimate"]

_CHUNK = 32
K = TypeVar("K")
Predictions = NDArray[Any] | Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """One standard error, of an interval that is about normal."""
        return (self.high - self.low) / 3.92

    def to_json(self) -> dict[str, float]:
        """As in summary.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Comparison:
    """One metric of both models. `difference` is compressed - original, from the same resamples of users."""

    metric: str
    original: Interval
    compressed: Interval
    difference: Interval
    higher_is_better: bool
    definition: str
    users: int
    left_out: int

    @property
    def significantly_worse(self) -> bool:
        """Whether the whole interval of the difference lies on the harmful side of 0."""
        return self.difference.high < 0 if self.higher_is_better else self.difference.low > 0

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        return {
            "original": self.original.to_json(),
            "compressed": self.compressed.to_json(),
            "difference": self.difference.to_json(),
            "higher_is_better": self.higher_is_better,
            "significantly_worse": self.significantly_worse,
            "definition": self.definition,
            "users": self.users,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class SliceComparison:
    """One slice: its users and rows (held-out items, for ranked lists), metrics, and why a metric is left out."""

    name: str
    users: int
    rows: int
    metrics: dict[str, Comparison]
    undefined: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        metrics = {name: comparison.to_json() for name, comparison in self.metrics.items()}
        out: dict[str, Any] = {"users": self.users, "rows": self.rows, "metrics": metrics}
        return out | ({"undefined": self.undefined} if self.undefined else {})


@dataclass(frozen=True)
class Evaluation:
    """All metrics on the whole test and on every slice."""

    metrics: dict[str, Comparison]
    slices: dict[str, SliceComparison]

    def worse(self) -> list[tuple[str, str]]:
        """(slice, metric) where the compressed model is significantly worse; the slice `all` is the whole test."""
        found = [("all", name) for name, c in self.metrics.items() if c.significantly_worse]
        for part in self.slices.values():
            found += [(part.name, name) for name, c in part.metrics.items() if c.significantly_worse]
        return found

    def to_json(self) -> dict[str, Any]:
        """The keys `metrics` and `slices` of a task in summary.json."""
        return {
            "metrics": {name: comparison.to_json() for name, comparison in self.metrics.items()},
            "slices": {name: part.to_json() for name, part in self.slices.items()},
        }


def compare(
    truth: RowTruth | ListTruth,
    original: Predictions,
    compressed: Predictions,
    metrics: Iterable[str],
    slices: Iterable[Slice] = (),
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Judge both models on the same test: paired percentile bootstrap over users, deterministic for a seed.

    `original` and `compressed` are scores (rows,) or ranked lists (users, places); a list of arrays holds one per seed
    of training: every number is then the mean over the seeds, and a resample draws the same users for all of them.
    Slices keep the users that the resample drew. A metric that a slice leaves undefined is named with the reason.
    Metrics that are no means of users (calibration error, coverage) are biased by resampling; their interval is the
    spread of the resamples around their own mean, put around the value. Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    models = {"original": _seeds(truth, original, "original"), "compressed": _seeds(truth, compressed, "compressed")}
    if len(models["original"]) != len(models["compressed"]):
        counts = f"{len(models['original'])} original and {len(models['compressed'])} compressed models"
        raise RecpruneError(f"{counts}: pairs need one of each per seed")
    parsed = [parse_metric(name) for name in metrics]
    cells: dict[tuple[str, Metric, str], list[Statistic]] = {}
    undefined: dict[str, dict[str, str]] = {}
    parts = list(slices)
    where = {part.name: truth.select(part.axis, part.mask, part.name) for part in parts}
    for name, masks in {"": {}, **where}.items():
        for metric in parsed:
            try:
                found = {m: [truth.statistic(metric, p, **masks) for p in ps] for m, ps in models.items()}
            except RecpruneError as error:
                if not name:
                    raise
                undefined.setdefault(name, {})[str(metric)] = str(error)
                continue
            cells |= {(name, metric, model): statistics for model, statistics in found.items()}
    values, draws = _bootstrap(cells, truth.n_users, resamples, seed)

    def comparison(name: str, metric: Metric) -> Comparison:
        a, b = (name, metric, "original"), (name, metric, "compressed")
        first = cells[a][0]
        mean = first.is_mean
        return Comparison(
            metric=str(metric),
            original=_interval(values[a], draws[a], mean),
            compressed=_interval(values[b], draws[b], mean),
            difference=_interval(values[b] - values[a], draws[b] - draws[a], mean),
            higher_is_better=metric.higher_is_better,
            definition=metric.describe(truth.candidates),
            users=first.users,
            left_out=first.left_out,
        )

    return Evaluation(
        metrics={str(metric): comparison("", metric) for metric in parsed},
        slices={
            name: SliceComparison(
                name,
                *truth.count(**masks),
                {str(m): comparison(name, m) for m in parsed if (name, m, "original") in cells},
                undefined.get(name, {}),
            )
            for name, masks in where.items()
        },
    )


def estimate(
    truth: RowTruth | ListTruth,
    predictions: Predictions,
    metrics: Iterable[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metrics of one model (a peer) with 95 % intervals, by the same resamples of users as `compare`."""
    models = _seeds(truth, predictions, "predictions")
    parsed = [parse_metric(name) for name in metrics]
    cells = {(metric,): [truth.statistic(metric, p) for p in models] for metric in parsed}
    values, draws = _bootstrap(cells, truth.n_users, resamples, seed)
    return {str(m): _interval(values[m,], draws[m,], cells[m,][0].is_mean) for m in parsed}


def differences(
    truth: RowTruth | ListTruth,
    original: Predictions,
    others: Mapping[str, Predictions],
    metrics: Iterable[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Interval]]:
    """Paired differences other - original of many models: the points of a frontier. Same resamples as `compare`."""
    # The original has no name: any name, the empty one too, may be another's.
    models: dict[str | None, list[Any]] = {None: _seeds(truth, original, "original")}
    models |= {name: _seeds(truth, p, name) for name, p in others.items()}
    for name, seeds in models.items():
        if len(seeds) != len(models[None]):
            raise RecpruneError(
                f"{name}: {len(seeds)} models, but {len(models[None])} originals: pairs need one per seed"
            )
    parsed = [parse_metric(name) for name in metrics]
    cells = {(name, m): [truth.statistic(m, p) for p in seeds] for name, seeds in models.items() for m in parsed}
    values, draws = _bootstrap(cells, truth.n_users, resamples, seed)

    def difference(name: str, metric: Metric) -> Interval:
        a, b = (None, metric), (name, metric)
        return _interval(values[b] - values[a], draws[b] - draws[a], cells[a][0].is_mean)

    return {name: {str(m): difference(name, m) for m in parsed} for name in others}


def _seeds(truth: RowTruth | ListTruth, predictions: Predictions, whose: str) -> list[Any]:
    given = list(predictions) if isinstance(predictions, (list, tuple)) else [predictions]
    if not given or not all(isinstance(p, np.ndarray) for p in given):
        raise RecpruneError(f"{whose}: predictions must be an array, or a list of arrays with one per seed")
    return [truth.check(cast(Any, p), whose) for p in given]


def _bootstrap(
    cells: Mapping[K, Sequence[Statistic]], n_users: int, resamples: int, seed: int
) -> tuple[dict[K, float], dict[K, Floats]]:
    """Value and `resamples` redrawn values of every cell; a cell is the mean of its statistics."""
    if resamples < 100:
        raise RecpruneError(f"resamples must be at least 100 for a 95 % interval, got {resamples}")
    rng = np.random.default_rng(seed)
    ones = np.ones((1, n_users))
    values = {key: float(np.mean([s(ones)[0] for s in statistics])) for key, statistics in cells.items()}
    draws = {key: np.empty(resamples) for key in cells}
    for start in range(0, resamples, _CHUNK):
        stop = min(start + _CHUNK, resamples)
        drawn = [np.bincount(rng.integers(n_users, size=n_users), minlength=n_users) for _ in range(start, stop)]
        weights = np.array(drawn, dtype=np.float64)
        for key, statistics in cells.items():
            draws[key][start:stop] = np.mean([s(weights) for s in statistics], axis=0)
    return values, draws


def _interval(value: float, draws: Floats, is_mean: bool) -> Interval:
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return Interval(value, value, value)
    if not is_mean:
        kept = kept - kept.mean() + value
    low, high = np.quantile(kept, (0.025, 0.975))
    return Interval(float(value), float(low), float(high))
