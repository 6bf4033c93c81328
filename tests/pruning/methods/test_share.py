"""Rare rows that share rows, by hand."""

import numpy as np
import pytest

from recprune.bits import mix64
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.methods import Codebook as CodebookStep
from recprune.pruning.methods import Share
from recprune.weights import Columns, Dense, Param, Stacked, Weights


def model(array, protected=()):
    return Weights({"t": Param(("item", "f"), Dense(np.array(array, np.float32)), protected)})


def test_rare_rows_are_the_means_of_those_that_share_them_by_reads():
    # Rows 0-9 are read most. The other 30 have rows of their own number and are read once, row 39 four times.
    array = np.repeat(np.arange(40.0)[:, None], 8, axis=1)
    reads = np.array([50] * 10 + [1] * 29 + [4])
    value = Share("t", 0.25, 2)(model(array), Context({"item": reads}))["t"].value
    assert isinstance(value, Stacked)
    found = value.decode()
    assert np.array_equal(found[:10], array[:10])
    side = mix64(np.arange(30, dtype=np.uint64), 0) % np.uint64(2)
    for i in (0, 1):
        mine = 10 + np.flatnonzero(side == i)
        mean = (mine * reads[mine]).sum() / reads[mine].sum()
        np.testing.assert_allclose(found[mine], mean, rtol=2**-11)
    # Ten rows, a bit for each of the others, two words of eight float16.
    assert value.nbytes == 10 * 32 + 4 + 2 * 16


def test_quotient_and_remainder_tell_all_rows_apart():
    # Place p of the tail is p // 4 and p % 4 in two columns, which is exactly what is shared.
    tail = np.array([[p // 4, p % 4] for p in range(16)], np.float32)
    array = np.concatenate([[[9, 9]], tail])
    reads = np.array([100] + [1] * 16)
    value = Share("t", 0.01, 4, "quotient")(model(array), Context({"item": reads}))["t"].value
    assert isinstance(value.parts[1], Columns)
    assert np.array_equal(value.decode(), array)
    assert value.nbytes == 8 + 2 * (16 * 2 // 8) + 2 * 4 * 2
    hashed = Share("t", 0.01, 4)(model(array), Context({"item": reads}))["t"].value
    assert len(np.unique(hashed.decode()[1:], axis=0)) <= 4


def test_rows_with_a_meaning_of_their_own_are_not_shared():
    array = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    reads = np.concatenate([[0], np.arange(58, 0, -1), [0]])
    value = Share("t", 0.01, 2)(model(array, (0, 59)), Context({"item": reads}))["t"].value
    assert np.array_equal(value.decode()[[0, 59]], array[[0, 59]])
    assert value.parts[0].shape[0] == 2


def test_what_cannot_be_shared_is_left_or_named():
    few = model(np.eye(3))
    assert Share("t", 0.5, 2)(few, Context({"item": np.ones(3)}))["t"].value is few["t"].value
    assert Share("t", 1.0)(few, Context({"item": np.ones(3)}))["t"].value is few["t"].value
    with pytest.raises(RecpruneError, match="share cannot act on 't': it is no table whose reads were counted"):
        Share("t", 0.5)(few, Context())
    many = model(np.ones((20_000, 2)))
    with pytest.raises(RecpruneError, match="'t': share of 19,800 rare rows by quotient needs at least 5 shared"):
        Share("t", 0.01, 2, "quotient")(many, Context({"item": np.ones(20_000)}))


@pytest.mark.parametrize("step", [Share("m", 0.25, 2, by="quotient"), CodebookStep("m", 2, parts=2)])
def test_groups_of_columns_are_refused_where_columns_are_ids(step):
    tables = {
        "m": Param(("item", "item"), Dense(np.ones((40, 40), np.float32))),
        "t": Param(("item", "f"), Dense(np.ones((40, 4), np.float32))),
    }
    with pytest.raises(RecpruneError, match=f"^{step.verb} cannot act on 'm': .* columns keep their order.* are: t$"):
        step(Weights(tables), Context({"item": np.ones(40)}))
