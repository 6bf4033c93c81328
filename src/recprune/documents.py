"""What people write by hand: YAML, read within limits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from recprune.errors import RecpruneError

__all__ = ["in_words", "is_a", "plain_numbers", "read_yaml"]

_LIMIT = 256 << 10  # bytes
_MOST = 100_000  # values, those that are named twice counted twice
_LARGEST = 1e308
_DEEPEST = 50  # levels
_IN_WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false", "None": "nothing"}


def read_yaml(path: Path) -> Any:
    """What a YAML file says: mappings, lists, texts, numbers, dates.

    Raises RecpruneError that names the file where it cannot be read, is no YAML, has a key twice, or is larger or deeper
    than anybody writes: a few lines of it can stand for more than any memory holds.
    """
    import yaml

    try:
        with path.open("rb") as opened:
            content = opened.read(_LIMIT + 1)
        if len(content) > _LIMIT:
            raise RecpruneError(f"{path} is larger than {_LIMIT} bytes, which no YAML of recprune is")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(content.decode("utf-8-sig"))
        node = loader.get_single_node()
        _unique(node, path, set())
        given = None if node is None else loader.construct_document(node)
    except RecpruneError:
        raise
    except OSError as error:
        raise RecpruneError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, AttributeError) as error:
        said = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
        raise RecpruneError(f"{path} is not valid YAML: {said}") from error
    except RecursionError as error:
        raise RecpruneError(f"{path} is not valid YAML: it is nested too deeply") from error
    _count(given, path, {}, 0)
    return given


def is_a(kind: str, value: Any) -> bool:
    """Whether a value fits what a dataclass says of a field: `int`, `float` (finite), `str` or `bool`.

    Also one of several, such as `int | None`, and a list of them, such as `tuple[int, ...]`. A kind that is none of these
    fits everything.

    >>> is_a("int", True), is_a("float", 1), is_a("float", float("nan")), is_a("tuple[int, ...]", [1, 2.5])
    (False, True, False, False)
    """
    if " | " in kind:
        return any(is_a(one, value) for one in kind.split(" | "))
    if kind.startswith("tuple["):
        return isinstance(value, list | tuple) and all(is_a(kind[6:-6], one) for one in value)
    if kind == "None":
        return value is None
    if kind == "float":
        return type(value) in (int, float) and abs(value) < _LARGEST
    return type(value).__name__ == kind if kind in ("int", "str", "bool") else True


def in_words(kind: str) -> str:
    """What `is_a` asks for.

    >>> in_words("int | None"), in_words("tuple[str, ...]")
    ('a whole number or nothing', 'a list, each a text')
    """
    if kind.startswith("tuple["):
        return f"a list, each {in_words(kind[6:-6])}"
    return " or ".join(_IN_WORDS.get(one, one) for one in kind.split(" | "))


def plain_numbers(given: Any) -> None:
    """Make numbers of numpy in the fields of a frozen dataclass those of Python: `keep=np.float64(0.5)` is meant well."""
    for name, value in list(vars(given).items()):
        if isinstance(value, np.number | np.bool_):
            object.__setattr__(given, name, value.item())


def _unique(node: Any, path: Path, seen: set[int]) -> None:
    """Refuse a mapping that names a key twice: the first would be lost without a word. `seen`: nodes that were looked at."""
    if id(node) in seen or not isinstance(getattr(node, "value", None), list):
        return
    seen.add(id(node))
    pairs = [pair for pair in node.value if isinstance(pair, tuple)]
    keys = Counter((key.tag, key.value) for key, _ in pairs if isinstance(key.value, str) and key.value != "<<")
    for (_, key), count in keys.items():
        if count > 1:
            raise RecpruneError(f"{path} names {key!r} twice in the mapping from line {node.start_mark.line + 1} on")
    for inner in node.value:
        for one in inner if isinstance(inner, tuple) else (inner,):
            _unique(one, path, seen)


def _count(value: Any, path: Path, known: dict[int, int], depth: int) -> int:
    """How many values there are; those that aliases name again count again, at no cost."""
    if not isinstance(value, dict | list | tuple | set):
        return 1
    if depth > _DEEPEST:
        raise RecpruneError(f"{path} is nested deeper than {_DEEPEST} levels")
    if id(value) not in known:
        known[id(value)] = _MOST  # of one that holds itself
        inner = [*value, *value.values()] if isinstance(value, dict) else list(value)
        known[id(value)] = 1 + sum(_count(one, path, known, depth + 1) for one in inner)
    if known[id(value)] > _MOST:
        raise RecpruneError(f"{path} stands for more than {_MOST:,} values")
    return known[id(value)]
