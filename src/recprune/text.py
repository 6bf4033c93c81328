"""How a text becomes words: one definition for training and for scoring."""

import re

__all__ = ["words"]

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits, in their order.

    >>> words("The Hitch-Hiker's Guide, 2nd ed.")
    ['the', 'hitch', 'hiker', 's', 'guide', '2nd', 'ed']
    """
    return _WORD.findall(text.lower())
