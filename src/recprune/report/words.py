"""Numbers and findings in words, the same in the page and in the terminal."""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "MINUS",
    "at_quality",
    "count",
    "headline",
    "interval",
    "is_worse",
    "metric_name",
    "micros",
    "number",
    "plural",
    "signed",
    "size",
    "times",
    "worse_slices",
]

MINUS = "\N{MINUS SIGN}"
_NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "gauc_by_user": "GAUC by user",
    "logloss": "LogLoss",
    "calibration_error": "calibration error",
    "recall": "Recall",
    "precision": "Precision",
    "hit": "hit rate",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "tail_recall": "tail recall",
    "coverage": "coverage",
}


def metric_name(name: str) -> str:
    """A metric as people write it.

    >>> metric_name("ndcg@10"), metric_name("gauc")
    ('NDCG@10', 'GAUC')
    """
    base, at, k = name.partition("@")
    return _NAMES.get(base, base) + at + k


def size(n: float) -> str:
    """Bytes, in powers of 1000.

    >>> size(812), size(43_040), size(41_200_000)
    ('812 B', '43.0 kB', '41.2 MB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= scale * 0.99995:
            return f"{n / scale:.1f} {unit}" if n < 99.95 * scale else f"{n / scale:.0f} {unit}"
    return f"{n:.0f} B"


def count(n: int) -> str:
    """A whole number with separators.

    >>> count(43120)
    '43,120'
    """
    return f"{n:,}"


def plural(n: int, what: str) -> str:
    """A count with its noun.

    >>> plural(1, "slice"), plural(1200, "slice")
    ('1 slice', '1,200 slices')
    """
    return f"{count(n)} {what}" if n == 1 else f"{count(n)} {what}s"


def number(x: float, places: int = 4) -> str:
    """A metric, without the leading zero.

    >>> number(0.769), number(1.25), number(-0.00004)
    ('.7690', '1.2500', '.0000')
    """
    text = f"{abs(x):.{places}f}"
    zero = not float(text)
    if abs(x) < 1 and text.startswith("0."):
        text = text[1:]
    return (MINUS if x < 0 and not zero else "") + text


def signed(x: float, places: int = 4) -> str:
    """A difference with its sign; a minus that looks like one.

    >>> signed(0.0005), signed(0)
    ('+.0005', '.0000')
    """
    text = number(x, places)
    return f"+{text}" if x > 0 and float(f"{x:.{places}f}") else text


def interval(value: Mapping[str, float], sign: bool = False) -> str:
    """The ends of a value's interval.

    >>> interval({"low": 0.1, "high": 0.2})
    '.1000 to .2000'
    """
    show = signed if sign else number
    return f"{show(value['low'])} to {show(value['high'])}"


def times(ratio: float) -> str:
    """A ratio, with as many digits as it deserves.

    >>> times(96.3), times(2.14), times(1234.5)
    ('96', '2.1', '1,234')
    """
    return f"{ratio:.1f}" if ratio < 20 else f"{ratio:,.0f}"


def micros(us: float) -> str:
    """A duration given in microseconds.

    >>> micros(41.2), micros(1520), micros(2_340_000)
    ('41 µs', '1.52 ms', '2.34 s')
    """
    if us < 1000:
        return f"{us:.1f} µs" if us < 10 else f"{us:.0f} µs"
    return f"{us / 1000:.2f} ms" if us < 1e6 else f"{us / 1e6:.2f} s"


def headline(name: str, task: Mapping[str, Any]) -> str:
    """The result of one task in two sentences; the first metric of the task is its headline."""
    ratio = task["size"]["ratio"]["disk"]
    before, after = (size(task["size"][side]["disk_bytes"]) for side in ("original", "compressed"))
    metric, found = next(iter(task["metrics"].items()))
    change = f"{times(ratio)} times smaller" if ratio >= 1 else f"{times(1 / max(ratio, 1e-9))} times larger"
    difference = found["difference"]
    return (
        f"{name} is {change}: {before} became {after}. "
        f"{metric_name(metric)} {number(found['original']['value'])} → {number(found['compressed']['value'])} "
        f"({signed(difference['value'])}, 95 % {interval(difference, sign=True)})."
    )


def at_quality(advantage: Mapping[str, Any]) -> str:
    """The quality at which an advantage holds.

    >>> at_quality({"metric": "auc", "drop": 0.001}), at_quality({"metric": "ndcg@10", "drop": 0})
    ('AUC at most .0010 worse', 'NDCG@10 no worse')
    """
    name, drop = metric_name(advantage["metric"]), advantage["drop"]
    return f"{name} at most {number(drop)} worse" if drop else f"{name} no worse"


def is_worse(metric: Mapping[str, Any]) -> bool:
    """Whether the whole interval of the difference lies on the harmful side of 0."""
    difference = metric["difference"]
    return bool(difference["high"] < 0 if metric["higher_is_better"] else difference["low"] > 0)


def worse_slices(task: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(slice, metric, its numbers) where the compressed model is significantly worse."""
    return [
        (name, metric, found)
        for name, part in task["slices"].items()
        for metric, found in part["metrics"].items()
        if is_worse(found)
    ]
