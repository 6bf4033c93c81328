"""Named arrays with named axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.weights.encoding import Dense, Encoding

__all__ = ["Param", "Weights", "match"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Param:
    """An array, the name of each of its axes, and the rows that have a meaning of their own.

    An axis is an atomic name (`"book"`, `"book.factor"`), names joined by `+` (concatenated) or by `*` (flattened, the
    last one fastest), or `""` for an axis of which nothing is known: it takes value steps, never structural ones.
    `protected` rows of axis 0 (padding, out-of-vocabulary) are never dropped or shared. `trained` is False for arrays
    that are counted from the log rather than learned (statistics by id): retraining leaves them alone.
    `has_unknown`: the last protected row is the one that unknown ids read, so dropped ids may read it too; False where
    every protected row means something else (padding, mask), which a shared row would overwrite. `unknown_is_zero`: an
    unknown id counts nothing, so that row is zeros and stays so whatever is dropped.
    """

    axes: tuple[str, ...]
    value: Encoding
    protected: tuple[int, ...] = ()
    trained: bool = True
    has_unknown: bool = True
    unknown_is_zero: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.axes, tuple) or not all(isinstance(axis, str) for axis in self.axes):
            raise RecpruneError(f"axes are a tuple of names, got {self.axes!r}")
        if len(self.axes) != len(self.value.shape):
            raise RecpruneError(
                f"axes {self.axes} do not name the {len(self.value.shape)} axes of shape {self.value.shape}"
            )
        if any(type(row) is not int or not 0 <= row < self.value.shape[0] for row in self.protected):
            raise RecpruneError(f"protected rows {self.protected} are not within {self.value.shape[0]} rows")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array."""
        return self.value.shape

    @property
    def nbytes(self) -> int:
        """Stored bytes."""
        return self.value.nbytes


class Weights(Mapping[str, Param]):
    """Every parameter of a model by name; immutable. Axes of one name are one axis: they are cut together.

    >>> from recprune.weights import Dense
    >>> table = Param(("book", "factor"), Dense(np.ones((3, 2), np.float32)))
    >>> layer = Param(("hidden", "factor+age"), Dense(np.ones((4, 3), np.float32)))
    >>> weights = Weights({"table": table, "layer": layer}, {"age": 1})
    >>> {name: param.shape for name, param in weights.cut("factor", np.array([0])).items()}
    {'table': (3, 1), 'layer': (4, 2)}
    """

    def __init__(self, params: Mapping[str, Param], sizes: Mapping[str, int] | None = None) -> None:
        self._params = dict(params)
        self.sizes: dict[str, int] = dict(sizes or {})
        if any(type(size) is not int or not 0 <= size < 2**31 for size in self.sizes.values()):
            raise RecpruneError(f"sizes of axes must be counts, got {self.sizes}")
        for name, param in self._params.items():
            for axis, size in zip(param.axes, param.shape, strict=True):
                if axis and "+" not in axis and "*" not in axis and self.sizes.setdefault(axis, size) != size:
                    raise RecpruneError(f"axis {axis!r} has size {self.sizes[axis]}, but {size} in parameter {name!r}")
        for name, param in self._params.items():
            for axis, size in zip(param.axes, param.shape, strict=True):
                if axis and self._length(axis, name) != size:
                    raise RecpruneError(
                        f"axis {axis!r} of {name!r} has size {size}, its parts {self._length(axis, name)}"
                    )

    def _length(self, axis: str, name: str) -> int:
        try:
            return sum(int(np.prod([self.sizes[atom] for atom in part.split("*")])) for part in axis.split("+"))
        except KeyError as error:
            raise RecpruneError(f"axis {error} in {axis!r} of {name!r} has no size; give it in `sizes`") from None

    def __getitem__(self, name: str) -> Param:
        return self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    @property
    def nbytes(self) -> int:
        """Stored bytes of all parameters."""
        return sum(param.nbytes for param in self.values())

    def replace(self, name: str, value: Encoding) -> Weights:
        """The same weights with another encoding of `name`."""
        return Weights(self._params | {name: replace(self._params[name], value=value)}, self.sizes)

    def decoded(self) -> Weights:
        """The same values, every parameter as plain floats."""
        params = {name: replace(param, value=Dense(param.value.decode())) for name, param in self.items()}
        return Weights(params, self.sizes)

    def match(self, target: str) -> list[str]:
        """Names that match a pattern such as `"*.factor"`; none is an error that lists what there is."""
        return match(target, list(self))

    def cannot(self, verb: str, name: str, why: str, which: str, acts: Callable[[Param], bool]) -> RecpruneError:
        """The error of a step asked of a parameter that it cannot act on: it lists those that it can."""
        able = ", ".join(n for n, param in self.items() if acts(param)) or "(none)"
        return RecpruneError(f"{verb} cannot act on {name!r}: {why}; {which} are: {able}")

    def tables(self, axis: str) -> list[str]:
        """Parameters with one row for each position of `axis`."""
        return [name for name, param in self.items() if param.axes[:1] == (axis,)]

    def atoms(self) -> dict[str, list[str]]:
        """Every atomic axis, and the parameters it appears in."""
        found: dict[str, list[str]] = {}
        for name, param in self.items():
            for axis in param.axes:
                for atom in axis.replace("*", "+").split("+"):
                    if atom and name not in found.setdefault(atom, []):
                        found[atom].append(name)
        return found

    def cut(self, axis: str, keep: Array) -> Weights:
        """Keep positions `keep`, in this order, of an atomic axis in every parameter that has it."""
        if axis not in self.atoms():
            raise RecpruneError(f"axis {axis!r} is in no parameter; axes are: {', '.join(sorted(self.atoms()))}")
        keep = np.asarray(keep, dtype=np.int64)
        if len(keep) and (keep.min() < 0 or keep.max() >= self.sizes[axis]):
            raise RecpruneError(f"positions to keep of axis {axis!r} must be within 0..{self.sizes[axis] - 1}")
        params: dict[str, Param] = {}
        for name, param in self.items():
            value, protected = param.value, param.protected
            for i, expression in enumerate(param.axes):
                if axis not in expression.replace("*", "+").split("+"):
                    continue
                value = value.cut(i, self.positions(expression, axis, keep))
                if i == 0:
                    protected = tuple(int(p) for p in np.flatnonzero(np.isin(keep, protected)))
            params[name] = replace(param, value=value, protected=protected)
        return Weights(params, self.sizes | {axis: len(keep)})

    def positions(self, expression: str, axis: str, keep: Array, *, only: bool = False) -> Array:
        """Positions of a composite axis that stay when `axis` keeps `keep`; `only` those that belong to it."""
        start, stay = 0, []
        for part in expression.split("+"):
            atoms = part.split("*")
            grid = (
                np.arange(int(np.prod([self.sizes[a] for a in atoms]))).reshape([self.sizes[a] for a in atoms]) + start
            )
            start += grid.size
            for i, atom in enumerate(atoms):
                if atom == axis:
                    grid = np.take(grid, keep, axis=i)
            if axis in atoms or not only:
                stay.append(grid.reshape(-1))
        return np.concatenate(stay)


def match(target: str, names: list[str], what: str = "parameter") -> list[str]:
    """Names that match a shell pattern, or several joined by commas; `what` says in the error what they name."""
    if not isinstance(target, str):
        raise RecpruneError(f"a target is a pattern such as '*.factor', got {target!r}")
    patterns = [p.strip() for p in target.split(",")]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            plural = "axes" if what == "axis" else f"{what}s"
            raise RecpruneError(f"target {pattern!r} matches no {what}; {plural} are: {', '.join(names) or '(none)'}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
