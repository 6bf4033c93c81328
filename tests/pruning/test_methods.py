"""The other methods, by hand."""

import numpy as np
import pytest

from recprune.artifact import Artifact, lay_out
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.importance import Units, expected_loss
from recprune.pruning.methods import (
    Cast,
    Codebook,
    DropAxis,
    DropFields,
    DropWeights,
    Factorize,
    Mixed,
    Quantize,
    Retrain,
    Share,
)
from recprune.pruning.methods.drop_fields import fields_of
from recprune.runtime import Scorer
from recprune.weights import Dense, LowRank, Param, Quantized, Rows, Sparse, Weights

from ..small import like, request


def dense(values):
    return Dense(np.array(values, np.float32))


def scores(snapshot):
    laid, vocabularies = lay_out(snapshot)
    frame = request(100)
    return Scorer(Artifact(laid.weights, laid.graph, vocabularies)).score({c: frame[c] for c in laid.graph.columns})


# drop_axis


def layer(weight, bias, out):
    return Weights(
        {
            "weight": Param(("hidden", "input"), dense(weight)),
            "bias": Param(("hidden",), dense(bias)),
            "out": Param(("score", "hidden"), dense(out)),
        }
    )


def test_a_neuron_counts_what_makes_it_times_what_reads_it():
    weights = layer([[3, 0], [0, 0], [1, 1]], [4, 2, 0], [[2, 1, 3]])
    # Norms of weights and bias 5, 2 and sqrt 2; of the next layer 2, 1, 3.
    np.testing.assert_allclose(expected_loss(Units.along(weights, "hidden"), Context()), [10, 2, 3 * np.sqrt(2)])
    cut = DropAxis("hidden", 0.5)(weights, Context())
    assert cut["weight"].value.decode().tolist() == [[3, 0], [1, 1]]
    assert cut["bias"].value.decode().tolist() == [4, 0]
    assert cut["out"].value.decode().tolist() == [[2, 3]]


def test_a_bias_of_zero_makes_no_neuron_dead():
    weights = layer([[9, 9], [1, 0]], [0, 1], [[9, 1]])
    assert DropAxis("hidden", 0.5)(weights, Context())["weight"].value.decode().tolist() == [[9, 9]]


@pytest.mark.parametrize("dead", [{"weight": [0, 0], "bias": 0, "out": 5}, {"weight": [7, 7], "bias": 7, "out": 0}])
def test_a_dead_neuron_goes_first(dead):
    weights = layer([[1, 0], dead["weight"], [0, 1]], [0.1, dead["bias"], 0.1], [[0.1, dead["out"], 0.1]])
    cut = DropAxis("hidden", 0.6)(weights, Context())
    assert cut["weight"].value.decode().tolist() == [[1, 0], [0, 1]]


def test_columns_of_tables_count_by_the_reads_of_their_rows():
    # Column 0 is large in a row that nobody reads.
    weights = Weights(
        {
            "t": Param(("item", "f"), dense([[100, 1], [1, 3]]), (1,)),
            "w": Param(("h", "f"), dense([[1, 1]])),
        }
    )
    context = Context({"item": np.array([0, 4])})
    np.testing.assert_allclose(expected_loss(Units.along(weights, "f"), context), [1, 3])
    assert DropAxis("f", 0.5)(weights, context)["t"].value.decode().tolist() == [[1], [3]]
    assert DropAxis("f", 0.5)(weights, Context())["t"].value.decode().tolist() == [[100], [1]]


def test_tables_that_share_columns_are_multiplied_in_pairs():
    def table(axis, squares):
        return Param((axis, "f"), dense([np.sqrt(squares)]), (0,))

    two = Weights({"a": table("a", [4, 1]), "b": table("b", [9, 0])})
    np.testing.assert_allclose(expected_loss(Units.along(two, "f"), Context()), [6, 0], rtol=1e-6)
    # With three, a column that is zero in one still serves the other two: 4 * 9 + 4 * 1 + 9 * 1, and 1 * 4.
    three = Weights({"a": table("a", [4, 1]), "b": table("b", [9, 0]), "c": table("c", [1, 4])})
    np.testing.assert_allclose(expected_loss(Units.along(three, "f"), Context()), [7, 2], rtol=1e-6)


