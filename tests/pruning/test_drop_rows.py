"""Dropping rows, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.budgets import PerParameter, TotalBytes, Uniform
from recprune.pruning.importance import Units, expected_loss, magnitude, popularity
from recprune.pruning.methods import DropRows, Quantize
from recprune.weights import Codebook, Dense, LowRank, Param, Quantized, Rows, Stacked, Weights

from ..weights.arrays import every_encoding


def weights(values, protected=(), **more):
    table = np.array(values, np.float32)
    return Weights({"t": Param(("item", "f"), Dense(table), protected, **more)})


def rows_of(param):
    return Units.rows(Weights({"t": param}), "t")


def reads(*counts):
    return Context({"item": np.array(counts)})


# Importance


def test_importance_by_hand():
    param = weights([[3, 4], [0, 0], [1, 0]])["t"]
    assert magnitude(rows_of(param), Context()).tolist() == [5, 0, 1]
    assert popularity(rows_of(param), reads(1, 2, 7)).tolist() == [1, 2, 7]
    # The mean by reads is (3 + 0 + 1 * 2, 4) / 4 = (1.25, 1): squared distances 12.0625, 2.5625, 1.0625.
    np.testing.assert_allclose(expected_loss(rows_of(param), reads(1, 1, 2)), [12.0625, 2.5625, 2.125])
    # A row that was never read costs nothing.
    assert expected_loss(rows_of(param), reads(0, 0, 0)).tolist() == [0, 0, 0]


def test_a_popular_row_near_the_mean_matters_less_than_a_rarer_one_far_from_it():
    param = weights([[1], [1], [9]])["t"]
    found = expected_loss(rows_of(param), reads(50, 45, 5))
    assert found[2] > found[0] > found[1]
    assert popularity(rows_of(param), reads(50, 45, 5)).argmax() == 0


@pytest.mark.parametrize("bad", [[1, 2], [1, np.nan, 2], [1, -1, 2], [np.inf, 1, 1]])
def test_reads_that_are_no_counts_of_the_rows_are_refused(bad):
    with pytest.raises(RecpruneError, match="reads of axis 'item'"):
        DropRows("t", Uniform(0.5))(weights([[1], [2], [3]]), reads(*bad))


def test_importance_without_reads_says_what_is_needed():
    with pytest.raises(RecpruneError, match=r"no reads were counted for axis 'item' \(counted: user\); give data"):
        DropRows("t", Uniform(0.5))(weights([[1], [2]]), Context({"user": np.ones(2)}))


# Uniform


def test_the_shared_row_is_the_mean_by_reads():
    given_ = weights([[1], [2], [4], [10]], protected=(3,))
    value = DropRows("t", Uniform(0.5), "popularity")(given_, reads(5, 3, 1, 4))["t"].value
    # Two rows stay: that of unknown ids and row 0. Rows 1 and 2 read (2 * 3 + 4 * 1 + 10 * 4) / 8.
    assert value.mask().tolist() == [True, False, False, True]
    assert value.decode()[:, 0].tolist() == [1, 6.25, 6.25, 6.25]


def test_rows_that_nobody_read_share_their_plain_mean():
    given_ = weights([[1], [2], [4], [8]])
    value = DropRows("t", Uniform(0.25), "popularity")(given_, reads(5, 0, 0, 0))["t"].value
    np.testing.assert_allclose(value.decode()[:, 0], [1, 14 / 3, 14 / 3, 14 / 3], rtol=1e-6)


def test_dropping_twice_is_dropping_once():
    rng = np.random.default_rng(0)
    table, counts = rng.normal(size=(40, 3)), rng.integers(1, 9, 40)
    for protected in ((39,), ()):
        start, context = weights(table, protected), reads(*counts)
        once = DropRows("t", Uniform(0.25), "popularity")(start, context)["t"].value
        half = DropRows("t", Uniform(0.5), "popularity")(start, context)
        twice = DropRows("t", Uniform(0.5), "popularity")(half, context)["t"].value
        if protected:
            assert np.array_equal(once.mask(), twice.mask())
            np.testing.assert_allclose(once.decode(), twice.decode(), atol=1e-6)
        assert twice.mask().sum() <= half["t"].value.mask().sum()
        # Each shared row is the mean by reads of all that were ever dropped.
        dropped = ~twice.mask()
        readers = dropped | (np.arange(40) == np.flatnonzero(twice.mask())[twice.default])
        expected = (counts[readers] @ table[readers]) / counts[readers].sum()
        np.testing.assert_allclose(twice.decode()[dropped][0], expected, atol=1e-6)


def test_protected_rows_stay_whatever_they_score():
    given_ = weights(np.zeros((6, 2)) + np.arange(6)[:, None], protected=(0, 5))
    value = DropRows("t", Uniform(0.1), "popularity")(given_, reads(0, 9, 9, 9, 9, 0))["t"].value
    assert value.mask().tolist() == [True, False, False, False, False, True]
    assert value.decode()[0].tolist() == [0, 0]


def test_ties_go_to_the_earlier_row_and_keep_rounds_up():
    value = DropRows("t", Uniform(0.3), "popularity")(weights([[i] for i in range(10)], (9,)), reads(*[1] * 10))[
        "t"
    ].value
    assert np.flatnonzero(value.mask()).tolist() == [0, 1, 9]
    assert Uniform(0.21).describe() == "21 % of the rows of each"


def test_where_all_rows_would_stay_nothing_changes():
    given_ = weights([[1], [2]])
    assert DropRows("t", Uniform(1.0), "magnitude")(given_, Context())["t"] is given_["t"]
    # One kept and one shared is both: marks would only cost.
    assert DropRows("t", Uniform(0.5), "magnitude")(given_, Context())["t"].nbytes == 8


def test_tables_without_columns_are_passed_over():
    for budget in (Uniform(0.5), TotalBytes(8)):
        given_ = weights(np.zeros((4, 0)), (3,))
        assert DropRows("t", budget)(given_, reads(1, 1, 1, 1))["t"].shape == (4, 0)


def test_what_is_no_table_is_named():
    def ones(axes, *shape):
        return Param(axes, Dense(np.ones(shape, np.float32)))

    given_ = Weights(
        {"t": ones(("item", "f"), 3, 2), "bias": ones(("h",), 3), "one": ones(()), "free": ones(("", ""), 3, 2)}
    )
    for target in ("bias", "one", "free"):
        with pytest.raises(RecpruneError, match=f"cannot act on '{target}': it is no table; tables are: t$"):
            DropRows(target, Uniform(0.5))(given_, Context())


@pytest.mark.parametrize("name", every_encoding())
@pytest.mark.parametrize("protected", [(), (9,), (0,)])
def test_rows_of_any_encoding(name, protected):
    value = every_encoding()[name]
    param = Param(("item", "f"), value, tuple(p for p in protected if value.mask()[p]), has_unknown=protected == (9,))
    given_ = Weights({"t": param})
    found = DropRows("t", Uniform(0.4), "popularity")(given_, reads(*range(10, 0, -1)))["t"].value
    mask, before = found.mask(), value.decode()
    assert mask.sum() < value.mask().sum() or mask.sum() <= 5
    assert not (mask & ~value.mask()).any()
    assert found.nbytes <= value.nbytes + 8
    stays = mask & (np.arange(10) != _shared_place(found))
    coarse = any(kind in name for kind in ("1 bits", "2 bits", "3 bits", "sparse"))
    tolerance = 0.5 if coarse else 0.25 if "bits" in name or "codes" in name else 1e-6
    np.testing.assert_allclose(found.decode()[stays], before[stays], atol=tolerance)
    dropped = found.decode()[~mask]
    assert (dropped == dropped[:1]).all()


def _shared_place(value):
    value = value.left if isinstance(value, LowRank) else value
    if not isinstance(value, Rows):
        return -1
    own = np.flatnonzero(value.mask() & (value.position(np.arange(value.rows)) == value.default))
    return own[0] if len(own) else -1


# Total bytes


def test_bytes_go_where_they_save_most_importance():
    # Rows of 4 and 16 bytes; per byte the wide table's best row (40 / 16) loses to two of the narrow one's (9 / 4, 8 / 4).
    narrow = Param(("a", "x"), Dense(np.ones((4, 1), np.float32)), (3,))
    wide = Param(("b", "y"), Dense(np.ones((3, 4), np.float32)), (2,))
    budget = TotalBytes(4 + 1 + 16 + 1 + 16 + 4)
    kept = budget.allocate({"n": narrow, "w": wide}, {"n": np.array([9, 8, 1, 0]), "w": np.array([40, 30, 0])})
    assert kept["n"].tolist() == [True, False, False, True]
    assert kept["w"].tolist() == [True, False, True]


@given(
    st.sampled_from(sorted(name for name in every_encoding() if "sparse" not in name)),
    st.integers(1, 400),
    st.sampled_from([(), (9,), (0,), (0, 9)]),
    st.integers(0, 99),
)
def test_a_budget_is_kept_or_refused_with_the_smallest(name, limit, protected, seed):
    value = every_encoding()[name]
    protected = tuple(p for p in protected if value.mask()[p])
    other = Param(("item", "g"), Dense(np.random.default_rng(1).normal(size=(10, 2)).astype(np.float32)), protected)
    param = Param(("item", "f"), value, protected, has_unknown=9 in protected)
    given_ = Weights({"t": param, "u": other})
    context = reads(*np.random.default_rng(seed).integers(1, 50, 10))

    def run(size):
        return DropRows("t,u", TotalBytes(size))(given_, context)

    try:
        found = run(limit)
    except RecpruneError as error:
        smallest = int(str(error).rpartition(" ")[2])
        assert limit < smallest
        assert run(smallest).nbytes <= smallest
        return
    assert found.nbytes <= limit
    assert all(found[n].value.mask()[list(protected)].all() for n in found)


def test_stacked_rows_cost_what_their_part_costs():
    value = Stacked((Dense(np.ones((2, 8), np.float32)), Dense(np.ones((6, 1), np.float32))))
    given_ = Weights({"t": Param(("item", "f"), value, (7,))})
    for limit in range(20, 100):
        try:
            found = DropRows("t", TotalBytes(limit), "popularity")(given_, reads(9, 8, 7, 6, 5, 4, 3, 2))
        except RecpruneError:
            continue
        assert found["t"].nbytes <= limit


@pytest.mark.parametrize("name", ["sparse", "sparse rows"])
def test_rows_without_a_size_of_their_own_take_no_budget_of_bytes(name):
    given_ = Weights({"t": Param(("item", "f"), every_encoding()[name])})
    with pytest.raises(RecpruneError, match="cannot cut what is stored sparse"):
        DropRows("t", TotalBytes(20), "popularity")(given_, reads(*range(10)))


def test_a_budget_that_holds_everything_drops_nothing():
    given_ = weights(np.ones((9, 2)), (8,))
    assert DropRows("t", TotalBytes(72), "magnitude")(given_, Context())["t"] is given_["t"]


def test_the_smallest_by_hand():
    given_ = weights(np.ones((16, 4)), (15,))
    with pytest.raises(RecpruneError, match=r"a budget of 17 bytes cannot be met: the smallest for t is 18$"):
        DropRows("t", TotalBytes(17), "magnitude")(given_, Context())
    assert DropRows("t", TotalBytes(18), "magnitude")(given_, Context())["t"].value.mask().sum() == 1


def test_runs_of_kept_rows_cost_what_they_take():
    # Two runs of 25 rows and the row of unknown ids, a third: 51 * 4 bytes, and 3 * 8 where a bitmap takes 1,000.
    given_ = weights(np.ones((8000, 1)), (7999,))
    counts = np.zeros(8000)
    counts[100:125] = counts[4000:4025] = 1
    found = DropRows("t", TotalBytes(51 * 4 + 24), "popularity")(given_, reads(*counts))["t"]
    assert found.nbytes == 51 * 4 + 24
    assert np.array_equal(np.flatnonzero(found.value.mask()), [*range(100, 125), *range(4000, 4025), 7999])
    with pytest.raises(RecpruneError, match=r"the smallest for t is 12$"):  # one row, one run
        DropRows("t", TotalBytes(11), "popularity")(given_, reads(*counts))


def test_a_book_shrinks_with_the_rows_that_read_it():
    # 64 words of 8 bytes for 64 rows that differ; of 4 rows 4 are left (and one for the mean), 6 bits a row.
    value = Codebook.encode(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32), 6)
    assert value.nbytes == 64 * 8 + 48
    given_ = Weights({"t": Param(("item", "f"), value, (63,))})
    found = DropRows("t", TotalBytes(8 + 3 + 5 * 8), "popularity")(given_, reads(*range(64, 0, -1)))["t"]
    assert found.value.mask().nonzero()[0].tolist() == [0, 1, 2, 63]
    assert found.nbytes == 8 + 3 + 4 * 8


# Order of steps


@pytest.mark.parametrize("quantize", [Quantize("t", 4), Quantize("t", 8, "per_column"), Quantize("t", 2, "per_tensor")])
def test_size_falls_the_same_in_either_order(quantize):
    rng = np.random.default_rng(0)
    start, context = weights(rng.normal(size=(64, 16)), (63,)), reads(*rng.integers(1, 99, 64))
    drop = DropRows("t", Uniform(0.25), "popularity")
    first, second = quantize(drop(start, context), context), drop(quantize(start, context), context)
    assert first.nbytes == second.nbytes
    assert isinstance(second["t"].value, Rows)
    assert isinstance(second["t"].value.inner, Quantized)
    assert np.array_equal(first["t"].value.mask(), second["t"].value.mask())


# By name


def three_tables():
    tables = {n: Param(("item", f"{n} f"), Dense(np.arange(8, dtype=np.float32)[:, None])) for n in ("a", "b.x", "b.y")}
    return Weights(tables)


def test_the_first_pattern_that_matches_counts_and_what_none_matches_is_whole():
    step = DropRows("*", PerParameter({"b.x": 0.25, "b.*": 0.5}), "magnitude")
    found = step(three_tables(), Context())
    assert {n: p.value.mask().nonzero()[0].tolist() for n, p in found.items()} == {
        "a": [0, 1, 2, 3, 4, 5, 6, 7],
        "b.x": [5, 6, 7],  # two rows of eight, and the place of the shared one
        "b.y": [3, 4, 5, 6, 7],
    }
    assert step.touches(three_tables()) == ["b.x", "b.y"]


@pytest.mark.parametrize("keep", [{"c*": 0.5}, {"c*": 0.5, "*": 1}, {"b.x": 0.5, "c*": 0.5}])
def test_a_pattern_that_matches_no_target_is_refused_with_all_of_them(keep):
    with pytest.raises(RecpruneError, match=r"^'c\*' matches none of the targets; they are: a, b.x, b.y$"):
        DropRows("*", PerParameter(keep), "magnitude")(three_tables(), Context())
