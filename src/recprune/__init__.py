"""recprune makes trained recommender models small and fast, and proves that they are still good."""

from recprune.errors import RecpruneError
from recprune.pruning import CompressedModel, Context, Probe, Recipe, analyze, compress, plan
from recprune.runtime import Scorer, load

__all__ = [
    "CompressedModel",
    "Context",
    "Probe",
    "Recipe",
    "RecpruneError",
    "Scorer",
    "analyze",
    "compress",
    "load",
    "plan",
]

__version__ = "0.1.0"
