"""Fitting a whole model into so many bytes."""

import re
from dataclasses import replace

import numpy as np
import pytest

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.effects import Effects
from recprune.pruning.methods import DropRows, FitBytes, Quantize
from recprune.pruning.table_codes import CODES, WIDE_CODES
from recprune.testing import check_step
from recprune.weights import Columns, Dense, LowRank, Param, Rows, Stacked, Weights

ROWS = 400


class Reads:
    """A calibration whose scores are sums of rows, each table times a factor of its own."""

    def __init__(self, **factors):
        self.factors = factors

    def scores(self, weights):
        rows = np.random.default_rng(0).integers(0, ROWS, 2000)
        return sum(f * weights[name].value.take(rows).sum(axis=1) for name, f in self.factors.items())


class Values:
    """A calibration whose scores are all values that are read: no direction counts more than another."""

    def scores(self, weights):
        rows = np.random.default_rng(0).integers(0, ROWS, 500)
        return np.concatenate([param.value.take(rows).reshape(-1) for param in weights.values()])


def model(*names, protected=(ROWS - 1,), rows=ROWS):
    rng = np.random.default_rng(1)
    return Weights(
        {n: Param(("id", f"{n} f"), Dense(rng.normal(size=(rows, 8)).astype(np.float32)), protected) for n in names}
    )


def context(**factors):
    return Context({"id": np.full(ROWS, 5)}, calibration=Reads(**factors))


@pytest.mark.parametrize("limit", [19_800, 9_000, 4_000, 1_500, 600, 300])
@pytest.mark.parametrize("protected", [(), (ROWS - 1,)])
def test_the_bound_is_met_and_used(limit, protected):
    weights = model("a", "b", protected=protected)
    fitted = check_step(FitBytes(limit), weights, context(a=1, b=1))
    assert 0.7 * limit < fitted.nbytes <= limit


def test_what_fits_already_is_left_alone():
    weights = model("a")
    assert FitBytes(weights.nbytes)(weights, context(a=1)) is weights


def test_bytes_go_where_the_scores_come_from():
    fitted = FitBytes(3_500)(model("a", "b"), context(a=1, b=0.01))
    wanted = model("a", "b")
    error = {n: float(np.square(p.value.decode() - wanted[n].value.decode()).mean()) for n, p in fitted.items()}
    assert fitted["a"].nbytes > 8 * fitted["b"].nbytes
    assert error["a"] < error["b"] / 20


def test_a_table_that_nothing_reads_goes_first():
    fitted = FitBytes(13_500)(model("a", "b"), context(a=1, b=0))
    # 12,800 bytes of `a` fit whole; of `b` only the shared row is left.
    assert fitted["a"].value is not None
    np.testing.assert_array_equal(fitted["a"].value.decode(), model("a", "b")["a"].value.decode())
    assert fitted["b"].value.mask().sum() == 1


def test_rows_that_are_read_come_back_best():
    reads = np.full(ROWS, 1)
    reads[7::8] = 1000
    wanted = model("a")
    fitted = FitBytes(700)(wanted, Context({"id": reads}, calibration=Reads(a=1)))
    error = np.square(fitted["a"].value.decode() - wanted["a"].value.decode()).mean(axis=1)
    assert error[7::8].mean() < 0.5 * error.mean()


@pytest.mark.parametrize("code", [code for code in (*CODES, *WIDE_CODES) if code is not None], ids=str)
def test_the_bytes_of_a_way_are_known_before_it_is_tried(code):
    rng = np.random.default_rng(0)
    for rows, width in ((300, 32), (70, 16), (41, 24)):
        table = rng.normal(size=(rows, width)).astype(np.float32)
        coded = code.encode(table, np.ones(rows), np.eye(width))
        assert coded.shape == table.shape
        books = len(coded.parts) if isinstance(coded, Columns) else 1
        assert code.bytes(np.array([rows]), width) == [coded.nbytes + 210 * (books - 1)]