@pytest.mark.parametrize("axis", ["hidden", "user.factor", "book.factor", "title.factor"])
def test_a_cut_is_the_model_with_the_slice_zeroed(axis):
    snapshot = like()
    cut = DropAxis(axis, 0.5)(snapshot.weights, Context())
    # Which positions went: those of the lowest score. Zero them everywhere instead.
    score = expected_loss(Units.along(snapshot.weights, axis), Context())
    gone = np.argsort(-score, kind="stable")[cut.sizes[axis] :]
    zeroed = snapshot.weights
    for name in snapshot.weights.atoms()[axis]:
        values = snapshot.weights[name].value.decode().copy()
        for i, expression in enumerate(snapshot.weights[name].axes):
            if axis in expression.split("+"):
                at = snapshot.weights.positions(expression, axis, gone, only=True)
                values[(slice(None),) * i + (at,)] = 0
        zeroed = zeroed.replace(name, Dense(values))
    assert 0 < len(gone) < snapshot.weights.sizes[axis]
    np.testing.assert_allclose(scores(snapshot.with_weights(cut)), scores(snapshot.with_weights(zeroed)), atol=1e-5)


def test_a_flattened_axis_is_cut_in_every_block():
    weights = Weights(
        {
            "t": Param(("item", "f"), dense([[1, 0], [1, 0]]), (1,)),
            "w": Param(("h", "field*f"), dense([[1, 2, 3, 4, 5, 6]])),
        },
        {"field": 3},
    )
    assert DropAxis("f", 0.5)(weights, Context())["w"].value.decode().tolist() == [[1, 3, 5]]


def test_row_axes_are_no_columns_to_drop():
    with pytest.raises(RecpruneError, match=r"target 'user' matches no axis; axes are: .*hidden"):
        DropAxis("user", 0.5)(like().weights, Context())


# drop_fields


def test_fields_and_blocks():
    inputs = "user id.factor+user ratings.mean+user ratings.spread+user history.count"
    weights = Weights(
        {
            "user": Param(("user", "user id.factor"), dense(np.ones((3, 2))), (2,)),
            "stats": Param(
                ("user", "user ratings.mean+user ratings.spread+user history.count"), dense(np.ones((3, 3))), (2,)
            ),
            "w": Param(("h", inputs), dense(np.ones((1, 5)))),
        },
        {"user ratings.mean": 1, "user ratings.spread": 1, "user history.count": 1},
    )  # fmt: skip
    found = fields_of(weights)
    assert set(found) == {"user", "user id", "user ratings", "user history", *inputs.split("+")}
    assert found["user ratings.mean"] == ["user ratings.mean"]
    assert found["user ratings"] == ["user ratings.mean", "user ratings.spread"]
    cut = DropFields(("user ratings",))(weights, Context())
    assert {name: param.shape for name, param in cut.items()} == {"user": (3, 2), "stats": (3, 1), "w": (1, 3)}
    cut = DropFields(("user",))(weights, Context())
    assert {name: param.shape for name, param in cut.items()} == {"user": (3, 0), "stats": (3, 0), "w": (1, 0)}
    assert DropFields(("user r*",)).touches(weights) == ["stats", "w"]


def test_an_unknown_field_lists_the_fields():
    with pytest.raises(RecpruneError, match="target 'city' matches no field; fields are: user"):
        DropFields(("city",))(like().weights, Context())


@pytest.mark.parametrize("bad", ["user", (), ("user", 5), 5])
def test_fields_are_a_list_of_names(bad):
    with pytest.raises(RecpruneError, match="fields must be a list of names"):
        DropFields(bad)


# factorize


def test_a_matrix_of_rank_r_comes_back():
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(30, 2)) @ rng.normal(size=(2, 8))).astype(np.float32)
    weights = Weights({"t": Param(("item", "f"), Dense(matrix))})
    value = Factorize("t", 2)(weights, Context({"item": rng.integers(0, 9, 30)}))["t"].value
    assert isinstance(value, LowRank)
    assert value.nbytes == 4 * 2 * 38
    np.testing.assert_allclose(value.decode(), matrix, atol=1e-4)


def test_the_rows_that_are_read_are_kept_best():
    # Two rows at right angles, rank one: the one that is read survives.
    weights = Weights({"t": Param(("item", "f"), dense([[3, 0, 0], [0, 3, 0], [0, 3, 0]]))})
    context = Context({"item": np.array([1000, 1, 1])})
    found = Factorize("t", 1)(weights, context)["t"].value
    np.testing.assert_allclose(found.decode()[0], [3, 0, 0], atol=1e-2)
    plain = Factorize("t", 1)(weights, Context())["t"].value
    np.testing.assert_allclose(plain.decode()[1], [0, 3, 0], atol=1e-2)


