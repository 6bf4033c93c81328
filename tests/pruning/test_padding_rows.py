"""Rows with a meaning of their own are not the row that dropped ids read."""

import numpy as np
import pytest

from recprune.context import Context
from recprune.pruning import Recipe
from recprune.pruning.budgets import TotalBytes, Uniform
from recprune.pruning.methods import Codebook, DropRows, Quantize
from recprune.pruning.protected_rows import as_they_were
from recprune.weights import Dense, Param, Quantized, Rows, Stacked, Weights


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


def signs(padding=0, row=0, **more):
    """33 rows of two columns: one of padding, among 8 each of -3, -1, 1 and 3, which two bits of scale 2 hold exactly."""
    values = np.repeat(np.tile(np.array([-3, -1, 1, 3], np.float32), 8)[:, None], 2, axis=1)
    values = np.insert(values, row, padding, axis=0)
    return Weights({"item": Param(("item", ""), Dense(values), (row,), **more)})


@pytest.mark.parametrize(("row", "order"), [(0, 0), (5, 5)])
def test_two_bits_have_no_zero_so_padding_stands_apart(row, order):
    weights = signs(row=row, has_unknown=False)
    value = Quantize("item", 2, "per_column")(weights, Context())["item"].value
    assert np.array_equal(value.decode(), weights["item"].value.decode())
    # 32 rows of two codes of two bits, two scales of two bytes, a row of floats; and a bit a row where it is not the first.
    assert value.nbytes == 32 * 2 * 2 // 8 + 4 + 8 + order


def test_a_row_of_unknown_ids_is_coded_like_the_others():
    value = Quantize("item", 2, "per_column")(signs(), Context())["item"].value
    assert isinstance(value, Quantized)
    assert np.abs(value.decode()[0]).tolist() == [1, 1]


def test_padding_that_the_code_holds_costs_nothing():
    value = Quantize("item", 4, "per_column")(signs(has_unknown=False), Context())["item"].value
    assert isinstance(value, Quantized)
    assert value.decode()[0].tolist() == [0, 0]


STEPS = [
    {"quantize": {"target": "item", "bits": 1, "granularity": "per_tensor"}},
    {"quantize": {"target": "item", "bits": 2, "granularity": "per_group", "group": 4}},
    {"quantize": {"target": "item", "bits": 8, "granularity": "per_column"}},
    {"codebook": {"target": "item", "bits": 1}},
    {"codebook": {"target": "item", "bits": 1, "parts": 2}},
    {"mixed": {"target": "item", "reads": [0.5, 0.5], "bits": [1, 1]}},
    {"mixed": {"target": "item", "reads": [0.5, 0.5], "bits": [2, 1], "per": "value"}},
    {"share": {"target": "item", "keep": 0.1, "rows": 2}},
    {"cast": {"target": "item"}},
    {"cast": {"target": "item", "dtype": "bfloat16"}},
    {"factorize": {"target": "item", "rank": 1}},
    {"drop_weights": {"target": "item", "keep": 0.2}},
    {"keep_top": {"target": "item", "by": "column", "per_column": 3, "refit": False}},
    {"drop_rows": {"target": "item", "budget": {"uniform": 0.3}, "importance": "magnitude"}},
]


@pytest.mark.parametrize("second", STEPS, ids=lambda step: next(iter(step)))
@pytest.mark.parametrize("first", STEPS, ids=lambda step: next(iter(step)))
def test_no_step_after_another_moves_a_row_with_a_meaning(first, second):
    # 0.1 has no exact half, code or word; the axis of the other values makes a factor of rank 1 miss it.
    weights = signs(row=7, has_unknown=False)
    table = weights["item"].value.values
    table[7] = [0.1, -0.1]
    context = Context(popularity={"item": np.arange(33)})
    sizes = [weights.nbytes]
    for step in Recipe.from_json({"steps": [first, second]}).steps:
        weights = step(weights, context)
        sizes.append(weights.nbytes)
        assert weights["item"].value.decode()[7].tolist() == table[7].tolist()
    # Rows that are dropped of codes have to be marked; nothing else may grow.
    assert sizes[0] >= sizes[1] >= sizes[2] or "drop_rows" in second


def test_dropped_rows_stay_outermost_and_padding_lies_within():
    weights = DropRows("item", Uniform(0.5), "magnitude")(signs(has_unknown=False), Context())
    for step in (Quantize("item", 2, "per_column"), Codebook("item", 1)):
        weights = step(weights, Context())
        value = weights["item"].value
        assert isinstance(value, Rows)
        assert isinstance(value.inner, Stacked)
        assert [part.shape[0] for part in value.inner.parts] == [1, value.inner.shape[0] - 1]
        assert value.decode()[0].tolist() == [0, 0]


def test_a_vector_cannot_store_a_row_apart():
    bias = Param(("item",), Dense(np.array([0.1, 3, -3], np.float32)), (0,), has_unknown=False)
    assert as_they_were(bias, Quantized.encode(bias.value.decode(), 2, "per_tensor")) is bias.value
