"""Metrics, slices, paired intervals, the gate, and summary.json. Arrays in, numbers out: never a model."""

from recprune.evaluation.classification import RowTruth, auc, calibration_error, gauc, logloss
from recprune.evaluation.compare import (
    Comparison,
    Evaluation,
    Interval,
    SliceComparison,
    compare,
    differences,
    estimate,
)
from recprune.evaluation.frontier import advantage
from recprune.evaluation.gate import Gate, Rule
from recprune.evaluation.metrics import METRICS, Metric, parse_metric
from recprune.evaluation.ranking import ListTruth, coverage, hit_rate, mrr, ndcg, precision, recall
from recprune.evaluation.slices import Slice, by_activity, by_age, by_group, by_popularity, popularity_thirds
from recprune.evaluation.summary import read_summary, schema, told_apart, validate, write_summary

__all__ = [
    "METRICS",
    "Comparison",
    "Evaluation",
    "Gate",
    "Interval",
    "ListTruth",
    "Metric",
    "RowTruth",
    "Rule",
    "Slice",
    "SliceComparison",
    "advantage",
    "auc",
    "by_activity",
    "by_age",
    "by_group",
    "by_popularity",
    "calibration_error",
    "compare",
    "coverage",
    "differences",
    "estimate",
    "gauc",
    "hit_rate",
    "logloss",
    "mrr",
    "ndcg",
    "parse_metric",
    "popularity_thirds",
    "precision",
    "read_summary",
    "recall",
    "schema",
    "told_apart",
    "validate",
    "write_summary",
]
