"""Small models of trees that several tests share."""

import numpy as np

from recprune.adapters import adapter_for
from recprune.runtime.reference import execute


def rows(count=600, missing=0.1, seed=0):
    """Five features: three normal, one of 40 categories, one of few whole numbers; labels of two and three classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 5))
    x[:, 3], x[:, 4] = rng.integers(0, 40, count), rng.integers(-2, 3, count)
    x[rng.random(x.shape) < missing] = np.nan
    y = (np.nan_to_num(x[:, 0]) + np.isin(x[:, 3], [2, 5, 33]) + rng.normal(size=count) * 0.3 > 0).astype(int)
    return x, y, y + (x[:, 4] > 0)


def hard(x, seed=1):
    """Rows of all kinds: those of `x`, with values missing, zero, tiny, huge, and no category that was seen."""
    rng = np.random.default_rng(seed)
    found = np.repeat(x, 2, axis=0)
    odd = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-34, 1e30, -1e30, 0.5, -0.5]
    where = rng.random(found.shape) < 0.2
    found[where] = rng.choice(odd, int(where.sum()))
    found[: len(x), 3] = rng.uniform(-2, 60, len(x))
    return found


def scored(model, columns):
    """What the artifact's runtime gives for columns by name, and the snapshot."""
    snapshot = adapter_for(model).read(model)
    return execute(snapshot.graph, snapshot.weights, {}, columns), snapshot


def by_number(x, form):
    return {form.format(i): x[:, i] for i in range(x.shape[1])}
