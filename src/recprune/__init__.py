"""recprune makes trained recommender models small and fast, and proves that they are still good."""

from recprune.adapters.model_files import read_model
from recprune.errors import RecpruneError
from recprune.judge import Judge, ListJudge, RowJudge
from recprune.pruning import CompressedModel, Context, Probe, Recipe, analyze, compress, plan, search
from recprune.runtime import Scorer
from recprune.trust import load

__all__ = [
    "CompressedModel",
    "Context",
    "Judge",
    "ListJudge",
    "Probe",
    "Recipe",
    "RecpruneError",
    "RowJudge",
    "Scorer",
    "analyze",
    "compress",
    "load",
    "plan",
    "read_model",
    "search",
]

__version__ = "0.1.0"
