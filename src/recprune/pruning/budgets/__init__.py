"""How much each part may keep."""

from collections.abc import Mapping
from typing import Any

from recprune.errors import RecpruneError, unknown
from recprune.pruning.budgets.budget import Budget
from recprune.pruning.budgets.per_parameter import PerParameter
from recprune.pruning.budgets.total_bytes import TotalBytes
from recprune.pruning.budgets.uniform import Uniform

__all__ = ["BUDGETS", "Budget", "PerParameter", "TotalBytes", "Uniform", "budget_from"]

BUDGETS: dict[str, type[Budget]] = {"uniform": Uniform, "total_bytes": TotalBytes, "per_parameter": PerParameter}


def budget_from(given: Mapping[str, Any]) -> Budget:
    """A budget from its JSON, such as `{"uniform": {"keep": 0.1}}` or, shorter, `{"uniform": 0.1}`."""
    if not isinstance(given, Mapping) or len(given) != 1:
        raise RecpruneError(f"a budget is one of {', '.join(BUDGETS)} with its value, got {given!r}")
    ((name, value),) = given.items()
    if not isinstance(name, str) or name not in BUDGETS:
        raise unknown("budget", str(name), BUDGETS)
    return BUDGETS[name].from_value(value)
