"""Rows with a meaning of their own are not the row that dropped ids read."""

import numpy as np

from recprune.context import Context
from recprune.pruning.budgets import TotalBytes, Uniform
from recprune.pruning.methods import DropRows
from recprune.weights import Dense, Param, Weights


def table(**more):
    """Six rows of two columns: padding zeros, then 1, 2, 3, 4, 5."""
    values = np.repeat(np.arange(6, dtype=np.float32)[:, None], 2, axis=1)
    return Weights({"item": Param(("item", ""), Dense(values), (0,), **more)})


READS = Context(popularity={"item": np.array([100, 9, 1, 1, 9, 8])})


def test_a_padding_row_keeps_its_value_and_dropped_rows_share_another():
    step = DropRows("item", Uniform(0.5), "popularity")
    value = step(table(has_unknown=False), READS)["item"].value
    # Rows 1 and 4 stay beside the padding; 2, 3 and 5 read their mean by reads, (2 + 3 + 5 * 8) / 10.
    assert value.decode()[:, 0].tolist() == [0, 1, 4.5, 4.5, 4, 4.5]


def test_an_unknown_row_becomes_the_mean_of_its_readers():
    value = DropRows("item", Uniform(0.5), "popularity")(table(), READS)["item"].value
    # Row 0 itself counts among the readers, a hundred times.
    assert np.allclose(value.decode()[:, 0], [45 / 110, 1, 45 / 110, 45 / 110, 4, 45 / 110])


def test_a_budget_of_bytes_counts_padding_and_shared_row():
    # Eight bytes a row and one for the marks: padding, shared row and two more fit into 33 bytes, not into 32.
    for limit, kept in ((33, 2), (32, 1)):
        value = DropRows("item", TotalBytes(limit), "popularity")(table(has_unknown=False), READS)["item"].value
        assert value.mask().sum() == kept + 2
        assert value.nbytes <= limit
