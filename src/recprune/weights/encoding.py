"""How an array is stored: the base of all encodings, and the plain one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError, unknown

__all__ = ["Array", "Dense", "Encoding", "encoding_from"]

Array = npt.NDArray[Any]

_ENCODINGS: dict[str, type[Encoding]] = {}
_PART = 1 << 20
_DEEPEST = 16


@dataclass(frozen=True, eq=False)
class Encoding:
    """An array stored some way. Subclasses are frozen dataclasses of arrays, encodings and JSON values.

    What a subclass gives: `shape`, `take(rows)`, `recode(array)`. The file format, the count of bytes and the walk over
    nested encodings follow from its fields.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        _ENCODINGS[cls.kind] = cls

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array."""
        raise NotImplementedError

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Decode the rows (axis 0) at integer `rows` (any shape): only what is read is decoded."""
        raise NotImplementedError

    def recode(self, array: Array) -> Encoding:
        """Store another array (same number of axes) the way this one is stored."""
        raise NotImplementedError

    def pool(self, rows: Array, offsets: Array, values: Array | None = None) -> npt.NDArray[np.float32]:
        """Sum of the rows of each bag: bag i is `rows[offsets[i]:offsets[i + 1]]`; an empty bag gives zeros.

        `values`: what each of the rows is multiplied with.
        """
        bags = len(offsets) - 1
        result = np.zeros((bags, *self.shape[1:]), dtype=np.float32)
        # Wide rows (item-item models) are decoded some bags at a time, so that a batch fits into memory.
        step = max(1, 2**25 // max(1, math.prod(self.shape[1:]) * max(1, len(rows) // max(1, bags))))
        for start in range(0, bags, step):
            stop = min(start + step, bags)
            low, high = int(offsets[start]), int(offsets[stop])
            if low == high:
                continue
            filled = np.flatnonzero(np.diff(offsets[start : stop + 1]))
            read = self.take(rows[low:high])
            if values is not None:
                read = read * values[low:high].reshape(-1, *[1] * (read.ndim - 1))
            result[start + filled] = np.add.reduceat(read, offsets[start + filled] - low, axis=0)
        return result

    def decode(self) -> npt.NDArray[np.float32]:
        """The whole array as float32."""
        result = np.empty(self.shape, dtype=np.float32)
        # Some rows at a time: a look-up needs many times the memory of what it gives.
        step = max(1, _PART // max(1, math.prod(self.shape[1:])))
        for start in range(0, self.shape[0], step):
            result[start : start + step] = self.take(np.arange(start, min(start + step, self.shape[0])))
        return result

    def mask(self) -> npt.NDArray[np.bool_]:
        """Which rows (axis 0) are stored for themselves; all, where none was dropped."""
        return np.ones(self.shape[0], dtype=bool)

    def cut(self, axis: int, keep: Array) -> Encoding:
        """Keep the positions `keep` of `axis`; encodings that can do it without decoding override this."""
        return self.recode(np.take(self.decode(), keep, axis=axis))

    def map_dense(self, function: Callable[[Encoding], Encoding]) -> Encoding:
        """Replace the innermost encodings that hold the values (tables, factors) by `function` of them."""
        return function(self)

    @property
    def nbytes(self) -> int:
        """Bytes of every array that is stored: codes, scales, index of the kept rows."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory: what is stored, and directories that make look-ups fast."""
        parts = [value for _, value in _parts(self) if isinstance(value, Encoding)]
        return self.nbytes + sum(part.resident_bytes - part.nbytes for part in parts)

    def arrays(self, prefix: str = "") -> dict[str, Array]:
        """Every stored array by its dotted name."""
        found: dict[str, Array] = {}
        for name, value in _parts(self):
            if isinstance(value, Encoding):
                found |= value.arrays(f"{prefix}{name}.")
            elif isinstance(value, np.ndarray):
                found[prefix + name] = value
        return found

    def spec(self) -> dict[str, Any]:
        """What is left beside the arrays, as JSON: `encoding_from(spec, arrays)` gives the encoding back."""
        spec: dict[str, Any] = {"encoding": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Encoding):
                spec[field.name] = value.spec()
            elif isinstance(value, tuple) and value and isinstance(value[0], Encoding):
                spec[field.name] = [part.spec() for part in value]
            elif not isinstance(value, np.ndarray):
                spec[field.name] = list(value) if isinstance(value, tuple) else value
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], arrays: Mapping[str, Array], prefix: str) -> Self:
        """Build from a spec and the arrays under `prefix`; the constructor validates."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            given = spec.get(field.name)
            if isinstance(given, Mapping):
                values[field.name] = encoding_from(given, arrays, f"{prefix}{field.name}.")
            elif isinstance(given, list) and given and isinstance(given[0], Mapping):
                values[field.name] = tuple(
                    encoding_from(part, arrays, f"{prefix}{field.name}.{i}.") for i, part in enumerate(given)
                )
            elif given is not None:
                values[field.name] = tuple(given) if isinstance(given, list) else given
            elif prefix + field.name in arrays:
                values[field.name] = arrays[prefix + field.name]
            else:
                raise RecpruneError(f"encoding {cls.kind!r} at {prefix!r} lacks {field.name!r}")
        return cls(**values)


def _parts(encoding: Encoding) -> Iterator[tuple[str, Any]]:
    for field in fields(encoding):
        value = getattr(encoding, field.name)
        if isinstance(value, tuple):
            for i, part in enumerate(value):
                yield f"{field.name}.{i}", part
        else:
            yield field.name, value


def encoding_from(spec: Mapping[str, Any], arrays: Mapping[str, Array], prefix: str = "") -> Encoding:
    """The encoding that `spec()` and `arrays()` describe. Raises RecpruneError where they do not fit together."""
    if not isinstance(spec, Mapping):
        raise RecpruneError(f"an encoding is described by a mapping, got {spec!r}")
    kind = spec.get("encoding")
    if not isinstance(kind, str) or kind not in _ENCODINGS or not kind:
        raise unknown("encoding", str(kind), (name for name in _ENCODINGS if name))
    if prefix.count(".") > _DEEPEST:
        raise RecpruneError(f"encodings are nested more than {_DEEPEST} deep")
    try:
        return _ENCODINGS[kind].from_spec(spec, arrays, prefix)
    except RecpruneError:
        raise
    except (TypeError, IndexError, AttributeError, ValueError, OverflowError, MemoryError) as error:
        raise RecpruneError(f"encoding {kind!r} at {prefix!r} is malformed: {error}") from error


@dataclass(frozen=True, eq=False)
class Dense(Encoding):
    """The array itself, float32 or float16.

    >>> Dense(np.ones((3, 2), np.float32)).nbytes
    24
    """

    kind: ClassVar[str] = "dense"
    values: Array

    def __post_init__(self) -> None:
        if self.values.dtype not in (np.float32, np.float16):
            raise RecpruneError(f"dense values must be float32 or float16, got {self.values.dtype}")
        if not np.isfinite(self.values).all():
            raise RecpruneError("dense values hold NaN or infinity")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.values.shape

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """The rows, as float32."""
        return self.values[rows].astype(np.float32, copy=False)

    def decode(self) -> npt.NDArray[np.float32]:
        """The array, as float32."""
        return self.values.astype(np.float32, copy=False)

    def recode(self, array: Array) -> Dense:
        """Another array with this one's dtype."""
        return Dense(np.ascontiguousarray(array, dtype=self.values.dtype))
