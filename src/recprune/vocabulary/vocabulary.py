"""What a vocabulary is, and how a stored one is read."""

from __future__ import annotations

import lzma
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError, unknown
from recprune.vocabulary.exact import ExactVocabulary
from recprune.vocabulary.fingerprint import FingerprintVocabulary
from recprune.vocabulary.integers import IntegerVocabulary

__all__ = ["Lookup", "Vocabulary", "vocabulary_from"]

Array = npt.NDArray[Any]
_STORED: dict[str, type[ExactVocabulary] | type[FingerprintVocabulary] | type[IntegerVocabulary]] = {
    "exact": ExactVocabulary,
    "fingerprint": FingerprintVocabulary,
    "integer": IntegerVocabulary,
}


class Lookup(Protocol):
    """What the runtime needs of a vocabulary."""

    def __len__(self) -> int: ...

    def lookup(self, values: Array) -> npt.NDArray[np.int64]:
        """The row of each id; row `len(self)` for an unknown one."""


class Vocabulary(Lookup, Protocol):
    """What the artifact needs beside."""

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory."""

    def arrays(self) -> dict[str, Array]:
        """What is stored."""

    def spec(self) -> dict[str, Any]:
        """What is stored beside the arrays, as JSON."""


def vocabulary_from(
    spec: dict[str, Any], arrays: dict[str, Array]
) -> ExactVocabulary | FingerprintVocabulary | IntegerVocabulary:
    """The vocabulary that `spec()` and `arrays()` describe. Raises RecpruneError where they do not fit together."""
    try:
        kind, counts = spec["vocabulary"], spec["counts"]
        if kind not in _STORED:
            raise unknown("vocabulary", str(kind), _STORED)
        if not isinstance(counts, list) or any(type(count) is not int or not 0 <= count < 2**32 for count in counts):
            raise RecpruneError(f"a vocabulary's counts must be whole numbers below 2**32, got {counts!r}")
        if any(array.dtype != np.uint8 or array.ndim != 1 for array in arrays.values()):
            raise RecpruneError("a vocabulary's arrays must be bytes")
        found = _STORED[kind].from_spec(spec, arrays)
        if extra := set(arrays) - set(found.arrays()):
            raise RecpruneError(f"a vocabulary has an array that it does not read: {min(extra)!r}")
        return found
    except RecpruneError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError, lzma.LZMAError) as error:
        raise RecpruneError(f"a vocabulary is malformed: {error!r}") from error