def test_what_would_not_get_smaller_stays():
    weights = Weights({"t": Param(("item", "f"), dense(np.eye(4)))})
    assert Factorize("t", 2)(weights, Context())["t"].value is weights["t"].value
    assert Factorize("t", 9)(weights, Context())["t"].value is weights["t"].value
    low = Factorize("t", 1)(weights, Context())
    assert Factorize("t", 2)(low, Context())["t"].value is low["t"].value
    with pytest.raises(RecpruneError, match="cannot act on 'b': it is no matrix; matrices are: "):
        Factorize("b", 1)(Weights({"b": Param(("",), dense([1, 2]))}), Context())


class Entries:
    """A model whose scores are the entries of its table."""

    def scores(self, weights):
        return weights["t"].value.decode()


@pytest.mark.parametrize(("change", "rank"), [(0.22, 4), (0.25, 3), (0.32, 3), (0.33, 2)])
def test_the_least_rank_that_leaves_the_scores_within_a_share_of_their_spread(change, rank):
    # Columns at right angles with five entries each: their mean square is 5 * 89 / 320, their mean 5 * 19 / 320, so they
    # spread by 1.141. Without five ones they change by sqrt(25 / 320), .245 of it; without four by .219; without the two
    # as well by .329.
    values = np.array([8, 4, 2, 1, 1, 1, 1, 1], np.float32)
    weights = Weights({"t": Param(("item", "f"), dense(np.tile(np.diag(values), (5, 1))))})
    context = Context(calibration=Entries())
    assert Factorize("t", change=change)(weights, context)["t"].value.rank == rank
    with pytest.raises(RecpruneError, match="factorize by change measures the scores; give data to compress"):
        Factorize("t", change=change)(weights, Context())


def diagonal(*values):
    """Rows at right angles, eight columns."""
    table = np.zeros((8, 8), np.float32)
    table[np.arange(len(values)), np.arange(len(values))] = values
    return Weights({"t": Param(("item", "f"), Dense(table))})


@pytest.mark.parametrize(("energy", "rank"), [(0.5, 1), (0.64, 1), (0.65, 2), (0.95, 2), (0.97, 3)])
def test_the_rank_that_keeps_a_share_of_the_squared_norm(energy, rank):
    # Squares 64, 32 and 4 of 100.
    weights = diagonal(8, np.sqrt(32), 2)
    value = Factorize("t", energy=energy)(weights, Context())["t"].value
    assert value.rank == rank


def test_energy_counts_by_reads():
    # Unread, the large row is worth a hundredth of the mean reads: 64 * .125 * .01 against 4 * 1.
    context = Context({"item": np.array([0, 1, 0, 0, 0, 0, 0, 0])})
    value = Factorize("t", energy=0.9)(diagonal(8, 2), context)["t"].value
    assert value.rank == 1
    assert abs(value.decode()[1, 1] - 2) < 0.01
    assert Factorize("t", energy=0.99)(diagonal(8, 2), context)["t"].value.rank == 2


def test_the_rank_that_bytes_allow():
    # Eight rows and eight columns: 64 bytes a rank.
    for size, rank in ((64, 1), (127, 1), (128, 2)):
        value = Factorize("t", bytes=size)(diagonal(3, 2, 1), Context())["t"].value
        assert (value.rank, value.nbytes) == (rank, 64 * rank)
    with pytest.raises(RecpruneError, match=r"'t': rank 1 of a matrix of \(8, 8\) takes 64 bytes, not 63"):
        Factorize("t", bytes=63)(diagonal(3), Context())
    whole = diagonal(3)
    assert Factorize("t", bytes=600)(whole, Context())["t"].value is whole["t"].value


def test_kept_rows_stay_the_kept_ones():
    rng = np.random.default_rng(0)
    stored = (rng.normal(size=(9, 1)) @ rng.normal(size=(1, 8))).astype(np.float32)
    value = Rows.encode(np.arange(30) < 8, Dense(stored), 8)
    found = Factorize("t", 1)(Weights({"t": Param(("item", "f"), value)}), Context())["t"].value
    assert isinstance(found, Rows)
    np.testing.assert_allclose(found.decode(), value.decode(), atol=1e-4)


