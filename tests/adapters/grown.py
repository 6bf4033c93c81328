"""Small ensembles with a graph and data, made without a library of trees."""

from functools import cache

import numpy as np

from recprune.adapters.trees import Input
from recprune.adapters.trees import tree_context as context_of
from recprune.adapters.trees import tree_snapshot as snapshot_of
from recprune.forest import Forest

from ..weights.test_trees import grown

NAMES = ("a", "b", "c")


@cache
def tree_snapshot(mode):
    """Eight trees of up to 12 splits over three inputs; a mean holds three shares in a leaf."""
    forest = grown(11, trees=8, splits=12)
    values = forest.values
    if mode == "mean":
        values = np.random.default_rng(0).dirichlet(np.ones(3), len(values))
    forest = Forest(**{**forest.__dict__, "values": values, "mode": mode, "outputs": values.shape[1]})
    return snapshot_of(forest, [Input(name) for name in NAMES], "float64", "sigmoid" if mode == "sum" else "identity")


def tree_context(mode):
    rng = np.random.default_rng(2)
    x = rng.choice([-1.5, 0.1, 2, 0, 1, 3, 4, 7, -2, 9, np.nan], (300, 3))
    outputs = 1 if mode == "sum" else 3
    y = rng.integers(0, 2 if mode == "sum" else 3, 300)
    return context_of(lambda: tree_snapshot(mode), NAMES, (x, y), None, outputs, 0, lambda line: None)
