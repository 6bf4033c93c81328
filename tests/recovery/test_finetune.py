"""Retraining of rebuilt models: what moves, what stays, and what is stored."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from recprune.adapters.compact import CompactTensor
from recprune.adapters.torch import Batches, TorchAdapter
from recprune.bits import pack
from recprune.errors import RecpruneError
from recprune.recovery.finetune import _rows, finetune, trainable
from recprune.weights import Codebook, Columns, Dense, LowRank, Quantized, Rows
from tests.adapters.foreign import NAMES, model_and_input
from tests.adapters.test_torch import MATRIX, encoded, outputs


class Scores(nn.Module):
    """A score for each row: the sum of its two columns."""

    def __init__(self, rows=6, padding=None):
        super().__init__()
        self.table = nn.Embedding(rows, 2, padding_idx=padding)

    def forward(self, rows):
        return self.table(rows).sum(-1)


def with_table(encoding, **settings):
    model = Scores(encoding.shape[0], **settings)
    weights = TorchAdapter().read(model).weights
    return TorchAdapter().rebuild(model, weights.replace("table.weight", encoding))


def toward(target):
    return lambda model, rows: (model(rows) - target).square().mean()


def table(model):
    return model.table.weight.decode()


KEPT = np.array([True, True, False, True, False, False])


def rows_table(inner=Dense):
    return Rows.encode(KEPT, inner(np.array([[1, 1], [2, 2], [3, 3], [0, 0]], np.float32)), 3)


def test_the_shared_row_learns_for_all_that_read_it():
    model = with_table(rows_table())
    tuned = finetune(model, [torch.tensor([2, 4])] * 80, toward(8.0), epochs=5, lr=0.2)
    got = table(tuned)
    # Only dropped rows are read: their one row goes to 4 + 4, what is kept stays.
    assert torch.allclose(got[~KEPT], torch.tensor(4.0), atol=1e-2)
    assert got[KEPT].tolist() == [[1, 1], [2, 2], [3, 3]]
    assert tuned.table.weight.size_bytes == model.table.weight.size_bytes
    assert table(model)[2].tolist() == [0, 0]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_codes_learn_through_their_rounding(bits):
    encoding = Quantized.encode(np.array([[1, -1], [2, 2], [-1, -2]], np.float32), bits)
    model = with_table(encoding)
    batches = [torch.arange(3)] * 60
    wanted = torch.tensor([3.0, -2.0, 0.0])
    tuned = finetune(model, batches, toward(wanted), epochs=8, lr=0.05)
    first, last = (float(toward(wanted)(m, batches[0])) for m in (model, tuned))
    # At 8 bits the sums come within a step; at fewer bits the two codes of a row still share one scale.
    assert last < {2: 0.5, 3: 0.2, 4: 0.05, 8: 0.001}[bits] < first
    assert tuned.table.weight.encoding().bits == bits


def test_a_word_learns_for_all_rows_that_have_it():
    # Rows 0 and 1 share a word whose columns sum to 0, row 2 has one that sums to 4.
    book = Codebook(pack(np.array([0, 0, 1]), 1), np.array([[1, -1], [2, 2]], np.float16), 1, 3)
    model = with_table(book)
    tuned = finetune(model, [torch.arange(3)] * 80, toward(torch.tensor([3.0, 5.0, -2.0])), epochs=5, lr=0.2)
    # The sum is to be 4, in the middle of 3 and 5, for the first, and -2 for the second; who has which word stays.
    torch.testing.assert_close(tuned(torch.arange(3)), torch.tensor([4.0, 4.0, -2.0]), atol=0.02, rtol=0)
    stored = tuned.table.weight.encoding()
    assert stored.codes.tolist() == book.codes.tolist()
    assert stored.words.dtype == np.float16
    assert table(tuned).tolist() == stored.decode().tolist()
    assert tuned.table.weight.size_bytes == model.table.weight.size_bytes


def test_words_stay_within_what_sixteen_bits_hold():
    model = with_table(Codebook.encode(np.array([[60_000, 0], [0, 0]], np.float32), 1))
    leaves, close = trainable(model)
    with torch.no_grad():
        leaves["table.weight"][0].mul_(10)
    assert model(torch.arange(2)).max().item() == 65_504
    close()
    assert float(table(model).max()) == 65_504


@pytest.mark.parametrize(
    "make",
    [
        lambda array: Quantized.encode(array, 3),
        lambda array: Codebook.encode(array, 3),
        lambda array: Columns(tuple(Codebook.encode(array[:, [i]], 2) for i in range(2))),
    ],
)
def test_what_is_trained_is_what_is_stored(make):
    torch.manual_seed(0)
    model = with_table(make(np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)))
    leaves, close = trainable(model)
    with torch.no_grad():
        for leaf in leaves["table.weight"]:
            leaf.add_(0.3 * torch.randn(leaf.shape))
    rows = torch.arange(50)
    seen = model(rows).detach()
    close()
    assert torch.equal(model(rows), seen)
    assert not model(rows).requires_grad


def test_the_factors_of_a_product_learn():
    rng = np.random.default_rng(0)
    product = LowRank(
        Dense(rng.normal(size=(6, 1)).astype(np.float32)), Dense(rng.normal(size=(1, 2)).astype(np.float32))
    )
    tuned = finetune(with_table(product), [torch.arange(6)] * 100, toward(torch.arange(6.0)), epochs=5, lr=0.1)
    # Scores 0..5 are a matrix of rank one: left 0..5 times any right that sums to one.
    assert torch.allclose(tuned(torch.arange(6)), torch.arange(6.0), atol=0.05)
    assert tuned.table.weight.encoding().rank == 1


def test_padding_and_frozen_rows_do_not_move():
    model = with_table(rows_table(), padding=1)
    tuned = finetune(model, [torch.tensor([0, 1, 2])] * 20, toward(9.0), epochs=2, lr=0.1)
    assert table(tuned)[1].tolist() == [2, 2]
    assert table(tuned)[0, 0] > 1.5
    frozen = Scores()
    frozen.table.weight.requires_grad_(False)
    weights = TorchAdapter().read(frozen).weights
    rebuilt = TorchAdapter().rebuild(frozen, weights.replace("table.weight", rows_table()))
    with pytest.raises(RecpruneError, match="Scores has no parameter to train"):
        finetune(rebuilt, [torch.tensor([0])], toward(9.0))


def test_the_same_seed_gives_the_same_model_and_leaves_the_world_alone():
    model = with_table(rows_table()).train()
    batches = [torch.tensor([i % 6]) for i in range(20)]
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (finetune(model, batches, toward(2.0), lr=0.1, seed=seed) for seed in (1, 1, 2))
    assert torch.rand(1) == wanted
    assert torch.equal(table(first), table(second))
    assert not torch.equal(table(first), table(other))
    assert first.training
    assert all(p.grad is None for p in first.parameters())
    assert all(not p.requires_grad for p in first.parameters())


def test_a_loss_that_is_not_finite_stops_at_its_step():
    model = with_table(rows_table())
    with pytest.raises(RecpruneError, match=r"the loss is nan at step 1 of epoch 1; a smaller lr than 0.1"):
        finetune(model, [torch.tensor([0])], toward(float("nan")), lr=0.1)
    calls = []

    def later(model, rows):
        calls.append(0)
        return toward(8.0 if len(calls) < 8 else float("inf"))(model, rows)

    lines = []
    tuned = finetune(model, [torch.tensor([0])] * 5, later, epochs=4, lr=0.1, progress=lines.append)
    assert lines[-1] == "the loss is inf at step 3 of epoch 2: stopped, the last good state is kept"
    # One epoch of five steps has moved the row; the two steps after it are taken back.
    calls.clear()
    once = finetune(model, [torch.tensor([0])] * 5, lambda *x: toward(8.0)(*x), epochs=4, lr=0.1, valid=None)
    assert 1 < table(tuned)[0, 0] < table(once)[0, 0]
    assert torch.isfinite(table(tuned)).all()
    tuned.table.weight.copy_(torch.zeros(6, 2))  # closed: it can be written to again


@pytest.mark.parametrize(("at", "wanted"), [(1, 0), (2, 1)])
def test_a_validation_loss_that_is_not_finite_is_named_and_the_last_good_state_kept(at, wanted):
    model, calls, lines = with_table(rows_table()), [], []

    def loss(model, rows):  # of rows 0 in training, of rows 1 on validation: once before, and once an epoch
        calls.extend(rows.tolist())
        return toward(float("nan") if rows[0] and sum(calls) > at else 8.0)(model, rows * 0)

    given = {"valid": [torch.tensor([1])], "epochs": 4, "lr": 0.1, "progress": lines.append}
    tuned = finetune(model, [torch.tensor([0])] * 5, loss, **given)
    assert lines[-1] == f"the validation loss is nan after epoch {at}: stopped, the last good state is kept"
    assert sum("epoch " in line and "/4" in line for line in lines) == wanted
    assert bool(table(tuned)[0, 0] > table(model)[0, 0]) == bool(wanted)
    assert torch.isfinite(table(tuned)).all()


def test_a_gradient_that_is_not_finite_stops_too():
    def steep(model, rows):
        return (model(rows) - model(rows)).abs().sum().sqrt()  # 0, with the gradient 0 / 0

    with pytest.raises(RecpruneError, match="a gradient is not finite at step 1 of epoch 1"):
        finetune(with_table(rows_table()), [torch.tensor([0])], steep)


@pytest.mark.parametrize("inner", [Dense, lambda array: Quantized.encode(array, 4)], ids=["floats", "codes"])
def test_validation_chooses_the_epoch(inner):
    model = with_table(rows_table(inner))
    lines = []
    # Training pulls the score of row 0 from 2 up to 10; validation likes 3 best.
    tuned = finetune(
        model, [torch.tensor([0])] * 10, switching(10.0, 3.0), valid=[torch.tensor([0])], epochs=6, lr=0.1,
        progress=lines.append,
    )  # fmt: skip
    losses = [float(line.split()[-1]) for line in lines]
    assert len(losses) == 7
    # The best of them came neither first nor last, and is what is stored.
    assert min(losses) < min(losses[0], losses[-1]) - 0.1
    assert abs(float((tuned(torch.tensor([0])) - 3.0) ** 2) - min(losses)) < 1e-5
    # Where nothing is better than it was, nothing changes.
    same = finetune(model, [torch.tensor([0])] * 10, switching(10.0, 2.0), valid=[torch.tensor([0])], epochs=2, lr=0.5)
    assert torch.equal(table(same), table(model))


def test_validation_counts_rows_not_batches():
    lines = []
    # Three rows that score 2 and one that scores 0, where 3 is wanted: (3 x 1 + 9) / 4, however they are batched.
    valid = [(torch.tensor([0, 0, 0]),), (torch.tensor([2]),)]
    finetune(
        with_table(rows_table()), [(torch.tensor([0]),)], lambda m, batch: toward(3.0)(m, batch[0]), valid=valid,
        progress=lines.append,
    )  # fmt: skip
    assert lines[0] == "before: validation loss 3.00000"
    # The targets say how many rows there are; a batch without any tensor is one.
    assert _rows({"words": torch.zeros(9), "liked": torch.zeros(4), "scale": torch.tensor(1.0)}) == 4
    assert (_rows(torch.zeros(3, 2)), _rows(["a", {}])) == (3, 1)


def switching(train, valid):
    return lambda model, rows: toward(train if model.training else valid)(model, rows)


def test_a_teacher_pulls_the_student_to_its_outputs():
    teacher, model = Scores(), with_table(rows_table())
    with torch.no_grad():
        teacher.table.weight.copy_(torch.arange(12.0).reshape(6, 2))
    before = copy.deepcopy(teacher.state_dict())
    batches = [torch.arange(6)[KEPT]] * 60
    taught = finetune(model, batches, toward(0.0), teacher=teacher, distill=1.0, epochs=5, lr=0.3)
    # Rows 0, 1 and 3 of the teacher score 0 + 1, 2 + 3 and 6 + 7.
    assert torch.allclose(taught(batches[0]), torch.tensor([1.0, 5.0, 13.0]), atol=0.1)
    alone = finetune(model, batches, toward(0.0), teacher=teacher, distill=0.0, epochs=5, lr=0.3)
    assert torch.allclose(alone(batches[0]), torch.zeros(3), atol=0.1)
    assert torch.equal(teacher.table.weight, before["table.weight"])
    with pytest.raises(RecpruneError, match="never calls the model"):
        finetune(model, batches, lambda m, rows: m.table(rows).sum(), teacher=teacher)


def test_batches_and_settings_are_checked():
    model, rows = with_table(rows_table()), [torch.tensor([0])]
    for settings, message in (
        ({"epochs": 0}, "epochs must be 1 or more, got 0"),
        ({"lr": -1.0}, "lr must be above 0, got -1"),
        ({"distill": 2}, r"distill must be in \[0, 1\], got 2"),
    ):
        with pytest.raises(RecpruneError, match=message):
            finetune(model, rows, toward(0.0), **settings)
    with pytest.raises(RecpruneError, match="no batches"):
        finetune(model, [], toward(0.0))
    with pytest.raises(RecpruneError, match="number of batches"):
        finetune(model, iter(rows), toward(0.0))


@pytest.mark.parametrize("encode", ["rows of codes", "rows of words", "in pieces"])
@pytest.mark.parametrize("name", NAMES)
def test_every_foreign_model_learns_in_the_encoding_that_it_has(name, encode):
    model, args = model_and_input(name)
    wanted = [torch.zeros_like(output) for output in outputs(model, args)]
    before = copy.deepcopy(model.state_dict())

    def loss(model, batch):
        result = model(*batch)
        result = result if isinstance(result, tuple) else (result,)
        return sum((a - b).square().mean() for a, b in zip(result, wanted, strict=True))

    adapter = TorchAdapter()
    weights = encoded(adapter.read(model).weights, MATRIX[encode])
    context = adapter.context(model, Batches([args] * 8, loss), 0, lambda line: None)
    tuned = context.trainer(weights, {"epochs": 4, "lr": 0.02, "distill": 0.1}, lambda line: None)
    assert [(n, p.nbytes) for n, p in tuned.items()] == [(n, p.nbytes) for n, p in weights.items()]
    first, last = (float(loss(adapter.rebuild(model, w), args).detach()) for w in (weights, tuned))
    assert last < 0.8 * first
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    if name == "Raw":  # a statistic is no weight
        assert np.array_equal(tuned["stats"].value.decode(), weights["stats"].value.decode())
    if name == "Fused":  # running means follow the retrained layers
        assert not np.array_equal(tuned["tower.1.running_mean"].value.decode(), model.tower[1].running_mean.numpy())
    assert any(isinstance(t, CompactTensor) for t in adapter.rebuild(model, tuned).parameters())