def test_a_wide_table_gets_a_scale_for_each_row_where_rows_differ_in_size():
    rng = np.random.default_rng(3)
    table = (rng.normal(size=(ROWS, 64)) * 10 ** rng.uniform(-2, 0, size=(ROWS, 1))).astype(np.float32)
    weights = Weights({"a": Param(("id", "a f"), Dense(table), (ROWS - 1,))})
    where = Context({"id": np.full(ROWS, 5)}, calibration=Values())
    fitted = FitBytes(ROWS * 34)(weights, where)
    assert isinstance(fitted["a"].value, Rows)  # the small ones are shared
    assert {part.granularity for part in fitted["a"].value.inner.parts} == {"per_row"}


class Columns2:
    """A calibration whose scores are three times the first of two columns."""

    def scores(self, weights):
        return 3 * weights["a"].value.decode()[:, 0]


def test_a_direction_counts_as_much_as_the_scores_follow_it():
    table = np.random.default_rng(0).normal(size=(ROWS, 2)).astype(np.float32)
    weights = Weights({"a": Param(("id", "a f"), Dense(table), (ROWS - 1,))})
    metric = Effects(weights, Columns2().scores).metric("a")
    # Slopes 3 and 0, of which the mean square is 4.5; and .003 of it each has.
    np.testing.assert_allclose(metric @ metric.T, [[2.003, 0], [0, 0.003]], atol=1e-5)
    fitted = FitBytes(200)(weights, Context({"id": np.full(ROWS, 5)}, calibration=Columns2()))
    read, unread = np.square(fitted["a"].value.decode() - table).mean(axis=0)
    assert read < 0.05 * unread


def test_what_nothing_reads_has_no_direction():
    weights = model("a", "b")
    np.testing.assert_array_equal(Effects(weights, Reads(a=1, b=0).scores).metric("b"), np.eye(8))


def test_scores_that_leave_what_floats_hold_leave_all_directions_alike():
    weights = model("a")
    effects = Effects(weights, lambda given: np.full(3, 0 if given is weights else np.inf))
    np.testing.assert_array_equal(effects.metric("a"), np.eye(8))


def test_rows_that_are_read_most_get_a_code_of_their_own():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, 2)).astype(np.float32)
    reads = np.where(np.arange(ROWS) < 40, 1000, 1)

    class Mostly(Values):
        def scores(self, weights):
            rows = np.random.default_rng(0).choice(ROWS, 3000, p=reads / reads.sum())
            return weights["a"].value.take(rows).reshape(-1)

    weights = Weights({"a": Param(("id", "a f"), Dense(table))})
    fitted = FitBytes(400)(weights, Context({"id": reads}, calibration=Mostly()))
    value = fitted["a"].value.inner if isinstance(fitted["a"].value, Rows) else fitted["a"].value
    assert isinstance(value, Stacked)
    assert value.parts[0].shape[0] < 40  # half of the reads
    error = np.square(fitted["a"].value.decode() - table).mean(axis=1)
    assert error[:20].max() < 0.1 * error[40:].mean()


def test_columns_go_where_a_few_directions_hold_a_table():
    rng = np.random.default_rng(0)
    table = (rng.normal(size=(ROWS, 4)) @ rng.normal(size=(4, 32))).astype(np.float32)
    weights = Weights({"a": Param(("id", "a f"), Dense(table), (ROWS - 1,))})
    fitted = FitBytes(2_400)(weights, Context({"id": np.full(ROWS, 5)}, calibration=Values()))
    value = fitted["a"].value
    parts = value.parts if isinstance(value, Stacked) else (value,)
    assert all(isinstance(part, LowRank) and part.rank == 4 for part in parts)
    layer = Weights({"layer": Param(("h", "x"), Dense(table[:64]))})
    fitted = FitBytes(700)(layer, Context(calibration=Values64()))
    # In place of 2,048 values 4 * (64 + 32) in 8 bits, and scales for 64 + 4 rows; in 3 bits they would take 896.
    assert fitted["layer"].value.rank == 4
    assert fitted.nbytes == 4 * 96 + 2 * 68


