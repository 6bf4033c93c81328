"""The one exception that a user of recprune can cause."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["RecpruneError", "one_line", "unknown"]

_LONGEST = 2000  # characters of a message


class RecpruneError(ValueError):
    """An input that cannot be used. The message names the input and the choices, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """A text as one line that any terminal can show: whatever an input is called or holds, and however long it is.

    >>> one_line("no file 'a\\nb\\x1b[31m'")
    "no file 'a b [31m'"
    """
    line = text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 305]} ... {line[-300:]}"


def unknown(what: str, given: str, choices: Iterable[str]) -> RecpruneError:
    """Build the error for a name that is none of the choices; the nearest choice is suggested.

    >>> str(unknown("step", "drop_row", ["drop_rows", "quantize"]))
    "unknown step 'drop_row'; did you mean 'drop_rows'? choices are: drop_rows, quantize"
    """
    names = sorted(choices)
    near = get_close_matches(given, names, 1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return RecpruneError(f"unknown {what} {given!r};{hint} choices are: {', '.join(names) or '(none)'}")
