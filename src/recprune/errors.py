"""The one exception that a user of recprune can cause."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["RecpruneError", "unknown"]


class RecpruneError(ValueError):
    """An input that cannot be used. The message names the input and the choices, in one line."""


def unknown(what: str, given: str, choices: Iterable[str]) -> RecpruneError:
    """Build the error for a name that is none of the choices; the nearest choice is suggested.

    >>> str(unknown("step", "drop_row", ["drop_rows", "quantize"]))
    "unknown step 'drop_row'; did you mean 'drop_rows'? choices are: drop_rows, quantize"
    """
    names = sorted(choices)
    near = get_close_matches(given, names, 1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return RecpruneError(f"unknown {what} {given!r};{hint} choices are: {', '.join(names) or '(none)'}")
