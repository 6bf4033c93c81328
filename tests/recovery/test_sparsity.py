"""Training under a penalty: which units become zero, when, and what the rest learns."""

import numpy as np
import pytest
import torch
from torch import nn

from recprune import Recipe, RecpruneError, compress
from recprune.adapters.torch import Batches, TorchAdapter
from recprune.pruning.compress import plan
from recprune.pruning.methods import Sparsify
from recprune.recovery.finetune import finetune
from recprune.recovery.shrink import _Thresholds
from recprune.recovery.sparsity import PENALTIES, Part, Pool, Sparsity
from recprune.weights import Rows, Sparse
from tests.recovery.test_finetune import Scores, toward


def units_of_rows(rows=8, anchor=7, reads=None):
    number = np.where(np.arange(rows) == anchor, -1, np.cumsum(np.arange(rows) != anchor) - 1)
    part = Part("table.weight", 0, number, np.ones(rows) if reads is None else reads, anchor)
    return Pool((part,), rows - 1)


def test_the_schedule_by_hand():
    plan = Sparsity((), 0.5, "l1")
    # Half of three quarters: 1 - (1/2)^3 = 7/8 of the zeros are due, 1.75 of two.
    assert [plan.zeros(4, done) for done in (0, 0.375, 0.75, 1)] == [0, 1, 2, 2]
    assert [plan.zeros(1000, done) for done in (0.075, 0.15, 0.75)] == [135, 244, 500]
    assert not plan.reached(0.7)
    assert plan.reached(0.75)


@pytest.mark.parametrize(
    ("penalty", "wanted"),
    [("l1", [8 / 9, 0, 3 / 4, 15 / 16]), ("threshold", [8 / 9, 0, 3 / 4, 15 / 16]), ("l2", [1, 0.5, 1, 1])],
)
def test_proximal_steps_by_hand(penalty, wanted):
    plan, norms = Sparsity((), 0.5, penalty), np.array([3.0, 1, 2, 4])
    # One zero is due: the least strength that gives it is 1, and a norm n loses 1 / n of it.
    assert plan.factors(norms, 0.375).tolist() == pytest.approx(wanted)
    assert plan.factors(norms, 0.8).tolist() == [1, 0, 0, 1]
    assert plan.factors(norms, 0).tolist() == [1, 1, 1, 1]


def test_norms_count_entries_as_often_as_they_are_read():
    table = np.array([[3, 4], [6, 8], [9, 9], [0, 0]], np.float32)
    units = units_of_rows(4, 3, np.array([4, 1, 0, 7]))
    assert units.norms({"table.weight": table}).tolist() == [10, 10, 0]  # a row that nobody reads is the first to go
    # Measured from an anchor, zero is the anchor, which becomes the mean by reads of all that read it: of the first row,
    # read 4 times, half of the second, read once, and itself, read 7 times. A row of factor 1 keeps its bits.
    table += np.float32(0.1)
    scaled = units.scaled({"table.weight": table}, np.array([0.0, 0.5, 1.0]))["table.weight"]
    mean = np.array([(4 * 3 + 0.5 * 6) / 11.5 + 0.1, (4 * 4 + 0.5 * 8) / 11.5 + 0.1])
    np.testing.assert_allclose(scaled[[0, 3]], [mean, mean], rtol=1e-6)
    assert np.array_equal(scaled[0], scaled[3])
    assert np.array_equal(scaled[2], table[2])
    np.testing.assert_allclose(scaled[1], [3.1, 4.1], rtol=1e-6)
    # Units across two parameters: columns of a table and the bias that goes with them.
    both = Pool((Part("a", 1, np.array([0, -1, 1]), np.array([1.0, 3])), Part("b", 0, np.array([1, 0]), np.ones(1))), 2)
    arrays = {"a": np.array([[1, 9, 2], [1, 9, 2]], np.float32), "b": np.array([3, 2], np.float32)}
    assert both.norms(arrays).tolist() == [np.sqrt(1 + 3 + 4), np.sqrt(4 + 12 + 9)]
    assert both.scaled(arrays, np.array([0.0, 2.0]))["a"].tolist() == [[0, 9, 4], [0, 9, 4]]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_rows_that_want_the_same_become_one_that_learns_for_all(penalty):
    torch.manual_seed(0)
    wanted, batches = torch.tensor([10.0, 4, 4, 4, -6, 4, 4]), [torch.arange(7)] * 100
    model = finetune(Scores(8), batches, toward(wanted), epochs=2, lr=0.1)
    plan = Sparsity((units_of_rows(),), 2 / 7, penalty)
    # Row 7 is never read itself.
    tuned = finetune(model, batches, toward(wanted), epochs=4, lr=0.1, sparsity=plan)
    table = tuned.table.weight.detach()
    assert (table == table[7]).all(1).tolist() == [False, True, True, True, False, True, True, True]
    assert torch.allclose(table.sum(1)[:7], wanted, atol=0.1)


