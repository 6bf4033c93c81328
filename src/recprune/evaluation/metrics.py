"""The names of the metrics, what each of them means, and the parsing of `ndcg@10`."""

import re
from dataclasses import dataclass

from recprune.errors import RecpruneError, unknown

__all__ = ["METRICS", "Metric", "parse_metric"]

# name -> (what it is judged on, higher is better, takes a cut-off, definition)
METRICS: dict[str, tuple[str, bool, bool, str]] = {
    "auc": (
        "rows",
        True,
        False,
        "chance that a positive row is scored above a negative one, over all pairs of test rows; "
        "ties count half; no user left out",
    ),
    "gauc": (
        "rows",
        True,
        False,
        "AUC within each user, averaged with the user's number of rows as weight; ties count half; "
        "users whose rows are all of one class left out",
    ),
    "gauc_by_user": (
        "rows",
        True,
        False,
        "AUC within each user, every user weighing the same; ties count half; "
        "users whose rows are all of one class left out",
    ),
    "logloss": (
        "rows",
        False,
        False,
        "mean of -log(probability given to what happened), in nats, over all test rows; "
        "probabilities clipped to [1e-7, 1 - 1e-7]; no user left out",
    ),
    "calibration_error": (
        "rows",
        False,
        False,
        "expected calibration error: rows in 15 bins of equal width by predicted probability, "
        "|mean label - mean probability| of each bin, averaged by rows; no user left out",
    ),
    "recall": ("lists", True, True, "held-out items found in the first {k} places / all held-out items of the user"),
    "precision": ("lists", True, True, "held-out items found in the first {k} places / {k}"),
    "hit": ("lists", True, True, "share of users with at least one held-out item in the first {k} places"),
    "ndcg": (
        "lists",
        True,
        True,
        "sum of 1/log2(place + 1) over held-out items in the first {k} places / the same sum of a perfect list",
    ),
    "mrr": (
        "lists",
        True,
        True,
        "1 / place of the first held-out item, 0 where none is in the first {k} places",
    ),
    "tail_recall": (
        "lists",
        True,
        True,
        "recall of held-out tail items only: those found in the first {k} places / the user's held-out tail items",
    ),
    "coverage": ("lists", True, True, "share of the catalogue that at least one user sees in the first {k} places"),
}

_LISTS_RULE = (
    "mean over users; ties are broken by the model that made the list; a missing place is no item; "
    "users without a held-out item left out"
)


@dataclass(frozen=True)
class Metric:
    """One metric: a name of `METRICS` and, for ranked lists, a cut-off.

    `k` is None for metrics without a cut-off and for "the whole list that was handed in".

    >>> parse_metric("ndcg@10")
    Metric(base='ndcg', k=10)
    >>> str(parse_metric("ndcg@10"))
    'ndcg@10'
    """

    base: str
    k: int | None = None

    def __post_init__(self) -> None:
        if self.base not in METRICS:
            raise unknown("metric", self.base, METRICS)
        if self.k is not None and not METRICS[self.base][2]:
            raise RecpruneError(f"metric {self.base!r} takes no cut-off, got @{self.k}")
        if self.k is not None and self.k < 1:
            raise RecpruneError(f"metric '{self.base}@{self.k}': the cut-off must be at least 1")

    def __str__(self) -> str:
        return self.base if self.k is None else f"{self.base}@{self.k}"

    @property
    def judged_on(self) -> str:
        """`rows` (labels and scores) or `lists` (ranked items)."""
        return METRICS[self.base][0]

    @property
    def higher_is_better(self) -> bool:
        """True for all but losses and errors."""
        return METRICS[self.base][1]

    def describe(self, candidates: str = "") -> str:
        """Definition, cut-off, candidate set, tie rule and excluded users in one line, to stand beside the number.

        >>> parse_metric("recall@20").describe("all 12,524 books")[:68]
        'recall@20: held-out items found in the first 20 places / all held-ou'
        """
        _, _, cut, definition = METRICS[self.base]
        cutoff = str(self.k) if self.k is not None else "listed"
        text = f"{self}: {definition.format(k=cutoff)}"
        if self.base == "coverage":
            text += "; missing places count for nothing; no user left out"
        elif self.judged_on == "lists":
            rule = _LISTS_RULE.replace("held-out", "held-out tail") if self.base == "tail_recall" else _LISTS_RULE
            text += f"; {rule}"
        if not cut:
            text += "; no cut-off"
        return text + (f"; candidates: {candidates}" if candidates else "")


def parse_metric(text: str) -> Metric:
    """Read `auc`, `recall@20`, `mrr`. A wrong name or cut-off is a RecpruneError that lists the choices."""
    match = re.fullmatch(r"\s*([^@\s]+)(?:@(\S+))?\s*", text)
    if match is None:
        raise unknown("metric", text.strip(), METRICS)
    base, k = match.groups()
    if base not in METRICS:
        raise unknown("metric", base, METRICS)
    if k is not None and not re.fullmatch(r"[0-9]{1,9}", k):
        raise RecpruneError(f"metric {text.strip()!r}: the cut-off after @ must be a whole number")
    return Metric(base, None if k is None else int(k))
