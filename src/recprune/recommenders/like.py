"""The task `like`: will this reader rate this book 8 or better? Its rows, its settings, and training its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from recprune.data import Log, labels_at_least, split_by_hash
from recprune.errors import RecpruneError, unknown
from recprune.privacy import Private
from recprune.recommenders.dcn import Dcn
from recprune.recommenders.deepfm import DeepFm
from recprune.recommenders.features import SEPARATOR, Encoded, Features, FeatureSettings
from recprune.recommenders.tables import ModelSettings, TableModel
from recprune.recommenders.training import History, Training, fit

__all__ = [
    "LIKE",
    "LIKE_IDS",
    "MODELS",
    "LikeData",
    "LikeSettings",
    "Trained",
    "features_for",
    "like_data",
    "privately",
    "repair_like",
    "soft_targets",
    "train_like",
]

_NO_ATTRIBUTES = ("user", "item", "rating", "time")
_GENTLE = 0.1  # of the rates of training, in a repair
MODELS: dict[str, type[Dcn] | type[DeepFm]] = {"dcn": Dcn, "deepfm": DeepFm}
"""The models by name."""

_YEARS = (1960.0, 1970.0, 1975.0, 1980.0, 1984.0, 1987.0, 1990.0, 1992.0, 1994.0, *map(float, range(1996, 2005)))
_BUCKETS = (("year", _YEARS), ("age", tuple(map(float, range(10, 75, 5)))))
_FULL = ("count", "implicit", "mean effect", "like effect", "spread")
_STATISTICS = (
    *((key, _FULL) for key in ("user", "item", "work", "author", "publisher")),
    *((key, ("like",)) for key in ("year", "age", "country", "region", "city")),
    *((key, ("count", "mean effect", "like effect")) for key in ("user x author", "user x publisher")),
)


@dataclass(frozen=True)
class LikeSettings:
    """A model of the task: which features, which model, how it is trained.

    `soft`: how much of a training target comes from the rating itself instead of the label, see `soft_targets`.
    `private`: differential privacy to train with; `privately` gives settings that suit it.
    """

    model: str = "dcn"
    features: FeatureSettings = field(default_factory=FeatureSettings)
    sizes: ModelSettings = field(default_factory=ModelSettings)
    training: Training = field(default_factory=Training)
    soft: float = 0.5
    private: Private | None = None

    def __post_init__(self) -> None:
        """Check the model's name and the share."""
        if self.model not in MODELS:
            raise unknown("model", self.model, MODELS)
        if not 0 <= self.soft <= 1:
            raise RecpruneError(f"soft must be in [0, 1], got {self.soft}")


LIKE = LikeSettings(
    features=FeatureSettings(buckets=_BUCKETS, statistics=_STATISTICS),
    sizes=ModelSettings(min_readings=10, factor_l2=100.0, bias_l2=8.0),
    training=Training(epochs=6),
)
"""All blocks: ids, attributes, words and statistics. Chosen on the validation part of Book-Crossing."""

LIKE_IDS = LikeSettings(
    features=FeatureSettings(buckets=_BUCKETS),
    sizes=ModelSettings(min_readings=2, deep=(32,), factor_l2=100.0, bias_l2=8.0, id_dropout=0.0, dropout=0.3),
    training=Training(epochs=5),
)
"""Ids, attributes and words only: everything the model knows lies in its tables."""

PRIVATE = {
    "user": Training(epochs=10, batch=4096),
    "interaction": Training(epochs=8, batch=16384),
}
"""Private training by unit; `batch` counts units. Chosen on the validation part of Book-Crossing."""

_NOT_COVERED = (
    "ids: which have a row of their own, and their order by readings",
    "epochs: the one kept is the best on validation rows",
)