@pytest.mark.parametrize("sparse", [False, True])
def test_thresholds_follow_the_gradient(sparse):
    leaf = torch.tensor([[1.0, 2], [-1, 3], [5, 5]], requires_grad=True)
    grad = torch.tensor([[1.0, 1], [1, -3], [0, 0]])
    leaf.grad = grad.to_sparse(1) if sparse else grad
    learned = _Thresholds(Part("t", None, np.zeros(0, np.int64), np.ones(1)), leaf)
    learned.see_()
    # Gradient times value is [1, 2], [-1, -9], [0, 0]: larger values of row 0 cost, of row 1 they gain; row 2 was not read.
    rows, columns = np.array([0.1, -0.1, 0.0]), np.array([0.0, 0.1 * -7 / 11])
    np.testing.assert_allclose(np.log(learned.move_(6)), np.add.outer(rows, columns).reshape(-1), atol=1e-6)
    # Nothing seen since, nothing moved since. Rows of an anchor are measured from it.
    np.testing.assert_allclose(np.log(learned.move_(6)), np.add.outer(rows, columns).reshape(-1), atol=1e-6)
    rows_only = _Thresholds(Part("t", 0, np.array([1, 0, -1]), np.ones(1), anchor=2), leaf)
    rows_only.see_()
    # Gradient times distance: [-4, -3] and [-6, 6]; units are numbered the other way round.
    np.testing.assert_allclose(np.log(rows_only.move_(2)), [0, -0.1], atol=1e-6)


def test_zeros_that_are_not_there_yet_do_not_compete():
    torch.manual_seed(0)
    model, lines = Scores(8), []
    plan = Sparsity((units_of_rows(),), 2 / 7, "l1")
    # Training makes it ever worse on validation, so that the first epoch would be the best.
    loss = lambda m, rows: toward(torch.arange(7.0) if m.training else 0.0)(m, rows)  # noqa: E731
    tuned = finetune(
        model, [torch.arange(7)] * 50, loss, valid=[torch.arange(7)], epochs=4, lr=0.1, sparsity=plan,
        progress=lines.append,
    )  # fmt: skip
    losses = [float(line.split()[-1]) for line in lines]
    assert len(losses) == 4  # nothing is measured before: the model as it was is no choice
    assert int((tuned.table.weight == tuned.table.weight[7]).all(1).sum()) == 6
    assert float(loss(tuned.eval(), torch.arange(7)).detach()) == pytest.approx(min(losses[2:]), abs=1e-4)


def test_a_loss_that_is_not_finite_ends_it_and_the_step_still_keeps_its_promise():
    def failing(at):
        calls = []

        def loss(model, rows):
            calls.append(0)
            return toward(1.0 if len(calls) < at else float("nan"))(model, rows)

        return loss

    step = {"sparsify": {"target": "table.weight", "keep": 0.5, "epochs": 4, "lr": 0.1, "distill": 0}}
    recipe, lines = Recipe.from_json({"steps": [step]}), []
    with pytest.raises(RecpruneError, match="the loss is nan at step 3 of epoch 1"):
        compress(Scores(9), recipe, Batches([torch.arange(9)] * 5, failing(5 + 3)))  # reads are counted first
    small = compress(Scores(9), recipe, Batches([torch.arange(9)] * 5, failing(5 + 5 + 3)), say=lines.append)
    assert "the loss is nan at step 3 of epoch 2: stopped, the last good state is kept" in lines
    value = small.snapshot.weights["table.weight"].value
    assert isinstance(value, Rows)
    assert value.mask().sum() == 5  # half of eight, and the one that they share
    assert np.isfinite(value.decode()).all()


