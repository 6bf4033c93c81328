"""Axes of one name are one axis."""

import numpy as np
import pytest

from recprune.errors import RecpruneError
from recprune.weights import Dense, Param, Weights, match


def param(axes, *shape, **more):
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return Param(axes, Dense(values), **more)


def model():
    """Two tables of different width into a layer, by concatenation and flattened (field * factor)."""
    return Weights(
        {
            "user": param(("user", "u"), 4, 2, protected=(3,)),
            "book": param(("book", "b"), 3, 3, protected=(0, 2)),
            "deep": param(("hidden", "u+b+age"), 2, 6),
            "bias": param(("hidden",), 2),
            "flat": param(("out", "field*u"), 1, 6),
            "scale": param((), *()),
            "foreign": param(("", ""), 2, 2),
        },
        {"age": 1, "field": 3},
    )


def test_sizes_of_atomic_axes():
    sizes = {"age": 1, "field": 3, "user": 4, "u": 2, "book": 3, "b": 3, "hidden": 2, "out": 1}
    assert model().sizes == sizes
    assert model().nbytes == 4 * (8 + 9 + 12 + 2 + 6 + 1 + 4)
    assert model().tables("user") == ["user"]
    assert model().tables("") == ["foreign"]
    assert model().atoms()["u"] == ["user", "deep", "flat"]
    assert "" not in model().atoms()


def test_a_cut_reaches_every_place_of_the_axis():
    cut = model().cut("u", np.array([1]))
    assert cut["user"].value.decode().tolist() == [[1], [3], [5], [7]]
    # hidden x (u0 u1 b0 b1 b2 age): u1, all b and age stay.
    assert cut["deep"].value.decode().tolist() == [[1, 2, 3, 4, 5], [7, 8, 9, 10, 11]]
    # field * factor, the factor fastest: positions 1, 3, 5, never a block of neighbours.
    assert cut["flat"].value.decode().tolist() == [[1, 3, 5]]
    assert cut.sizes["u"] == 1
    assert cut["book"] is not None
    assert cut["bias"].shape == (2,)


def test_a_cut_of_the_slow_axis_takes_whole_blocks():
    cut = model().cut("field", np.array([0, 2]))
    assert cut["flat"].value.decode().tolist() == [[0, 1, 4, 5]]


def test_a_cut_of_an_axis_that_is_only_in_a_composite():
    assert model().cut("age", np.zeros(0, np.int64))["deep"].shape == (2, 5)


def test_rows_keep_their_meaning_when_they_move():
    cut = model().cut("book", np.array([2, 1, 0]))
    assert cut["book"].value.decode()[:, 0].tolist() == [6, 3, 0]
    assert cut["book"].protected == (0, 2)
    assert model().cut("book", np.array([1, 2]))["book"].protected == (1,)


def test_to_nothing_and_the_input_stays_as_it_was():
    weights = model()
    cut = weights.cut("u", np.zeros(0, np.int64))
    assert cut["user"].shape == (4, 0)
    assert cut["flat"].shape == (1, 0)
    assert weights["user"].shape == (4, 2)


def test_an_axis_twice_in_one_array():
    square = Weights({"w": param(("f", "f"), 3, 3), "outer": param(("f*f",), 9)})
    cut = square.cut("f", np.array([0, 2]))
    assert cut["w"].value.decode().tolist() == [[0, 2], [6, 8]]
    assert cut["outer"].value.decode().tolist() == [0, 2, 6, 8]


def test_positions_of_one_part_only():
    weights = model()
    assert weights.positions("u+b+age", "b", np.array([1])).tolist() == [0, 1, 3, 5]
    assert weights.positions("u+b+age", "b", np.array([1]), only=True).tolist() == [3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: param(("a",), 2, 3), "do not name the 2 axes"),
        (lambda: param("ab", 2, 3), "tuple of names"),
        (lambda: param((1, 2), 2, 3), "tuple of names"),
        (lambda: param(("a", "b"), 2, 3, protected=(2,)), "not within 2 rows"),
        (lambda: param(("a", "b"), 2, 3, protected=(-1,)), "not within 2 rows"),
        (lambda: param(("a", "b"), 2, 3, protected=("1",)), "not within 2 rows"),
        (lambda: Weights({"x": param(("a",), 2), "y": param(("a",), 3)}), "'a' has size 2, but 3 in parameter 'y'"),
        (lambda: Weights({"x": param(("a",), 2)}, {"a": 3}), "'a' has size 3, but 2 in parameter 'x'"),
        (lambda: Weights({"x": param(("a+b",), 2)}, {"a": 1}), "'b' in 'a\\+b' of 'x' has no size"),
        (lambda: Weights({"x": param(("a+b",), 3)}, {"a": 1, "b": 1}), "has size 3, its parts 2"),
        (lambda: Weights({"x": param(("a*b",), 5)}, {"a": 2, "b": 3}), "has size 5, its parts 6"),
        (lambda: Weights({}, {"a": -1}), "counts"),
        (lambda: Weights({}, {"a": "3"}), "counts"),
        (lambda: model().cut("v", np.array([0])), "axis 'v' is in no parameter; axes are: age, b, book"),
        (lambda: model().cut("u", np.array([2])), r"within 0\.\.1"),
        (lambda: model().cut("u", np.array([-1])), r"within 0\.\.1"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(RecpruneError, match=message):
        make()


def test_targets():
    assert model().match("*") == list(model())
    assert model().match("b*") == ["book", "bias"]
    assert model().match("bias, user") == ["user", "bias"]


def test_a_target_that_matches_nothing_lists_what_there_is():
    with pytest.raises(RecpruneError) as error:
        model().match("itm*")
    assert str(error.value) == (
        "target 'itm*' matches no parameter; parameters are: user, book, deep, bias, flat, scale, foreign"
    )
    with pytest.raises(RecpruneError, match="'x' matches"):
        model().match("user,x")
    with pytest.raises(RecpruneError, match="axes are: u"):
        match("w", ["u"], "axis")
    with pytest.raises(RecpruneError, match="a pattern"):
        model().match(5)


def test_another_encoding_must_fit_too():
    weights = model().replace("bias", Dense(np.zeros(2, np.float16)))
    assert weights["bias"].nbytes == 4
    assert weights["bias"].axes == ("hidden",)
    with pytest.raises(RecpruneError, match="'hidden' has size 2, but 3"):
        model().replace("bias", Dense(np.zeros(3, np.float32)))
