"""Fitting a whole model into so many bytes."""

import re
from dataclasses import replace

import numpy as np
import pytest

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.methods import DropRows, FitBytes, Quantize
from recprune.pruning.table_costs import _CODES, _WIDE_CODES
from recprune.testing import check_step
from recprune.weights import Columns, Dense, Param, Rows, Weights

ROWS = 400


class Reads:
    """A calibration whose scores are sums of rows, each table times a factor of its own."""

    def __init__(self, **factors):
        self.factors = factors

    def scores(self, weights):
        rows = np.random.default_rng(0).integers(0, ROWS, 2000)
        return sum(f * weights[name].value.take(rows).sum(axis=1) for name, f in self.factors.items())


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


@pytest.mark.parametrize("code", [code for code in (*_CODES, *_WIDE_CODES) if code is not None], ids=str)
def test_the_bytes_of_a_way_are_known_before_it_is_tried(code):
    rng = np.random.default_rng(0)
    for rows, width in ((300, 32), (70, 16), (41, 24)):
        table = rng.normal(size=(rows, width)).astype(np.float32)
        coded = code.encode(table, np.ones(rows))
        assert coded.shape == table.shape
        books = len(coded.parts) if isinstance(coded, Columns) else 1
        assert code.bytes(np.array([rows]), width) == [coded.nbytes + 210 * (books - 1)]


def test_a_wide_table_gets_a_scale_for_each_row_where_rows_differ_in_size():
    rng = np.random.default_rng(3)
    table = (rng.normal(size=(ROWS, 64)) * 10 ** rng.uniform(-2, 0, size=(ROWS, 1))).astype(np.float32)
    weights = Weights({"a": Param(("id", "a f"), Dense(table), (ROWS - 1,))})
    fitted = FitBytes(ROWS * 34)(weights, context(a=1))  # 4 bits a value, and two bytes a row
    assert fitted["a"].value.granularity == "per_row"


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