# drop_weights


def test_the_largest_values_stay_and_are_stored_sparse():
    table = np.arange(1, 801, dtype=np.float32).reshape(100, 8) * np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
    weights = Weights({"t": Param(("item", "f"), Dense(table))})
    value = DropWeights("t", 0.02)(weights, Context())["t"].value
    expected = np.where(np.abs(table) > 784, table, 0)  # 16 of 800
    assert isinstance(value, Sparse)
    assert np.array_equal(value.decode(), expected)
    # 256 levels; a byte a value; its place in log2(800 / 16) = 5 low bits and a one and 800 / 32 zeros of the upper part.
    assert value.nbytes == 256 * 4 + 16 + 10 + (16 + 24 + 7) // 8


def test_of_equal_values_the_first_stay():
    weights = Weights({"t": Param(("item", "f"), Dense(np.ones((100, 8), np.float32)))})
    value = DropWeights("t", 0.01)(weights, Context())["t"].value
    assert np.array_equal(value.decode(), (np.arange(800) < 8).reshape(100, 8))


def test_a_matrix_that_sparse_makes_larger_keeps_all_its_values():
    # The levels alone are 1024 bytes.
    small = Weights({"t": Param(("item", "f"), dense(np.eye(8)))})
    assert DropWeights("t", 0.1)(small, Context())["t"].value is small["t"].value
    # Of 4-bit codes, half the values at 8 bits and their places are more.
    codes = Quantized.encode(np.random.default_rng(0).normal(size=(1000, 8)), 4)
    coded = Weights({"t": Param(("item", "f"), codes)})
    assert DropWeights("t", 0.5)(coded, Context())["t"].value is codes
    with pytest.raises(
        RecpruneError, match=r"drop_weights cannot act on 'hidden\.bias': it is no matrix; matrices are: us"
    ):
        DropWeights("*", 0.1)(like().weights, Context())


def test_kept_rows_and_factors_lose_values_too():
    rng = np.random.default_rng(0)
    left = Rows.encode(np.arange(3000) < 1999, Dense(rng.normal(size=(2000, 4)).astype(np.float32)), 1999)
    weights = Weights({"t": Param(("item", "f"), LowRank(left, Dense(np.eye(4, dtype=np.float32))))})
    value = DropWeights("t", 0.1)(weights, Context())["t"].value
    assert np.count_nonzero(value.left.inner.decode()) == 800
    assert value.shape == (3000, 4)
    assert isinstance(value.right, Dense)


# codebook


def test_pieces_have_books_of_their_own():
    # Every pair of four halves: 16 different rows, which one book of two bits cannot tell apart.
    halves = np.array([[0, 1], [2, 3], [4, 5], [6, 7]], np.float32)
    table = np.array([[*a, *b] for a in halves for b in halves] * 4)
    weights = Weights({"t": Param(("item", "f"), dense(table))})
    value = Codebook("t", 2, parts=2)(weights, Context())["t"].value
    assert np.array_equal(value.decode(), table)
    # Two codes of two bits a row; two books of four words of two float16.
    assert value.nbytes == 64 * 4 // 8 + 2 * 4 * 2 * 2
    single = Codebook("t", 2)(weights, Context())["t"].value
    # The best that four words can do: one for each quarter of the grid, off by one in every column.
    assert np.array_equal(np.abs(single.decode() - table), np.ones_like(table))
    # A table of one column has one piece.
    narrow = Weights({"t": Param(("item", "f"), dense(table[:, :1]))})
    assert Codebook("t", 2, parts=2)(narrow, Context())["t"].value.nbytes == 64 * 2 // 8 + 4 * 2


def test_what_has_no_rows_to_code_is_named():
    with pytest.raises(RecpruneError, match=r"codebook cannot act on 'hidden\.bias': it is no table; tables are: user"):
        Codebook("hidden.bias")(like().weights, Context())


@pytest.mark.parametrize("step", [Codebook("*"), Mixed("*", (0.5, 0.5), (1, 1)), Share("*", 0.2, 2)])
def test_values_that_no_word_holds_are_named_with_their_parameter(step):
    weights = Weights({"counts": Param(("item", "f"), dense(np.full((50, 4), 1e6)))})
    with pytest.raises(RecpruneError, match=r"'counts': .* above 60000"):
        step(weights, Context({"item": np.ones(50)}))


