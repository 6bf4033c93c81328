"""The tests that the splits of trees make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.bits import packed_bytes
from recprune.errors import RecpruneError
from recprune.weights.encoding import Encoding

__all__ = ["Cuts"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Cuts(Encoding):
    """The tests that splits make, each once: those of input 0 first, then of input 1, and so on.

    A row passes (goes left) where its input is at most `thresholds`; where the input is one of `categorical`, when its
    whole part is in row `thresholds` of `sets`, a bitmap. A missing input (NaN) passes where the bit of `missing` is set.
    `counts`: tests of each input. As an array: the thresholds as float32, those beyond its range as its ends.
    """

    kind: ClassVar[str] = "cuts"
    thresholds: Array  # float16, float32 or float64: the shortest that holds all of them
    missing: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.uint32]
    sets: npt.NDArray[np.uint8]
    categorical: tuple[int, ...]

    @classmethod
    def encode(
        cls, inputs: Array, thresholds: Array, missing: Array, count: int, sets: Array, categorical: tuple[int, ...]
    ) -> Cuts:
        """From one entry a test, ordered by input; `sets`: booleans (sets, categories)."""
        values = np.asarray(thresholds, np.float64)
        with np.errstate(over="ignore"):
            fits = [
                t for t in (np.float16, np.float32, np.float64) if (values.astype(t).astype(np.float64) == values).all()
            ]
        counts = np.bincount(inputs, minlength=count).astype(np.uint32)
        members = np.packbits(sets, axis=1) if sets.size else np.zeros((len(sets), 0), np.uint8)
        return cls(values.astype(fits[0]), np.packbits(missing), counts, members, tuple(categorical))

    def __post_init__(self) -> None:
        tests = len(self.thresholds)
        if self.thresholds.dtype not in (np.float16, np.float32, np.float64) or self.thresholds.ndim != 1:
            raise RecpruneError(f"thresholds must be a list of floats, got {self.thresholds.dtype}")
        if not np.isfinite(self.thresholds).all():
            raise RecpruneError("thresholds hold NaN or infinity")
        if self.missing.dtype != np.uint8 or self.missing.shape != (packed_bytes(tests, 1),):
            raise RecpruneError(f"{tests} tests need as many bits for missing inputs, got {self.missing.shape} bytes")
        if self.counts.dtype != np.uint32 or self.counts.ndim != 1 or int(self.counts.sum(dtype=np.uint64)) != tests:
            raise RecpruneError(f"the counts of tests by input do not add up to {tests}")
        if self.sets.dtype != np.uint8 or self.sets.ndim != 2:
            raise RecpruneError("sets of categories must be the rows of a bitmap")
        listed = self.categorical
        if len(set(listed)) < len(listed) or any(type(i) is not int or not 0 <= i < len(self.counts) for i in listed):
            raise RecpruneError(f"categorical inputs {listed} are not among the {len(self.counts)} inputs")
        named = self.thresholds[self.by_category]
        if len(named) and ((named < 0).any() or (named >= len(self.sets)).any() or (named % 1).any()):
            raise RecpruneError(f"a test names a set of categories beyond the {len(self.sets)} there are")

    @property
    def shape(self) -> tuple[int, ...]:
        """One threshold a test."""
        return self.thresholds.shape

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Thresholds as float32."""
        limit = float(np.finfo(np.float32).max)
        return np.clip(self.thresholds[rows].astype(np.float64), -limit, limit).astype(np.float32)

    def recode(self, array: Array) -> Encoding:
        """Tests have one form only."""
        raise RecpruneError("the tests of trees cannot be stored another way")

    def map_dense(self, function: Any) -> Encoding:
        """No values to round: a threshold moved by rounding sends rows another way."""
        return self

    def of_inputs(self, keep: Array) -> Cuts:
        """The same tests where only the inputs `keep` are left; the others must be read by none."""
        place = {int(old): new for new, old in enumerate(keep)}
        if int(self.counts[keep].sum(dtype=np.uint64)) != len(self.thresholds):
            raise RecpruneError("an input of trees that a split reads cannot be dropped")
        return replace(
            self, counts=self.counts[keep], categorical=tuple(place[i] for i in self.categorical if i in place)
        )

    @cached_property
    def inputs(self) -> npt.NDArray[np.int32]:
        """The input that each test reads."""
        return np.repeat(np.arange(len(self.counts), dtype=np.int32), self.counts)

    @cached_property
    def passes_missing(self) -> npt.NDArray[np.bool_]:
        """Whether a missing input passes, for each test."""
        return np.unpackbits(self.missing, count=len(self.thresholds)).astype(bool)

    @cached_property
    def by_category(self) -> npt.NDArray[np.bool_]:
        """Whether a test asks for a set of categories."""
        return np.isin(self.inputs, np.array(self.categorical, np.int32))

    @cached_property
    def members(self) -> npt.NDArray[np.bool_]:
        """Sets x categories."""
        return np.unpackbits(self.sets, axis=1).astype(bool)

    def passes(self, tests: Array, values: Array) -> npt.NDArray[np.bool_]:
        """Whether each of `values` passes the test of the number beside it."""
        found = values <= self.thresholds[tests]
        if self.categorical:
            asked = np.flatnonzero(self.by_category[tests])
            found[asked] = self._belongs(tests[asked], values[asked])
        absent = np.isnan(values)
        if absent.any():
            found[absent] = self.passes_missing[tests[absent]]
        return np.asarray(found, dtype=bool)

    def _belongs(self, tests: Array, values: Array) -> Array:
        width = self.members.shape[1]
        inside = (values > -1) & (values < width)
        found = np.zeros(len(tests), dtype=bool)
        chosen = self.thresholds[tests[inside]].astype(np.int64)
        found[inside] = self.members[chosen, values[inside].astype(np.int64)]
        return found
