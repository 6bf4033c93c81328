"""How much each part may keep."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from recprune.errors import RecpruneError, unknown
from recprune.pruning.budgets.budget import Budget
from recprune.pruning.budgets.total_bytes import TotalBytes
from recprune.pruning.budgets.uniform import Uniform

__all__ = ["BUDGETS", "Budget", "TotalBytes", "Uniform", "budget_from"]

BUDGETS: dict[str, type[Budget]] = {"uniform": Uniform, "total_bytes": TotalBytes}


def budget_from(given: Mapping[str, Any]) -> Budget:
    """A budget from its JSON, such as `{"uniform": {"keep": 0.1}}` or, shorter, `{"uniform": 0.1}`."""
    if not isinstance(given, Mapping) or len(given) != 1:
        raise RecpruneError(f"a budget is one of {', '.join(BUDGETS)} with its value, got {given!r}")
    ((name, value),) = given.items()
    if not isinstance(name, str) or name not in BUDGETS:
        raise unknown("budget", str(name), BUDGETS)
    known = [f.name for f in fields(BUDGETS[name])]
    values = dict(value) if isinstance(value, Mapping) else {known[0]: value}
    for key in values:
        if key not in known:
            raise unknown(f"field of {name}", str(key), known)
    try:
        return BUDGETS[name](**values)
    except TypeError as error:
        raise RecpruneError(f"budget {name}: {error}") from error