# quantize


def test_a_narrow_table_is_left_alone_where_it_would_grow():
    # One column: a code and a scale a row are 3 bytes for 2 of float16, and 3 for 4 of float32.
    narrow = Weights({"t": Param(("item", "f"), Dense(np.ones((9, 1), np.float16)))})
    assert Quantize("t", 8)(narrow, Context())["t"].value is narrow["t"].value
    shared = Quantize("t", 8, "per_group", 9)(narrow, Context())["t"].value
    assert shared.nbytes == 9 + 2
    wide = Weights({"t": Param(("item", "f"), Dense(np.ones((9, 1), np.float32)))})
    assert Quantize("t", 8)(wide, Context())["t"].nbytes == 9 * 3


def test_the_values_inside_are_quantized_and_fewer_bits_win():
    rng = np.random.default_rng(0)
    value = Rows.encode(np.arange(30) < 8, LowRank.encode(rng.normal(size=(9, 20)), 4), 8)
    weights = Weights({"t": Param(("item", "f"), value)})
    eight = Quantize("t", 8)(weights, Context())
    inner = eight["t"].value.inner
    assert isinstance(inner.left, Quantized)
    assert isinstance(inner.right, Quantized)
    four = Quantize("t", 4)(eight, Context())
    assert four.nbytes < eight.nbytes < weights.nbytes
    assert Quantize("t", 8)(four, Context()).nbytes == four.nbytes


def test_values_that_have_no_code_are_named_with_their_parameter():
    weights = Weights({"counts": Param(("item", ""), dense([[1], [1e6]]))})
    with pytest.raises(RecpruneError, match="'counts': cannot quantize values above 60000"):
        Quantize("*", 8)(weights, Context())


def test_one_bit_is_the_sign_and_the_mean_magnitude():
    weights = Weights({"t": Param(("item", "f"), dense([[1, -3] * 8, [2, 2] * 8, [0, 0] * 8]))})
    value = Quantize("t", 1)(weights, Context())["t"].value
    # 16 signs and a float16 a row: 4 bytes for 64.
    assert value.nbytes == 3 * 4
    assert value.decode()[:, :2].tolist() == [[2, -2], [2, 2], [0, 0]]


# cast


def test_half_the_bytes_and_half_a_step():
    values = np.array([[1 + 2**-11, 1 + 2**-8], [0, -70000]], np.float32)
    weights = Weights({"t": Param(("item", "f"), Dense(values))})
    found = Cast("t", "bfloat16")(weights, Context())["t"]
    # Ties go to the even neighbour; 70000 lies between 69632 and 70144.
    assert found.value.decode().tolist() == [[1, 1], [0, -70144]]
    assert found.nbytes == 8
    with pytest.raises(
        RecpruneError, match="cast cannot act on 't': its largest value is 70000, float16 ends at 65504"
    ):
        Cast("t")(weights, Context())
    found = Cast("t")(Weights({"t": Param(("item", "f"), Dense(values[:1]))}), Context())["t"]
    assert found.value.decode().tolist() == [[1, 1 + 2**-8]]
    assert found.nbytes == 4


def test_what_is_stored_smaller_is_not_cast():
    rng = np.random.default_rng(0)
    weights = Weights({"t": Param(("item", "f"), LowRank.encode(rng.normal(size=(9, 20)), 4))})
    half = Cast("t")(weights, Context())
    assert half.nbytes == weights.nbytes // 2
    for step in (Cast("t"), Cast("t", "bfloat16")):
        assert step(half, Context()).nbytes == half.nbytes
    codes = Quantize("t", 8)(weights, Context())
    assert Cast("t")(codes, Context()).nbytes == codes.nbytes


# retrain


def test_the_trainer_gets_the_settings():
    seen = {}

    def trainer(weights, settings, say):
        seen.update(settings)
        say("trained")
        return weights

    lines = []
    weights = like().weights
    assert Retrain(3, 0.01, 0.25)(weights, Context(trainer=trainer, say=lines.append)) is weights
    assert seen == {"epochs": 3, "lr": 0.01, "distill": 0.25}
    assert lines == ["trained"]
    with pytest.raises(RecpruneError, match="retrain needs training data"):
        Retrain()(weights, Context())
