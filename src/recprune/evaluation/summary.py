"""`runs/<name>/summary.json`: what the table, the report and the gate read. Every field: docs/summary.md."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from recprune.errors import RecpruneError
from recprune.files import intact, sealed, write_bytes

__all__ = ["FORMAT", "read_summary", "schema", "told_apart", "validate", "write_summary"]

FORMAT = 1
_SURE = 0.01
_LARGEST = 2**64  # more than any seed or count of bytes; what is drawn and divided stays finite


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a summary."""
    text = files("recprune.evaluation").joinpath("summary.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def validate(summary: Mapping[str, Any], whose: str = "summary.json") -> None:
    """Raise one line that names the place, for example `summary.json: tasks.like.size.ratio: 'disk' is missing`.

    Beside the schema, numbers must be finite (JSON has no NaN) and at most 2**64, and `low <= high` in every interval.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    version = summary.get("format") if isinstance(summary, Mapping) else None
    if isinstance(version, int) and version > FORMAT:
        raise RecpruneError(f"{whose}: format {version} is newer than {FORMAT}, which this recprune reads; update it")
    for where, number in _numbers(summary, ()):
        if isinstance(number, float) and not math.isfinite(number):
            raise RecpruneError(f"{whose}: {_path(where)}: {number} is not a number that JSON can hold")
        if abs(number) > _LARGEST:
            raise RecpruneError(f"{whose}: {_path(where)}: the number is beyond 2**64, which nothing here reaches")
    error = best_match(Draft202012Validator(schema()).iter_errors(summary))
    if error is not None:
        raise RecpruneError(f"{whose}: {_path(error.absolute_path)}: {_words(error)}")
    for where, interval in _intervals(summary, ()):
        if interval["low"] > interval["high"]:
            raise RecpruneError(f"{whose}: {_path(where)}: low {interval['low']} is above high {interval['high']}")


def told_apart(user: Mapping[str, Any], when: str = "after") -> bool:
    """Whether a user of a task's `forgetting` is told apart by a model, `before` or `after`.

    That is where fewer than 1 % of the users never seen lie as far out.
    """
    return any(user[side][when]["further"] < _SURE for side in ("original", "compressed") if side in user)


def write_summary(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Validate, then write atomically and with a SHA-256: a reader sees the old file or the new one, never half of it."""
    target = Path(path)
    validate(summary, target.name)
    text = json.dumps(sealed(summary), indent=1, ensure_ascii=False)
    write_bytes(target, f"{text}\n".encode())


def read_summary(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and validate; a missing, broken, damaged or unfitting file is one RecpruneError line."""
    target = Path(path)
    try:
        found = json.loads(target.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecpruneError(f"no such summary: {target}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecpruneError(f"{target}: not a summary: {error}") from None
    validate(found, str(target))
    summary: dict[str, Any] = found
    if "sha256" in summary and not intact(summary):
        raise RecpruneError(f"{target} is damaged: its SHA-256 differs; `recprune run` writes it again")
    return {key: value for key, value in summary.items() if key != "sha256"}


def _path(parts: Any) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.lstrip(".") or "top level"


def _words(error: Any) -> str:
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{missing[0]!r} is missing"
    if error.validator == "additionalProperties" and error.validator_value is False:
        known = list(error.schema.get("properties", {}))
        extra = next(name for name in error.instance if name not in known)
        near = get_close_matches(extra, known, 1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        return f"unknown field {extra!r};{hint} fields are: {', '.join(known)}"
    line = " ".join(str(error.message).split())
    return line if len(line) <= 200 else f"{line[:120]} ... {line[-70:]}"


def _numbers(value: Any, where: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], float]]:
    if isinstance(value, (int, float)):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, (*where, str(key)))
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from _numbers(inner, (*where, place))


def _intervals(value: Any, where: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, float]]]:
    if isinstance(value, Mapping):
        if "low" in value and "high" in value:
            yield where, value
        else:
            for key, inner in value.items():
                yield from _intervals(inner, (*where, str(key)))
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from _intervals(inner, (*where, place))