@dataclass(frozen=True, eq=False)
class LikeData:
    """Rows of the task, with the columns of the log joined: labelled parts, their labels, and unlabelled training rows."""

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame
    implicit: pl.DataFrame
    labels: dict[str, npt.NDArray[np.float32]]

    def fitted(self, settings: FeatureSettings) -> tuple[Features, Encoded]:
        """Features of the training rows, and these rows encoded: once for all who ask."""
        kept: dict[FeatureSettings, tuple[Features, Encoded]] = vars(self).setdefault("_fitted", {})
        if settings not in kept:
            kept[settings] = Features.fit(self.train, self.implicit, settings)
        return kept[settings]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, its features, and the training rows as it saw them; `private`: what was spent, for the manifest."""

    model: TableModel
    features: Features
    train: Encoded
    history: History
    private: dict[str, Any] | None = None


def like_data(log: Log, *, liked: float = 8.0, seed: int = 0) -> LikeData:
    """Split a log by a hash of (user, item) 80/10/10; rows rated 0 are unlabelled, and those of training are kept."""
    rows = log.joined().with_columns(split=pl.Series(split_by_hash(log, seed=seed)))
    rated = rows.filter(pl.col("rating") > 0)
    labels = labels_at_least(rated["rating"], liked, rated["split"].to_numpy())
    split = rated["split"].to_numpy()
    parts = {name: rated.filter(pl.col("split") == name).drop("split") for name in ("train", "valid", "test")}
    implicit = rows.filter((pl.col("rating") == 0) & (pl.col("split") == "train")).drop("split")
    return LikeData(**parts, implicit=implicit, labels={name: labels[split == name] for name in parts})


def features_for(settings: FeatureSettings, rows: pl.DataFrame, liked: float) -> FeatureSettings:
    """Fit settings to the columns of a log, so that every attribute it has is read, and none that it lacks.

    `rows`: of training. An attribute that the settings do not know is an id column where it is text, and a number is cut at
    its tenths; where there are statistics it has the one that every attribute has, how much is liked.

    Raises RecpruneError for rows without a user or an item, and for a name that no table can have.
    """
    have = set(rows.columns)
    if missing := [name for name in ("user", "item") if name not in have]:
        raise RecpruneError(f"no column {missing[0]!r}; columns are: {', '.join(rows.columns)}")
    numbers = {name for name in have if rows.schema[name].is_numeric()}
    ids = [name for name in settings.ids if name in have]
    buckets = [(name, edges) for name, edges in settings.buckets if name in numbers]
    words = settings.words if settings.words in have else None
    others = [name for name in rows.columns if name not in {*_NO_ATTRIBUTES, *ids, *dict(buckets), words}]
    for name in others:
        if name == "training" or any(sign in name for sign in (".", "+", "*", SEPARATOR)):
            raise RecpruneError(
                f"attribute {name!r} cannot be read: a name must have no '.', '+', '*' or {SEPARATOR!r}, nor be 'training'; "
                "rename the column"
            )
        if name in numbers:
            buckets.append((name, _tenths(rows[name])))
        else:
            ids.append(name)
    statistics = [entry for entry in settings.statistics if set(entry[0].split(SEPARATOR)) <= have]
    stated = {key for key, _ in statistics}
    if settings.statistics:
        statistics += [(name, ("like",)) for name in others if name not in stated]
    return replace(
        settings, ids=tuple(ids), buckets=tuple(buckets), words=words, statistics=tuple(statistics), liked=liked
    )


def _tenths(values: pl.Series) -> tuple[float, ...]:
    """Edges that cut numbers into ten parts of as many rows, fewer where many are alike."""
    known = values.cast(pl.Float64).drop_nulls().drop_nans()
    found = np.unique(np.quantile(known, np.arange(1, 10) / 10)) if len(known) else np.zeros(0)
    return tuple(found.tolist())


def soft_targets(ratings: Any, liked: float, share: float) -> npt.NDArray[np.float32]:
    """Labels mixed with a sigmoid of the rating's distance from the threshold: a 10 is surer liked than an 8.

    >>> soft_targets(np.array([10, 8, 7]), 8.0, 0.5).astype(float).round(2).tolist()
    [0.96, 0.81, 0.19]
    """
    ratings = np.asarray(ratings, np.float64)
    graded = 1 / (1 + np.exp(-(ratings - (liked - 0.5))))
    mixed: npt.NDArray[np.float32] = ((1 - share) * (ratings >= liked) + share * graded).astype(np.float32)
    return mixed


def privately(settings: LikeSettings, private: Private) -> LikeSettings:
    """The same model for private training: larger batches, and nothing that is counted on the log beside its ids.

    Raises RecpruneError for settings with statistics.
    """
    if settings.features.statistics:
        raise RecpruneError(
            "private training needs a model without statistics: they are counted on the log without noise"
        )
    features = settings.features
    if private.unit == "user":  # a row for each user says who was there
        features = replace(features, ids=tuple(name for name in features.ids if name != "user"))
    sizes = replace(settings.sizes, factor_l2=0.0, bias_l2=0.0, dropout=0.0, id_dropout=0.0)
    return replace(settings, features=features, sizes=sizes, training=PRIVATE[private.unit], private=private)


def train_like(
    data: LikeData,
    settings: LikeSettings = LIKE,
    *,
    seed: int = 0,
    progress: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Fit features on the training rows, and a model on them, stopped by the validation rows."""
    return _trained(data, settings, None, seed, progress, checkpoint)


def repair_like(
    data: LikeData,
    settings: LikeSettings,
    older: TableModel,
    *,
    epochs: int = 1,
    seed: int = 0,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> Trained:
    """A model for `data` from one that was trained on this data and more, which is to be forgotten: a short training.

    Features are fitted anew; ids take their rows with them (`TableModel.inherit`). Rates are lower than in training: at
    full ones the first epoch undoes more than one can win back.
    """
    rates = {name: _GENTLE * getattr(settings.training, name) for name in ("rate", "row_rate", "bias_rate")}
    short = replace(settings, training=replace(settings.training, epochs=epochs, **rates))
    return _trained(data, short, older, seed, progress, None)


def _trained(
    data: LikeData,
    settings: LikeSettings,
    older: TableModel | None,
    seed: int,
    progress: Callable[[dict[str, float]], None] | None,
    checkpoint: Path | None,
) -> Trained:
    features, train = data.fitted(settings.features)
    torch.manual_seed(seed)
    model = MODELS[settings.model](features, settings.sizes)
    if older is not None:
        model.inherit(older)
    targets = soft_targets(data.train["rating"].to_numpy(), settings.features.liked, settings.soft)
    valid, labels = features.encode(data.valid), data.labels["valid"]
    if settings.private is None:
        history = fit(
            model, train, targets, valid, labels, settings.training, seed=seed, progress=progress, checkpoint=checkpoint
        )
        return Trained(model, features, train, history)
    from recprune.recommenders.private import fit_private

    users = data.train["user"].to_numpy()
    history, spent = fit_private(
        model,
        train,
        targets,
        users,
        valid,
        labels,
        settings.training,
        settings.private,
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
    )
    own = {name for name, _ in settings.features.buckets} - dict(_BUCKETS).keys()
    tenths = [f"numbers: the tenths that {', '.join(sorted(own))} are cut at"] if own else []
    return Trained(model, features, train, history, spent | {"not_covered": [*_NOT_COVERED, *tenths]})