class Values64:
    """As `Values`, of a layer."""

    def scores(self, weights):
        return weights["layer"].value.decode().reshape(-1)


def test_vectors_are_coded_where_they_count():
    long, short = (np.linspace(-1, 1, n).astype(np.float32) for n in (500, 3))
    vectors = {name: Param(("x",), Dense(v)) for name, v in (("long", long), ("short", short))}
    weights = Weights({**model("a"), "long": vectors["long"], "short": replace(vectors["short"], axes=("y",))})
    fitted = FitBytes(weights.nbytes - 1_400)(weights, context(a=1))
    assert fitted["long"].nbytes == 250 + 2  # nothing reads it: four bits and one scale
    assert fitted["short"].value is weights["short"].value
    np.testing.assert_array_equal(fitted["a"].value.decode(), weights["a"].value.decode())


def test_only_targets_are_touched_and_all_are_counted():
    weights = model("a", "b")
    fitted = FitBytes(14_000, "b")(weights, context(a=1, b=1))
    assert fitted["a"].value is weights["a"].value
    assert fitted.nbytes <= 14_000


def test_a_bound_that_cannot_be_met_says_what_can():
    weights = model("a", "b")
    with pytest.raises(RecpruneError, match="20 bytes cannot be met") as error:
        FitBytes(20)(weights, context(a=1, b=1))
    smallest = int(re.search(r"is ([\d,]+)$", str(error.value))[1].replace(",", ""))
    assert FitBytes(smallest)(weights, context(a=1, b=1)).nbytes == smallest


@pytest.mark.parametrize("most", [1e6, 7e4])
def test_a_value_that_no_code_holds_leaves_its_part_to_the_rows(most):
    weights = model("a", "b")
    table = weights["a"].value.decode().copy()
    table[3, 1] = most
    fitted = FitBytes(14_000)(weights.replace("a", Dense(table)), context(a=1e-6, b=1))
    assert fitted.nbytes <= 14_000
    value = fitted["a"].value
    assert isinstance(value.inner if isinstance(value, Rows) else value, Dense)
    layer = Param(("h", "x"), Dense(np.full((9, 9), most, np.float32)))
    both = Weights({"layer": layer, **model("a")})
    fitted = FitBytes(5_000)(both, context(a=1))
    assert fitted["layer"].value is layer.value
    assert fitted.nbytes <= 5_000


def test_bytes_of_the_artifact_are_what_counts():
    # An id costs three bytes beside its row, wherever any table keeps it.
    weights = model("a", "b")

    def parts(given):
        stored = np.any([given[n].value.mask() for n in "ab"], axis=0)
        return {n: p.nbytes for n, p in given.items()} | {"ids of id": 3 * int(stored.sum())}

    where = Context({"id": np.full(ROWS, 5)}, calibration=Reads(a=1, b=1), parts=parts)
    fitted = FitBytes(1_000)(weights, where)
    assert sum(parts(fitted).values()) <= 1_000
    # Alone, the tables keep more rows than that: ids are not free.
    assert fitted["a"].value.mask().sum() < FitBytes(1_000)(weights, context(a=1, b=1))["a"].value.mask().sum()


def test_after_other_steps_and_without_data():
    weights = DropRows("a", {"uniform": 0.5})(model("a", "b"), context(a=1, b=1))
    weights = Quantize("b", 4)(weights, context(a=1, b=1))
    fitted = check_step(FitBytes(2_000), weights, context(a=1, b=1))
    assert fitted.nbytes <= 2_000
    with pytest.raises(RecpruneError, match="fit_bytes measures what each part is worth; give data"):
        FitBytes(2_000)(weights, Context())
