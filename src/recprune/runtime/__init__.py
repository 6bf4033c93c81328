"""Scoring and top-k retrieval from an artifact, without the training framework."""

from recprune.runtime.scorer import Recommendations, Scorer, load

__all__ = ["Recommendations", "Scorer", "load"]
