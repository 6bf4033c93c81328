"""The gate: how far each metric may fall before a compressed model is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recprune.errors import RecpruneError, unknown
from recprune.evaluation.metrics import parse_metric

__all__ = ["Gate", "Rule"]


@dataclass(frozen=True)
class Rule:
    """`metric` may get worse by at most `max_drop`: absolute, or a fraction of the original where `relative`."""

    metric: str
    max_drop: float
    relative: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", str(parse_metric(self.metric)))
        if not 0 <= self.max_drop < float("inf"):
            raise RecpruneError(f"rule for {self.metric!r}: the drop allowed must be 0 or more, got {self.max_drop}")

    def __str__(self) -> str:
        return f"{self.metric}:{self.max_drop * 100:.12g}%" if self.relative else f"{self.metric}:{self.max_drop:.12g}"

    def check(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Judge one rule on the `metrics` of a task of summary.json.

        `drop` is in the harmful direction (a rise, for a loss) and `limit` in the same absolute unit. `passed` looks at
        the value; `certain` says whether the whole 95 % interval of the drop stays within the limit.
        """
        if self.metric not in metrics:
            raise unknown("metric of the gate", self.metric, metrics)
        found = metrics[self.metric]
        sign = -1.0 if found["higher_is_better"] else 1.0
        difference = found["difference"]
        drop = sign * difference["value"]
        worst = max(sign * difference["low"], sign * difference["high"])
        limit = self.max_drop * (abs(found["original"]["value"]) if self.relative else 1.0)
        return {
            "rule": str(self),
            "metric": self.metric,
            "limit": limit,
            "drop": drop,
            "worst": worst,
            "passed": drop <= limit,
            "certain": worst <= limit,
        }


@dataclass(frozen=True)
class Gate:
    """Rules that must all pass.

    >>> Gate.parse("auc:0.001,ndcg@10:1%").rules[1]
    Rule(metric='ndcg@10', max_drop=0.01, relative=True)
    """

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
        if not self.rules:
            raise RecpruneError("a gate needs at least one rule, for example auc:0.001")
        names = [rule.metric for rule in self.rules]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise RecpruneError(f"two rules of the gate are about {twice[0]!r}")

    def __str__(self) -> str:
        return ",".join(str(rule) for rule in self.rules)

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """Read `auc:0.001,ndcg@10:1%`: metric, colon, the drop allowed, absolute or in % of the original."""
        rules = []
        for part in text.split(","):
            match = re.fullmatch(r"\s*([^:\s]+)\s*:\s*([0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?)\s*(%?)\s*", part)
            if match is None:
                raise RecpruneError(f"rule {part.strip()!r} is not metric:drop, for example auc:0.001 or ndcg@10:1%")
            metric, number, percent = match.groups()
            rules.append(Rule(metric, float(number) / 100 if percent else float(number), bool(percent)))
        return cls(tuple(rules))

    def to_json(self) -> list[dict[str, Any]]:
        """The rules as plain objects."""
        return [{"metric": r.metric, "max_drop": r.max_drop, "relative": r.relative} for r in self.rules]

    @classmethod
    def from_json(cls, rules: list[dict[str, Any]]) -> "Gate":
        """The inverse of `to_json`."""
        return cls(tuple(Rule(**rule) for rule in rules))

    def check(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The object `gate` of a task in summary.json: `passed`, and each rule with its numbers."""
        judged = [rule.check(metrics) for rule in self.rules]
        return {"passed": all(rule["passed"] for rule in judged), "rules": judged}
