"""Making models smaller: analysis, importance, budgets, methods, recipes, search."""

from recprune.context import Context
from recprune.pruning.analyze import Analysis, analyze
from recprune.pruning.compress import CompressedModel, compress, plan
from recprune.pruning.measure import Probe
from recprune.pruning.recipe import Recipe
from recprune.pruning.search import Found, search
from recprune.pruning.step import Step

__all__ = [
    "Analysis",
    "CompressedModel",
    "Context",
    "Found",
    "Probe",
    "Recipe",
    "Step",
    "analyze",
    "compress",
    "plan",
    "search",
]
