"""What is done to a model: steps in their order, and how ids are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recprune.errors import RecpruneError, unknown
from recprune.pruning.methods import METHODS
from recprune.pruning.step import Step

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """Frozen steps, applied in their order. `Recipe.from_json(r.to_json()) == r` for every recipe.

    `fingerprint`: store this many bits of a hash of each id instead of the id (see FingerprintVocabulary): an unknown id
    is then taken for a known one with probability 2**-fingerprint. A mapping gives the bits by patterns of axes, the first
    that matches counts: `{"user x *": 6, "*": 8}`. None, or no match, stores the ids themselves. So
    are ids that are whole numbers, where that takes no more than their hashes.

    >>> from recprune.pruning.methods import Quantize
    >>> Recipe((Quantize("*", bits=8),)).to_json()["steps"][0]["quantize"]["bits"]
    8
    """

    steps: tuple[Step, ...] = ()
    fingerprint: int | Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for step in self.steps:
            if not isinstance(step, Step):
                raise RecpruneError(f"a recipe consists of steps ({', '.join(METHODS)}), got {step!r}")
        given = self.fingerprint
        listed = list(given.values()) if isinstance(given, Mapping) else [] if given is None else [given]
        if isinstance(given, Mapping) and not all(isinstance(pattern, str) for pattern in given):
            raise RecpruneError(f"fingerprint gives bits by patterns of axes, got {given!r}")
        if not all(type(bits) is int and 1 <= bits <= 16 for bits in listed):
            raise RecpruneError(f"fingerprint must be 1..16 bits, by axis or for all, or none; got {given!r}")

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "steps": [step.to_json() for step in self.steps],
            "fingerprint": dict(self.fingerprint) if isinstance(self.fingerprint, Mapping) else self.fingerprint,
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Recipe:
        """From JSON, or from what YAML gives; an unknown step or field is named with the nearest known one."""
        if not isinstance(given, Mapping):
            raise RecpruneError(f"a recipe is a mapping with `steps`, got {given!r}")
        for key in given:
            if key not in ("steps", "fingerprint"):
                raise unknown("key in a recipe", str(key), ("steps", "fingerprint"))
        steps = []
        listed = given.get("steps") or []
        if not isinstance(listed, list):
            raise RecpruneError(f"steps must be a list, got {listed!r}")
        for entry in listed:
            if not isinstance(entry, Mapping) or len(entry) != 1:
                raise RecpruneError(
                    f"a step is one verb with its fields, got {entry!r}; verbs are: {', '.join(METHODS)}"
                )
            ((verb, fields),) = entry.items()
            if verb not in METHODS:
                raise unknown("step", str(verb), METHODS)
            if not isinstance(fields or {}, Mapping):
                raise RecpruneError(f"the fields of {verb} are a mapping, got {fields!r}")
            try:
                steps.append(METHODS[verb].from_fields(fields or {}))
            except RecpruneError:
                raise
            except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
                raise RecpruneError(f"{verb}: {error}") from error
        return cls(tuple(steps), given.get("fingerprint"))

    def describe(self) -> list[str]:
        """A line in words for each step."""
        lines = [step.describe() for step in self.steps]
        if self.fingerprint:
            bits = self.fingerprint
            how = ", ".join(f"{n} for {axis}" for axis, n in bits.items()) if isinstance(bits, Mapping) else str(bits)
            lines.append(f"store bits of a hash of each id in place of the id: {how}")
        return lines

    def __str__(self) -> str:
        return json.dumps(self.to_json())
