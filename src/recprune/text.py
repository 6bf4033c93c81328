"""How a text becomes words or n-grams: one definition for training and for scoring."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from recprune.errors import RecpruneError, unknown

__all__ = ["Analyzer", "escape", "words"]

_WORD = re.compile(r"\w+")
_SPACES = re.compile(r"\s\s+")
_UNITS = ("word", "char", "char_wb")
_ACCENTS = (None, "ascii", "unicode")
_LONGEST = 100  # of an n-gram, in words or characters
# One class of characters, repeated: such a pattern takes time in proportion to the text, whoever wrote it. A boundary
# behind it needs one before, or every start within a run of characters would walk to its end.
_SAFE = re.compile(
    r"(\(\?u\))?(?P<edge>\\b)?(?P<one>\\[wdS]|\[\^?(?:[\w ',’-]|\\[wdsWD])+\])"
    r"((?P=one){0,9}\+|\{[1-9],[0-9]{0,2}\})(?(edge)(\\b)?)"
)


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits, in their order.

    >>> words("The Hitch-Hiker's Guide, 2nd ed.")
    ['the', 'hitch', 'hiker', 's', 'guide', '2nd', 'ed']
    """
    return _WORD.findall(text.lower())


def escape(term: str) -> str:
    r"""A term as an id: ids hold no line break and do not end in a zero character.

    >>> escape("a\nb"), escape("a\\b")
    ('a\\nb', 'a\\\\b')
    """
    return term.replace("\\", "\\\\").replace("\n", "\\n").replace("\0", "\\0")


@dataclass(frozen=True)
class Analyzer:
    r"""What scikit-learn's vectorizers do to a text, step by step and in their order.

    - `lowercase`: `str.lower`. `accents`: None, `ascii` or `unicode`, as `strip_accents`.
    - `unit`: `word`, `char`, or `char_wb` (characters within words, a blank at each end).
    - `ngrams`: shortest and longest. `pattern`: what a word is, or None where texts come as lists of words already.
      A pattern is one class of characters, repeated (`\b\w\w+\b`, `\S+`, `[a-z]{2,}`): others could take forever.
    - `stop_words`: words that are left out before n-grams are formed. `distinct`: each n-gram once.

    >>> Analyzer(unit="char", ngrams=(1, 2))("书架")
    ['书', '架', '书架']
    >>> Analyzer(stop_words=("the",), ngrams=(1, 2))("The night, the sea")
    ['night', 'sea', 'night sea']
    """

    lowercase: bool = True
    accents: str | None = None
    unit: str = "word"
    ngrams: tuple[int, int] = (1, 1)
    pattern: str | None = r"(?u)\b\w\w+\b"
    stop_words: tuple[str, ...] = ()
    distinct: bool = False

    def __post_init__(self) -> None:
        for name in ("ngrams", "stop_words"):
            if isinstance(given := getattr(self, name), list):
                object.__setattr__(self, name, tuple(given))
        if type(self.lowercase) is not bool or type(self.distinct) is not bool:
            raise RecpruneError("lowercase and distinct of an analyzer are true or false")
        if self.accents not in _ACCENTS:
            raise unknown("way to strip accents", str(self.accents), map(str, _ACCENTS))
        if self.unit not in _UNITS:
            raise unknown("unit of a text", str(self.unit), _UNITS)
        if (
            not isinstance(self.ngrams, tuple)
            or [type(n) for n in self.ngrams] != [int, int]
            or not 1 <= self.ngrams[0] <= self.ngrams[1] <= _LONGEST
        ):
            raise RecpruneError(f"ngrams are the shortest and the longest, 1..{_LONGEST}, got {self.ngrams!r}")
        if not isinstance(self.stop_words, tuple) or not all(isinstance(word, str) for word in self.stop_words):
            raise RecpruneError("stop_words are a list of words")
        if self.pattern is None and self.unit != "word":
            raise RecpruneError(f"lists of words have no {self.unit} n-grams")
        if self.pattern is not None and (not isinstance(self.pattern, str) or not _SAFE.fullmatch(self.pattern)):
            raise RecpruneError(f"{self.pattern!r} is not one class of characters, repeated, such as '\\b\\w\\w+\\b'")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise RecpruneError(f"{self.pattern!r} is no pattern: {error}") from error

    @classmethod
    def from_json(cls, given: Any) -> Analyzer:
        """From its JSON. Raises RecpruneError for a field that there is not, and values that do not fit."""
        known = {field.name for field in fields(cls)}
        if not isinstance(given, Mapping) or set(given) != known:
            raise RecpruneError(f"an analyzer has exactly the fields {', '.join(sorted(known))}, got {given!r}")
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def __call__(self, text: str | Iterable[str]) -> list[str]:
        """The n-grams of a text, or of a list of words where there is no pattern; repeated as often as they are there."""
        if self.pattern is None:
            found = self._of_words([str(word) for word in text])
        else:
            assert isinstance(text, str)
            text = self._stripped(text.lower() if self.lowercase else text)
            if self.unit == "word":
                found = self._of_words(self._tokens.findall(text))
            else:
                text = _SPACES.sub(" ", text)
                found = self._of_chars(text) if self.unit == "char" else self._within_words(text)
        return list(dict.fromkeys(found)) if self.distinct else found

    @cached_property
    def _tokens(self) -> re.Pattern[str]:
        return re.compile(self.pattern or "")

    @cached_property
    def _stop(self) -> frozenset[str]:
        return frozenset(self.stop_words)

    def _stripped(self, text: str) -> str:
        if self.accents is None or text.isascii():
            return text
        parts = unicodedata.normalize("NFKD", text)
        if self.accents == "ascii":
            return parts.encode("ascii", "ignore").decode("ascii")
        return "".join(c for c in parts if not unicodedata.combining(c))

    def _of_words(self, found: list[str]) -> list[str]:
        kept = [word for word in found if word not in self._stop] if self._stop else found
        low, high = self.ngrams
        if high == 1:
            return kept
        return [" ".join(kept[i : i + n]) for n in range(low, high + 1) for i in range(len(kept) - n + 1)]

    def _of_chars(self, text: str) -> list[str]:
        low, high = self.ngrams
        return [text[i : i + n] for n in range(low, high + 1) for i in range(len(text) - n + 1)]

    def _within_words(self, text: str) -> list[str]:
        low, high = self.ngrams
        found = []
        for word in text.split():
            padded = f" {word} "
            for n in range(low, high + 1):
                found += [padded[i : i + n] for i in range(max(1, len(padded) - n + 1))]
                if len(padded) <= n:  # a short word counts once, whatever the length asked for
                    break
        return found
