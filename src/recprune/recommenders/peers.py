"""What a `like` model is compared with: popularity, two means, boosted trees, and the same model trained smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recprune.recommenders.features import SEPARATOR, Encoded, Features, FeatureSettings
from recprune.recommenders.like import LIKE, LikeData, LikeSettings, train_like

if TYPE_CHECKING:
    from recprune.recommenders.tables import TableModel

__all__ = ["Peer", "like_peers", "trees"]

Array = npt.NDArray[Any]
_ROUNDS = 1500


@dataclass(frozen=True, eq=False)
class Peer:
    """A peer's scores of the test rows, what it weighs, and whether it is the same model trained smaller."""

    name: str
    scores: npt.NDArray[np.float64]
    disk_bytes: int
    note: str
    trained_small: bool = False


def like_peers(
    data: LikeData,
    settings: LikeSettings = LIKE,
    trained_small: Sequence[tuple[int, int]] = (),
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Peer]:
    """Train the peers on the rows that the model is trained on, one after the other.

    `trained_small`: (width, min_readings) of the same model trained from scratch and stored with 8-bit rows and hashed
    ids; width 0 is the model without any id table.
    """
    features, train = Features.fit(data.train, data.implicit, _with_statistics(settings.features))
    valid, test = features.encode(data.valid), features.encode(data.test)
    say("popularity and means")
    reads = features.readings["item"]
    yield Peer(
        "popularity", np.log1p(reads[test.rows["item"]]), _table_bytes(features, ["item"], 1), "reads of the book"
    )
    yield _means(data, features, train, test)
    say("boosted trees")
    scores, model = trees(features, train, valid, test, data.labels["train"], data.labels["valid"], seed)
    tables = sum(table.nbytes for table in features.tables.values())
    size = len(model.encode()) + tables + _vocabulary_bytes(features, list(features.tables))
    yield Peer("lightgbm", scores, size, "LightGBM on all statistics: its text, and the statistics it reads as float32")
    for width, readings in trained_small:
        say(f"the same model from scratch: width {width}, ids read {readings} times or more")
        smaller = replace(settings, sizes=replace(settings.sizes, width=width, min_readings=readings))
        trained = train_like(data, smaller, seed=seed)
        scores, size = _shipped(trained.model, data)
        name = f"width {width}, {readings}+ readings" if width else "no id tables"
        yield Peer(name, scores, size, "trained from scratch, 8 bits, hashed ids", trained_small=True)


def trees(
    features: Features,
    train: Encoded,
    valid: Encoded,
    test: Encoded,
    labels: Array,
    valid_labels: Array,
    seed: int,
) -> tuple[npt.NDArray[np.float64], str]:
    """Boosted trees on all statistics (Ke and others, NeurIPS 2017): scores of the test rows, and the model as text."""
    import lightgbm

    columns = [features.matrix(rows) for rows in (train, valid, test)]
    fitted = lightgbm.Dataset(columns[0], labels, free_raw_data=True)
    held = lightgbm.Dataset(columns[1], valid_labels, reference=fitted)
    settings = {
        "objective": "binary",
        "metric": "auc",
        "learning_rate": 0.05,
        "num_leaves": 63,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "num_threads": 1,  # with fewer cores free than threads its workers wait for each other ten times as long
        "seed": seed,
        "deterministic": True,
        "verbose": -1,
    }
    stop = lightgbm.early_stopping(50, verbose=False)
    model = lightgbm.train(settings, fitted, _ROUNDS, [held], callbacks=[stop])
    return np.asarray(model.predict(columns[2])), model.model_to_string()


def _with_statistics(settings: FeatureSettings) -> FeatureSettings:
    """The settings with the statistics of `LIKE`, as far as the columns are there: `like-ids` has none of its own."""
    if settings.statistics:
        return settings
    names = {*settings.ids, *(name for name, _ in settings.buckets)}
    found = tuple((key, c) for key, c in LIKE.features.statistics if set(key.split(SEPARATOR)) <= names)
    return replace(settings, statistics=found)


def _means(data: LikeData, features: Features, train: Encoded, test: Encoded) -> Peer:
    """A logistic regression on the effects of the user and the book."""
    from sklearn.linear_model import LogisticRegression

    columns = dict(features.settings.statistics)
    wanted = [(key, columns[key].index("like effect")) for key in ("user", "item")]

    def matrix(rows: Encoded) -> Array:
        given = rows.statistics or {key: features.tables[key][rows.rows[key]] for key, _ in wanted}
        return np.column_stack([given[key][:, i] for key, i in wanted])

    model = LogisticRegression().fit(matrix(train), data.labels["train"])
    scores = model.predict_proba(matrix(test))[:, 1]
    size = _table_bytes(features, [key for key, _ in wanted], 1)
    return Peer("user and book mean", scores, size, "logistic regression on both means, shrunk")


def _table_bytes(features: Features, keys: Sequence[str], columns: int) -> int:
    """Tables of some float32 columns, with their ids."""
    return sum(4 * columns * len(features.readings[key]) for key in keys) + _vocabulary_bytes(features, keys)


def _vocabulary_bytes(features: Features, keys: Sequence[str]) -> int:
    """Bytes of the ids, stored as in an artifact."""
    from recprune.vocabulary import ExactVocabulary

    total = 0
    for key in keys:
        if key in features.pairs:
            left, right = features.pairs[key]
            ids = (left + "\x1f" + right).to_numpy()
        elif key in features.ids:
            ids = features.ids[key].to_numpy()
        else:
            continue  # buckets have no ids
        vocabulary, _ = ExactVocabulary.build([ids.astype(np.str_)])
        total += sum(array.nbytes for array in vocabulary.arrays().values())
    return total


def _shipped(model: TableModel, data: LikeData) -> tuple[npt.NDArray[np.float64], int]:
    """Scores and bytes of the model as an artifact of 8-bit codes and hashed ids."""
    from recprune.adapters import adapter_for
    from recprune.artifact import read, write
    from recprune.pruning.compress import apply
    from recprune.pruning.methods import Quantize
    from recprune.pruning.recipe import Recipe
    from recprune.runtime import Scorer

    # A scale for each row of one or few columns would cost more than it gives: columns share one there.
    steps = [Quantize("tables.*.factor")] if model.settings.width else []
    tables = [
        *(f"tables.{name}.bias" for name in model.tables),
        *(f"statistics.{key}" for key in model.features.tables),
    ]
    steps += [Quantize(name, granularity="per_column") for name in tables]
    adapter = adapter_for(model)
    snapshot = adapter.read(model)
    context = adapter.context(model, None, 0, lambda line: None)
    smaller = apply(snapshot, Recipe(tuple(steps), fingerprint=8), context, adapter, model)
    with TemporaryDirectory() as folder:
        size = write(smaller.artifact, Path(folder) / "artifact")
        scores = Scorer(read(Path(folder) / "artifact")).score(data.test)
    return np.asarray(scores, np.float64), size["disk_bytes"]
