"""What a step is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self

from recprune.context import Context
from recprune.documents import in_words, is_a, plain_numbers
from recprune.errors import RecpruneError, unknown
from recprune.pruning.protected_rows import as_they_were
from recprune.weights import Encoding, Param, Weights

__all__ = ["MATRICES", "TABLES", "Actable", "Step", "in_order", "read_tables", "row_tables"]


@dataclass(frozen=True)
class Actable:
    """Parameters that a step can act on: their name in errors, what others lack, and the test."""

    which: str
    why: str
    fits: Callable[[Param], bool]


MATRICES = Actable("matrices", "it is no matrix", lambda param: len(param.shape) == 2)
TABLES = Actable("tables", "it is no table", lambda param: len(param.shape) == 2)


def read_tables(context: Context) -> Actable:
    """Tables whose reads were counted."""
    return Actable(
        "such tables",
        "it is no table whose reads were counted",
        lambda param: len(param.shape) == 2 and param.axes[0] in context.popularity,
    )


def row_tables(context: Context) -> Actable:
    """Tables with a named row axis. A layer of a foreign model may have one too: where reads were counted, none of its rows
    was read.
    """

    def fits(param: Param) -> bool:
        foreign = not param.has_unknown and context.calibration is not None
        named = len(param.shape) == 2 and bool(param.axes[0])
        return named and (not foreign or param.axes[0] in context.popularity)

    return Actable("tables", "it is no table", fits)


def in_order(context: Context, tables: Actable) -> Actable:
    """Those of them whose columns stay in their order: an artifact renumbers columns that are ids, of item-item models."""

    def fits(param: Param) -> bool:
        return tables.fits(param) and not (param.axes[1] and param.axes[1] in {param.axes[0], *context.popularity})

    return Actable("such tables", "it is no table whose columns keep their order, as groups of them must", fits)


@dataclass(frozen=True)
class Step:
    """One thing done to weights. Subclasses are frozen dataclasses whose fields are their JSON.

    A step never changes its input. It is registered by its `verb`, the key in a recipe's YAML. One that `trains` changes
    values and no bytes, so that a plan can be made without it.
    """

    verb: ClassVar[str] = ""
    trains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        plain_numbers(self)
        for name in ("target", "axis"):
            if not isinstance(getattr(self, name, ""), str):
                raise RecpruneError(f"{self.verb}: {name} must be a pattern of names, got {getattr(self, name)!r}")
        keep = getattr(self, "keep", 1)
        if type(keep) not in (int, float) or not 0 < keep <= 1:
            raise RecpruneError(f"{self.verb}: keep must be in (0, 1], got {keep!r}")
        for field in fields(self):
            if not is_a(str(field.type), value := getattr(self, field.name)):
                raise RecpruneError(f"{self.verb}: {field.name} must be {in_words(str(field.type))}, got {value!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """The smaller weights. Raises RecpruneError for a target that it cannot act on."""
        raise NotImplementedError

    def each(self, weights: Weights, change: Callable[[Param], Encoding], on: Actable | None = None) -> Weights:
        """The weights with every parameter that `target` matches stored as `change` gives it, padding exactly as it was.

        Raises RecpruneError that names the step and the parameter, and for one that is not among `on` those that are.
        """
        assert hasattr(self, "target")
        for name in weights.match(self.target):
            if on is not None:
                self.check(weights, name, on)
            try:
                value = change(weights[name])
                exact = as_they_were(weights[name], value)
                if exact is not value and exact.nbytes >= weights[name].nbytes:  # a small table, not worth it
                    exact = weights[name].value
                weights = weights.replace(name, exact)
            except RecpruneError as error:
                raise RecpruneError(f"{self.verb} cannot act on {name!r}: {error}") from error
        return weights

    def check(self, weights: Weights, name: str, on: Actable) -> None:
        """Raise RecpruneError for a parameter that is not among `on`: it names those that are."""
        if not on.fits(weights[name]):
            raise weights.cannot(self.verb, name, on.why, on.which, on.fits)

    def touches(self, weights: Weights) -> list[str]:
        """Names of the parameters that the step acts on; by default those that its `target` matches."""
        return weights.match(self.target) if hasattr(self, "target") else list(weights)

    def describe(self) -> str:
        """The step in words, for the report."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """`{verb: {field: value}}`; `from_json` gives an equal step."""
        return {self.verb: {f.name: _plain(getattr(self, f.name)) for f in fields(self)}}

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> Self:
        """Build from the fields of a recipe; an unknown one is named with the nearest known one, a missing one too."""
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                raise unknown(f"field of {cls.verb}", str(name), names)
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in given]
        if missing:
            raise RecpruneError(f"{cls.verb}: {missing[0]} is missing; fields are: {', '.join(names)}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
