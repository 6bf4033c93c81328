"""Every importance on units of which everything is known."""

import numpy as np
import pytest

from recprune.context import ByClass, Context
from recprune.errors import RecpruneError
from recprune.pruning.importance import (
    IMPORTANCES,
    Units,
    activation,
    chi_squared,
    magnitude,
    mutual_information,
    popularity,
    random,
    taylor,
)
from recprune.pruning.methods import DropAxis, DropRows
from recprune.weights import Dense, Param, Weights


class Known:
    """A calibration that says what it is told to."""

    def __init__(self, gradients=None, inputs=None):
        self.given, self.seen = gradients or {}, inputs or {}

    def gradients(self, weights):
        return self.given

    def inputs(self, weights):
        return {name: np.asarray(values) for name, values in self.seen.items()}


def dense(values):
    return Dense(np.array(values, np.float32))


def model():
    return Weights(
        {
            "table": Param(("item", "f"), dense([[1, 0], [3, 4], [0, 2]]), (2,)),
            "in": Param(("hidden", "f"), dense([[1, 2], [0, 0], [3, 0]])),
            "bias": Param(("hidden",), dense([2, 0, 4])),
            "out": Param(("logit", "hidden"), dense([[1, 5, 2]])),
        }
    )


READS = {"item": np.array([6, 2, 0])}


def test_taylor_of_rows_is_gradient_times_distance_to_the_shared_row():
    # The mean by reads is (6 * 1 + 2 * 3, 2 * 4) / 8 = (1.5, 1): distances (-.5, -1), (1.5, 3), (-1.5, 1).
    context = Context(READS, calibration=Known({"table": [[2, 1], [2, -1], [0, 0]]}))
    assert taylor(Units.rows(model(), "table"), context).tolist() == [2, 0, 0]


def test_taylor_of_neurons_adds_what_makes_and_what_reads_them():
    gradients = {"in": [[1, 0], [9, 9], [0, 9]], "bias": [1, 9, -1], "out": [[1, 0, -1]]}
    context = Context(READS, calibration=Known(gradients))
    # 1 + 2 + 1; all weights and so all products but 5 * 0 are zero; 0 - 4 - 2.
    assert taylor(Units.along(model(), "hidden"), context).tolist() == [4, 0, 6]


def test_taylor_says_what_it_lacks():
    with pytest.raises(RecpruneError, match="taylor needs gradients; give data"):
        taylor(Units.rows(model(), "table"), Context(READS))
    with pytest.raises(RecpruneError, match="'table' is not trained; those that are: in"):
        taylor(Units.rows(model(), "table"), Context(READS, calibration=Known({"in": []})))


def test_activation_of_rows_columns_and_neurons():
    # A row is read 6, 2 and 0 times of 8; squared norms 1, 25, 4.
    assert activation(Units.rows(model(), "table"), Context(READS)).tolist() == [0.75, 6.25, 0]
    # Columns: (6 * 1 + 2 * 9) / 8 and (2 * 16) / 8.
    assert activation(Units.along(model(), "f"), Context(READS)).tolist() == [3, 4]
    context = Context(READS, calibration=Known(inputs={"in": [7, 7], "out": [5, 0, 2]}))
    assert activation(Units.along(model(), "hidden"), context).tolist() == [5, 0, 2]
    with pytest.raises(RecpruneError, match="activation of 'hidden' needs data"):
        activation(Units.along(model(), "hidden"), Context(READS))
    with pytest.raises(RecpruneError, match="no linear layer reads it"):
        activation(Units.along(model(), "logit"), Context(READS, calibration=Known()))


def test_random_is_the_seeds_and_the_tables():
    rows = Units.rows(model(), "table")
    first = random(rows, Context(seed=1))
    assert (first == random(rows, Context(seed=1))).all()
    assert (first != random(rows, Context(seed=2))).all()
    assert (first != random(Units.along(model(), "hidden"), Context(seed=1))).all()
    assert ((first >= 0) & (first < 1)).all()


def test_columns_have_no_popularity_but_a_magnitude():
    with pytest.raises(RecpruneError, match="no reads were counted for axis 'hidden'"):
        popularity(Units.along(model(), "hidden"), Context(READS))
    # 1 + 4 + 4 + 1 and 0 + 0 + 0 + 25 and 9 + 0 + 16 + 4.
    np.testing.assert_allclose(magnitude(Units.along(model(), "hidden"), Context()) ** 2, [10, 25, 29])


def test_a_composite_axis_is_split_into_its_units():
    weights = Weights({"out": Param(("", "field*f"), dense([[1, 2, 3, 4, 5, 6]]))}, {"field": 3, "f": 2})
    assert [v.tolist() for _, _, v in Units.along(weights, "f").values()] == [[[1, 3, 5], [2, 4, 6]]]
    assert [v.tolist() for _, _, v in Units.along(weights, "field").values()] == [[[1, 2], [3, 4], [5, 6]]]


@pytest.mark.parametrize("name", IMPORTANCES)
def test_rows_and_neurons_are_dropped_by_any(name):
    gradients = {n: np.ones(p.shape) for n, p in model().items()}
    by_class = {"item": ByClass(np.array([[3, 1], [2, 2], [0, 0]]), np.array([4, 4]))}
    context = Context(READS, by_class=by_class, calibration=Known(gradients, {"out": [5, 0, 2]}))
    assert DropRows("table", {"uniform": 0.5}, name)(model(), context)["table"].value.mask().sum() == 2
    if name not in ("popularity", "chi_squared", "mutual_information"):
        cut = DropAxis("hidden", 0.6, name)(model(), context)
        assert cut["in"].shape == (2, 2)
        assert cut["out"].shape == (1, 2)
    with pytest.raises(RecpruneError, match="unknown importance"):
        DropAxis("hidden", 0.5, "taylo")


def test_how_far_words_and_classes_are_from_independent():
    # Four texts of each class. The first word is in 4 and 0 of them, the second in 2 and 2, the third in 3 and 1.
    counted = ByClass(np.array([[4, 0], [2, 2], [3, 1]]), np.array([4, 4]))
    units, context = Units.rows(model(), "table"), Context(by_class={"item": counted})
    # Of each cell 2 are expected: (4 - 2)^2 / 2 four times, nothing, and (3 - 2)^2 / 2 four times.
    assert chi_squared(units, context).tolist() == [8, 0, 2]
    # The first says the class: ln 2. The third: 6/8 ln 1.5 + 2/8 ln 0.5.
    expected = [np.log(2), 0, 0.75 * np.log(1.5) + 0.25 * np.log(0.5)]
    np.testing.assert_allclose(mutual_information(units, context), expected, atol=1e-12)
    with pytest.raises(RecpruneError, match=r"not counted by class \(counted: none\); give data with labels"):
        chi_squared(units, Context())
    with pytest.raises(RecpruneError, match="have shape"):
        chi_squared(units, Context(by_class={"item": ByClass(np.ones((2, 2)), np.array([4, 4]))}))