class Tower(nn.Module):
    """A table, a hidden layer, a score."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(30, 6)
        self.hidden = nn.Linear(6, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, rows):
        return self.out(torch.relu(self.hidden(self.table(rows))))[:, 0]


AXES = {
    "table.weight": ("row", "column"),
    "hidden.weight": ("hidden", "column"),
    "hidden.bias": ("hidden",),
    "out.weight": ("score", "hidden"),
    "out.bias": ("score",),
}
BATCHES = [torch.arange(30)] * 60


@pytest.mark.parametrize("penalty", ["l1", "l2"])
@pytest.mark.parametrize("axis", ["hidden", "column"])
def test_columns_and_neurons_are_cut_and_the_rest_makes_up_for_them(axis, penalty):
    torch.manual_seed(1)
    wanted = torch.linspace(-1, 1, 30)
    model = finetune(Tower(), BATCHES, toward(wanted), epochs=2, lr=0.03)
    step = Sparsify(axis, 0.5, "axis", penalty, epochs=4, lr=0.03, distill=0)
    # `compress` checks that what is cut can be cut.
    small = compress(model, Recipe((step,)), Batches(BATCHES, toward(wanted)), adapter=TorchAdapter(axes=AXES))
    size = {"hidden": 8, "column": 6}[axis]
    assert small.snapshot.weights.sizes[axis] == size // 2
    assert float(toward(wanted)(small.model, torch.arange(30)).detach()) < 0.01
    assert model.hidden.weight.shape == (8, 6)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_single_weights_are_stored_sparse(penalty):
    torch.manual_seed(2)
    # Every tenth row has something to say, so that a tenth of the entries is enough.
    wanted = torch.where(torch.arange(400) % 10 == 0, 3.0, 0.0)
    model = Scores(400)
    with torch.no_grad():
        model.table.weight.mul_(0.3)
    step = Sparsify("table.weight", 0.1, "weights", penalty, epochs=4, lr=0.1, distill=0)
    small = compress(model, Recipe((step,)), Batches([torch.arange(400)] * 40, toward(wanted)))
    value = small.snapshot.weights["table.weight"].value
    assert isinstance(value, Sparse)
    assert value.stored == 80
    assert set(np.flatnonzero(value.decode().any(axis=1)) % 10) == {0}
    assert float(toward(wanted)(small.model, torch.arange(400)).detach()) < 0.01


def test_a_plan_knows_the_bytes_without_training():
    recipe = Recipe((Sparsify("table.weight", 0.5, epochs=1, distill=0),))
    planned = plan(Scores(400), recipe)
    assert planned.size_bytes == compress(Scores(400), recipe, Batches([torch.arange(400)], toward(0.0))).size_bytes
    # Half of 399 rows, and the one that the others read, of 8 bytes; a bit for each row.
    assert planned.size_bytes == (200 + 1) * 8 + 400 // 8


def test_what_cannot_be_done_is_said():
    batches = Batches(BATCHES, toward(0.0))
    for step, message in (
        (Sparsify("hidden.bias", 0.5), "'hidden.bias' has no rows to drop: it is no table; tables are: table.weight"),
        (Sparsify("hiden", 0.5, "axis"), "target 'hiden' matches no axis; axes are: column, hidden, row, score"),
        (Sparsify("hidden.bias", 0.5, "weights"), "'hidden.bias' has 1 axes; single weights are those of matrices"),
        (Sparsify("table", 0.5, "fields"), "matches no field; fields are: \\(none\\)"),
    ):
        with pytest.raises(RecpruneError, match=message):
            compress(Tower(), Recipe((step,)), batches, adapter=TorchAdapter(axes=AXES))
    with pytest.raises(RecpruneError, match="sparsify needs training data"):
        compress(Tower(), Recipe((Sparsify("table.weight", 0.5),)))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("keep", 0, r"keep must be in \(0, 1\], got 0"),
        ("units", "row", "unknown units 'row'.*axis, fields, rows, weights"),
        ("penalty", "l3", "unknown penalty 'l3'.*l1, l2, threshold"),
        ("epochs", 0, "epochs must be a positive whole number, got 0"),
        ("lr", -1, "lr must be above 0, got -1"),
        ("distill", 2, r"distill must be in \[0, 1\], got 2"),
    ],
)
def test_fields_are_checked(field, value, message):
    with pytest.raises(RecpruneError, match=message):
        Sparsify(**{"target": "*", "keep": 0.5, field: value})


def test_thresholds_are_for_rows_and_weights():
    with pytest.raises(RecpruneError, match="thresholds are learned for rows and weights, not for axis"):
        Sparsify("*", 0.5, "axis", "threshold")
