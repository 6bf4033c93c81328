"""The YAML of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from recprune.documents import is_a, read_yaml
from recprune.errors import RecpruneError, unknown
from recprune.evaluation import Gate
from recprune.privacy import Private
from recprune.pruning.recipe import Recipe

T = TypeVar("T")
NEXT_ITEM_MODELS = ("ease", "sansa", "item_knn", "als", "two_tower", "sasrec", "titles")
_WIDEST = 1 << 16  # columns of a table: more is a slip of the keyboard
LIKE_MODELS, LIKE_TREES = ("dcn", "deepfm"), ("lightgbm", "forest")

__all__ = ["LikeConfig", "NextItemConfig", "RunConfig", "TaskConfig", "read_config"]


@dataclass(frozen=True)
class TaskConfig:
    """What every task has.

    - `kind`: `like` (will this user like this item) or `next_item` (what will this user take next).
    - `recipes`: name to recipe; all are tried and stand on the frontier.
    - `ship`: the recipe whose artifact is shipped and judged.
    - `gate`: what it may lose, such as `auc:0.001` or `ndcg@10:1%,recall@20:1%`.
    - `question`: what the model answers, for the report.
    """

    kind: str
    recipes: Mapping[str, Recipe]
    ship: str
    gate: str
    question: str = ""

    def __post_init__(self) -> None:
        Gate.parse(self.gate)
        if self.ship not in self.recipes:
            raise unknown("recipe to ship", self.ship, self.recipes)


@dataclass(frozen=True)
class LikeConfig(TaskConfig):
    """A task of kind `like`: a label for each (user, item); AUC first.

    - `model`: `dcn` or `deepfm`; `width` of the factors; ids read less often than `min_readings` share a row. Or trees on
      the statistics alone, `lightgbm` or `forest`, which have neither.
    - `liked`: ratings from this on are the label 1.
    - `statistics`: whether the model sees the statistics of users and items (their histories and ratings) or ids only.
    - `trained_small`: the plainest peers, the same model trained from scratch at `[width, min_readings]`.
    - `private`: `{epsilon: 8}` trains with differential privacy; see `recprune.privacy.Private`. A model that is private by
      user has no table of users.
    """

    model: str = "dcn"
    width: int = 8
    min_readings: int = 3
    liked: float = 8.0
    statistics: bool = True
    trained_small: tuple[tuple[int, int], ...] = ()
    private: Private | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.private is not None:
            if self.statistics:
                raise RecpruneError("private needs statistics: false: statistics are counted on the log without noise")
            for name, recipe in self.recipes.items():
                for step in recipe.steps:
                    if step.trains:
                        raise RecpruneError(
                            f"recipe {name}: {step.verb} trains on the log without noise; leave it out of a private task"
                        )
        if self.model not in (*LIKE_MODELS, *LIKE_TREES):
            raise unknown("model", self.model, (*LIKE_MODELS, *LIKE_TREES))
        if self.model in LIKE_TREES and not self.statistics:
            raise RecpruneError(f"{self.model} reads statistics only; statistics: false leaves it nothing")
        if self.model in LIKE_TREES and self.trained_small:
            raise RecpruneError(f"trained_small is for models with a width; {self.model} has none")
        for width, least in ((self.width, self.min_readings), *self.trained_small):
            if not 0 <= width <= _WIDEST or least < 1:
                raise RecpruneError(
                    f"a width is 0 to {_WIDEST:,}, and ids are read 1 time or more, got {width} and {least}"
                )
            if not width and not self.statistics:
                raise RecpruneError("width 0 leaves a model without statistics nothing to read")


@dataclass(frozen=True)
class NextItemConfig(TaskConfig):
    """A task of kind `next_item`: what a user takes next, judged over the whole catalogue; NDCG@10 first.

    - `model`: `ease`; `sansa`, EASE with a few neighbours for each item, for catalogues whose dense matrix does not fit;
      `item_knn`, the cosine of readers; `als`; `two_tower`; `sasrec`, which learns from the order, so it needs a log with
      times; or `titles`, which recommends what has titles like those read (the items of the log need one).
    - `l2`: penalty of EASE, dense or sparse, which stands among the peers of the other models where it fits into memory.
    - `neighbours` of each item for `sansa` and `item_knn`; `tail`: how far `sansa` raises rare items.
    - `alpha`, `als_l2`: what a read item counts, and the penalty, of `als`.
    - `width` of the tables of `als`, `two_tower` and `sasrec`; `trained_small`: the plainest peers, the same model trained
      from scratch at these widths.
    - `min_reads`: items with fewer training interactions are not recommended.
    - `hold_out`: fraction of each user's items held out, half to validate and half to test.
    """

    model: str = "ease"
    l2: float = 50.0
    min_reads: int = 10
    hold_out: float = 0.2
    neighbours: int = 32
    tail: float = 0.2
    alpha: float = 10.0
    als_l2: float = 10.0
    width: int = 64
    trained_small: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in NEXT_ITEM_MODELS:
            raise unknown("model", self.model, NEXT_ITEM_MODELS)
        for width in (self.width, *self.trained_small):
            if not 1 <= width <= _WIDEST:
                raise RecpruneError(f"a width is 1 to {_WIDEST:,}, got {width}")
        for name in ("neighbours", "min_reads"):
            if getattr(self, name) < 1:
                raise RecpruneError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("l2", "alpha", "als_l2"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecpruneError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.hold_out < 1:
            raise RecpruneError(f"hold_out is a fraction between 0 and 1, got {self.hold_out}")
        if not 0 <= self.tail <= 1:
            raise RecpruneError(f"tail must be from 0 to 1, got {self.tail}")
        if self.trained_small and self.model in ("ease", "sansa", "item_knn", "titles"):
            raise RecpruneError(f"trained_small is for models with a width; that of {self.model} is the catalogue")


_KINDS: dict[str, type[TaskConfig]] = {"like": LikeConfig, "next_item": NextItemConfig}


@dataclass(frozen=True)
class RunConfig:
    """A run: a log, and the tasks whose models are trained on it, made smaller and proved.

    `data`: `book_crossing`, `movielens_100k`, or the path of a YAML that describes a log of your own (relative to this
    one). `seed`: of all training; `split_seed`: of the hash that splits the rows.

    `sign`: a private key that signs every artifact that a stage writes. `require_signature`: a public key (or certificates);
    a stage then loads only artifacts with its signature. Both are paths relative to the YAML.
    """

    name: str
    data: str
    tasks: Mapping[str, TaskConfig]
    seed: int = 0
    split_seed: int = 0
    question: str = ""
    sign: str = ""
    require_signature: str = ""
    folder: Path = field(default=Path(), compare=False)

    def __post_init__(self) -> None:
        for name in ("seed", "split_seed"):
            if not 0 <= getattr(self, name) < 1 << 30:
                raise RecpruneError(f"{name} must be from 0 to {(1 << 30) - 1}, got {getattr(self, name)}")


def read_config(path: str | Path) -> RunConfig:
    """Read the YAML of a run; everything is checked before work starts, an unknown key named with the nearest known one."""
    path = Path(path)
    values = _mapping(read_yaml(path), str(path))
    tasks = _mapping(values.get("tasks") or {}, f"{path}: tasks")
    if not tasks:
        raise RecpruneError(f"{path} has no tasks")
    values["tasks"] = {_name(name, str(path)): _task(task, f"{path}: task {name}") for name, task in tasks.items()}
    config = _build(RunConfig, {**values, "folder": path.resolve().parent}, str(path))
    _name(config.name, str(path))
    return config


def _name(given: Any, where: str) -> str:
    """A name of a run, a task or a recipe: a folder is called so."""
    name = str(given)
    if not re.fullmatch(r"[^/\\.][^/\\]{0,99}", name) or not name.isprintable():
        raise RecpruneError(f"{where}: {name!r} cannot be the name of a folder: use letters, digits, '-' and '_'")
    return name


def _task(given: Any, where: str) -> TaskConfig:
    values = _mapping(given, where)
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise unknown(f"kind of {where}:", str(kind), _KINDS)
    recipes = _mapping(values.get("recipes") or {}, f"{where}: recipes")
    try:
        values["recipes"] = {_name(name, where): Recipe.from_json(recipe) for name, recipe in recipes.items()}
        if "trained_small" in values:
            values["trained_small"] = _small(values["trained_small"], 2 if kind == "like" else 1)
        if kind == "like" and values.get("private") is not None:
            values["private"] = _build(Private, _mapping(values["private"], f"{where}: private"), f"{where}: private")
        return _build(_KINDS[kind], values, where)
    except RecpruneError as error:
        raise error if where in str(error) else RecpruneError(f"{where}: {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise RecpruneError(f"{where}: {error}") from error


def _small(given: Any, numbers: int) -> tuple[Any, ...]:
    """Widths, or pairs of a width and the least readings."""
    listed = given if isinstance(given, list | tuple) else [None]
    pairs: list[Any] = [entry if numbers == 2 else [entry] for entry in listed]
    if not all(isinstance(p, list | tuple) and len(p) == numbers and all(type(n) is int for n in p) for p in pairs):
        what = "[width, min_readings], such as [[4, 3]]" if numbers == 2 else "widths, such as [16, 8]"
        raise RecpruneError(f"trained_small is a list of {what}, got {given!r}")
    return tuple(tuple(pair) if numbers == 2 else pair[0] for pair in pairs)


def _mapping(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise RecpruneError(f"{where} must be a mapping, got {given!r}")
    return dict(given)


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(f"key in {where}:", str(key), known)
    for name, f in known.items():
        if f.default is MISSING and f.default_factory is MISSING and name not in values:
            raise RecpruneError(f"{where} lacks {name!r}")
        if name in values and not is_a(str(f.type), values[name]):
            raise RecpruneError(f"{where}: {name} must be {f.type}, got {values[name]!r}")
    return cls(**values)
