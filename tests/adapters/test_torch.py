"""Models of strangers, rebuilt around every encoding."""

import copy
import io
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recprune.adapters import adapter_for
from recprune.adapters.compact import CompactTensor
from recprune.adapters.torch import Batches, TorchAdapter
from recprune.errors import RecpruneError
from recprune.pruning import Recipe, compress
from recprune.pruning.importance import Units, importance_of
from recprune.weights import Bfloat16, Codebook, Columns, Dense, LowRank, Quantized, Rows, Stacked, Weights
from tests.adapters.foreign import NAMES, model_and_input, numbers


def rows_of(array, inner):
    """Two of three rows kept, the rest read the mean of what was dropped."""
    kept = np.arange(len(array)) % 3 != 1
    stored = np.concatenate([array[kept], array[~kept].mean(0, keepdims=True)])
    return Rows.encode(kept, inner(stored), int(kept.sum()))


def first_rows(array, inner):
    kept = np.arange(len(array)) < len(array) - 2
    return Rows.encode(kept, inner(np.concatenate([array[kept], array[-1:]])), int(kept.sum()))


def quantized(bits, granularity="per_row"):
    return lambda array: Quantized.encode(array, bits, granularity, 4)


def low_rank(array):
    return LowRank.encode(array, max(1, min(array.shape) // 2))


def small_low_rank(array):
    fresh = low_rank(array)
    return LowRank(quantized(8)(fresh.left.decode()), quantized(8)(fresh.right.decode()))


def stacked(array):
    third = len(array) // 3
    width = max(1, array.shape[1] // 2)
    return Stacked(
        (Dense(array[:third]), quantized(8)(array[third : 2 * third]), quantized(4)(array[2 * third :, :width]))
    )


def mixed_up(array):
    which = np.arange(len(array)) % 3
    return Stacked.encode(which, tuple(quantized(8)(array[which == i]) for i in range(3)))


def words(array):
    return Codebook.encode(array, 4)


def in_pieces(array):
    return Columns(tuple(Codebook.encode(part, 5) for part in np.array_split(array, 2, axis=1)))


def half(array):
    return Dense(array.astype(np.float16))


MATRIX = {
    "half": half,
    "bfloat16": Bfloat16.encode,
    **{f"{bits} bits": quantized(bits) for bits in (1, 2, 3, 4, 8)},
    **{g: quantized(4, g) for g in ("per_tensor", "per_column", "per_group")},
    "rows": lambda a: rows_of(a, half),
    "rows of codes": lambda a: rows_of(a, quantized(4)),
    "first rows": lambda a: first_rows(a, half),
    "rows of low rank": lambda a: rows_of(a, low_rank),
    "low rank": low_rank,
    "low rank of codes": small_low_rank,
    "stacked": stacked,
    "mixed up": mixed_up,
    "words": words,
    "in pieces": in_pieces,
    "rows of words": lambda a: rows_of(a, words),
}


def encoded(weights, encode):
    """Encode every parameter that the encoding can take and that gets smaller by it."""
    for name, param in weights.items():
        axes = len(param.shape)
        if (
            (axes == 2 and param.shape[0] > 3)
            or (axes > 2 and encode in (half, MATRIX["4 bits"]))
            or (axes == 1 and encode is half)
        ):
            value = encode(param.value.decode())
            if value.nbytes < param.nbytes:
                weights = weights.replace(name, value)
    return weights


def decoded(weights):
    for name, param in weights.items():
        weights = weights.replace(name, Dense(param.value.decode()))
    return weights


def outputs(model, args):
    with torch.no_grad():
        result = model(*args)
    return result if isinstance(result, tuple) else (result,)


def held(model):
    """Bytes of the memory behind all parameters and buffers: whole storages, each once."""
    tensors = []
    for tensor in (*model.parameters(), *model.buffers()):
        tensors += tensor.tensors().values() if isinstance(tensor, CompactTensor) else [tensor]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encode", MATRIX.values(), ids=list(MATRIX))
def test_a_rebuilt_model_is_the_model_with_decoded_weights(name, encode):
    model, args = model_and_input(name)
    before = copy.deepcopy(model.state_dict())
    adapter = TorchAdapter()
    weights = encoded(adapter.read(model).weights, encode)
    rebuilt, plain = adapter.rebuild(model, weights), adapter.rebuild(model, decoded(weights))

    assert type(rebuilt) is type(model)
    assert any(isinstance(tensor, CompactTensor) for tensor in rebuilt.state_dict().values())
    assert not any(isinstance(tensor, CompactTensor) for tensor in plain.state_dict().values())
    for _ in range(2):  # nothing that a call leaves behind changes the next one
        for got, wanted in zip(outputs(rebuilt, args), outputs(plain, args), strict=True):
            assert type(got) is torch.Tensor
            assert torch.allclose(got, wanted, atol=1e-5, rtol=1e-5)
    assert [n for n, _ in rebuilt.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert list(rebuilt.state_dict()) == list(model.state_dict())

    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    # Bitmaps of kept rows are held in whole words of eight bytes.
    expected = held(model) - adapter.read(model).weights.nbytes + weights.nbytes
    assert expected <= held(rebuilt) < expected + 8 * len(weights)
    assert held(rebuilt) < held(model)

    again = adapter.read(rebuilt).weights
    assert all(again[n].value.nbytes == param.nbytes for n, param in weights.items())
    file = io.BytesIO()
    torch.save(rebuilt.state_dict(), file)
    file.seek(0)
    other = adapter.rebuild(model, weights)
    for tensor in other.parameters():
        if isinstance(tensor, CompactTensor):
            tensor.copy_(torch.zeros(tensor.shape))
    other.load_state_dict(torch.load(file, weights_only=True))
    for got, wanted in zip(outputs(other, args), outputs(rebuilt, args), strict=True):
        assert torch.equal(got, wanted)


class Shared(nn.Module):
    """C2: one table of 100 rows of 8 serves the history and the item."""

    def __init__(self):
        super().__init__()
        self.history, self.item = nn.Embedding(100, 8), nn.Embedding(100, 8)
        self.item.weight = self.history.weight

    def forward(self, history, item):
        return (self.history(history).mean(1) * self.item(item)).sum(1)


def pruned(adapter, model, encode=MATRIX["rows of codes"]):
    return adapter.rebuild(model, encoded(adapter.read(model).weights, encode))


def test_a_tied_table_is_counted_once_and_stays_tied():
    model, adapter = Shared(), TorchAdapter()
    weights = adapter.read(model).weights
    assert list(weights) == ["history.weight"]
    assert weights.nbytes == 3200
    batch = (numbers(100, 6, 3), numbers(100, 6))
    data = Batches([batch] * 3, lambda model, batch: (model(*batch) - 1).square().mean())
    small = encoded(weights, MATRIX["rows of codes"])
    context = adapter.context(model, data, 0, lambda line: None)
    tuned = context.trainer(small, {"epochs": 2, "lr": 0.1, "distill": 0.5}, lambda line: None)
    assert tuned.nbytes == small.nbytes
    assert not np.array_equal(tuned["history.weight"].value.decode(), small["history.weight"].value.decode())

    rebuilt = adapter.rebuild(model, tuned)
    file = io.BytesIO()
    torch.save(rebuilt, file)
    file.seek(0)
    for other in (rebuilt, copy.deepcopy(rebuilt), torch.load(file, weights_only=False)):
        assert other.item.weight is other.history.weight
        assert adapter.read(other).weights.nbytes == small.nbytes
        other.item.weight.copy_(torch.ones(100, 8))
        assert other.history(torch.tensor([5])).allclose(torch.ones(8), atol=1e-3)


def test_two_parameters_over_one_memory_stay_so():
    model, adapter = Shared(), TorchAdapter()
    model.item.weight = nn.Parameter(model.history.weight.data)
    assert list(adapter.read(model).weights) == ["history.weight"]
    for encode in (MATRIX["8 bits"], lambda array: Dense(array)):
        rebuilt = adapter.rebuild(model, adapter.read(model).weights.replace("history.weight", encode(VALUES)))
        assert rebuilt.item.weight is not rebuilt.history.weight
        with torch.no_grad():
            rebuilt.item.weight.copy_(torch.zeros(100, 8))
        assert rebuilt.history.weight.abs().max() == 0


VALUES = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)


def test_names_axes_and_protected_rows():
    weights = {name: TorchAdapter().read(model_and_input(name)[0]).weights for name in NAMES}
    assert {n: p.axes for n, p in weights["Bags"].items()} == {
        "sum.weight": ("sum", ""),
        "mean.weight": ("mean", ""),
        "max.weight": ("max", ""),
    }
    assert weights["Tied"]["history.weight"].protected == (0,)
    assert weights["Bags"]["mean.weight"].protected == (3,)
    # A statistic is stored and read, but not trained; a number, a mask and offsets are left as they are.
    assert (weights["Raw"]["stats"].trained, weights["Raw"]["users"].trained) == (False, True)
    assert TorchAdapter().left_out(model_and_input("Raw")[0]) == {"temperature": "a single number"}
    assert "infinities" in TorchAdapter().left_out(model_and_input("Attention")[0])["mask"]
    assert "int64" in TorchAdapter().left_out(model_and_input("Fused")[0])["offsets"]
    declared = TorchAdapter(axes={"out.weight": ("item", "factor")}, protected={"item.weight": [7]})
    (param,) = declared.read(model_and_input("Tied")[0]).weights.values()
    assert (param.axes, param.protected) == (("item", "factor"), (0, 7))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_recipe_gives_an_equal_model_of_its_own_memory(name):
    model, args = model_and_input(name)
    rebuilt = TorchAdapter().rebuild(model, TorchAdapter().read(model).weights)
    for got, wanted in zip(outputs(rebuilt, args), outputs(copy.deepcopy(model), args), strict=True):
        assert torch.equal(got, wanted)
    assert type(rebuilt.state_dict()) is type(model.state_dict())
    theirs = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    assert theirs.isdisjoint(t.untyped_storage().data_ptr() for t in (*rebuilt.parameters(), *rebuilt.buffers()))
    assert [p.requires_grad for p in rebuilt.parameters()] == [p.requires_grad for p in model.parameters()]
    assert [type(b) for b in rebuilt.buffers()] == [type(b) for b in model.buffers()]


def test_a_float_checkpoint_is_stored_the_way_the_model_stores():
    model, args = model_and_input("Tied")
    adapter = TorchAdapter()
    rebuilt, wanted = pruned(adapter, model), pruned(adapter, model)
    with torch.no_grad():
        for parameter in rebuilt.parameters():
            parameter.zero_()
    size = adapter.read(rebuilt).weights.nbytes
    rebuilt.load_state_dict({name: tensor.clone() for name, tensor in plain_state(adapter, wanted).items()})
    assert adapter.read(rebuilt).weights.nbytes == size
    for got, expected in zip(outputs(rebuilt, args), outputs(wanted, args), strict=True):
        assert torch.allclose(got, expected, atol=1e-5)


def plain_state(adapter, model):
    return adapter.rebuild(model, decoded(adapter.read(model).weights)).state_dict()


@pytest.mark.parametrize("name", ["Recurrent", "Tied", "Attention"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_types_change_as_they_do_for_the_decoded_model(name, dtype, monkeypatch):
    # torch's fused encoder, which takes plain weights only, rounds bfloat16 elsewhere than its own plain code.
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)
    model, args = model_and_input(name)
    adapter = TorchAdapter()
    weights = encoded(adapter.read(model).weights, MATRIX["4 bits"])
    rebuilt, plain = adapter.rebuild(model, weights).to(dtype), adapter.rebuild(model, decoded(weights)).to(dtype)
    for got, wanted in zip(outputs(rebuilt, args), outputs(plain, args), strict=True):
        assert got.dtype == dtype
        assert torch.allclose(got, wanted, atol=1e-5)
    small = {name: t for name, t in rebuilt.named_parameters() if isinstance(t, CompactTensor)}
    assert small
    assert all(t.size_bytes == weights[name].nbytes for name, t in small.items())


def test_a_bfloat16_model_costs_two_bytes_a_value():
    model = Shared().bfloat16()
    weights = TorchAdapter().read(model).weights
    assert weights.nbytes == 1600
    rebuilt = TorchAdapter().rebuild(model, weights)
    assert torch.equal(rebuilt.item.weight, model.item.weight)
    assert rebuilt.item.weight.dtype == torch.bfloat16


class Hoarder(nn.Module):
    """Keeps its optimizer, outputs with their gradients, and outputs without."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(40, 4)
        self.constant = torch.arange(40.0)
        self.optimizer = torch.optim.Adam(self.parameters())
        self.kept = {"last": [None]}
        self.all_scores = None

    def forward(self, rows):
        if self.all_scores is None:
            self.all_scores = (self.table.weight.sum(1) + self.constant).detach()
        self.kept["last"][0] = self.table(rows)
        return self.all_scores[rows]


def test_what_training_left_behind_stays_behind():
    model = Hoarder()
    rows = torch.tensor([1, 2])
    model(rows)
    model.kept["last"][0].sum().backward()
    model.optimizer.step()
    adapter = TorchAdapter(caches=("all_scores",))
    weights = adapter.read(model).weights
    rebuilt = adapter.rebuild(model, weights.replace("table.weight", half(2 * weights["table.weight"].value.decode())))
    assert rebuilt.optimizer is None
    assert rebuilt.kept == {"last": [None]}
    assert rebuilt.all_scores is None
    assert rebuilt.table.weight.grad is None
    wanted = 2 * model.table.weight.sum(1) + model.constant
    assert torch.allclose(rebuilt(rows), wanted[rows], atol=1e-2)
    assert model.all_scores is not None
    assert model.table.weight.grad is not None
    assert set(adapter.left_out(model)) == {"constant"}


def test_reads_are_counted_by_row_wherever_they_happen():
    model, _ = model_and_input("Raw")
    adapter = TorchAdapter(
        axes={"users": ("user", ""), "items": ("item", ""), "bias": ("bias",), "stats": ("stat", "")}
    )
    before = copy.deepcopy(model.state_dict())
    user, item = torch.tensor([1, 1, 3]), torch.tensor([4, 0, 4])
    reads = adapter.count_reads(model, Batches([(user, item), {"user": user[:1], "item": item[:1]}]))
    assert reads["user"].tolist() == np.bincount([1, 1, 3, 1], minlength=30).tolist()
    # By index_select; the slices `[:5]` and `[-2:]` are no look-ups; and by number, `int(item[0])`, in each batch.
    assert reads["item"].tolist() == np.bincount([4, 0, 4, 4, 4, 4], minlength=50).tolist()
    assert reads["bias"].tolist() == reads["stat"].tolist() == np.bincount([4, 0, 4, 4], minlength=50).tolist()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_reads_of_bags_ties_and_fused_tables():
    bags, _ = model_and_input("Bags")
    flat, offsets = torch.tensor([1, 1, 2, 5]), torch.tensor([0, 1, 4])
    reads = TorchAdapter().count_reads(bags, Batches([(flat, offsets, torch.ones(4), torch.tensor([[1], [7]]))]))
    assert reads["sum"].nonzero()[0].tolist() == [1, 2, 5]
    assert reads["mean"][[1, 2, 5, 7]].tolist() == [3, 1, 1, 1]
    assert reads["max"].sum() == 2
    tied, _ = model_and_input("Tied")
    reads = TorchAdapter().count_reads(tied, Batches([(torch.tensor([[1, 2]]), torch.tensor([2]))]))
    assert {axis: counts[:4].tolist() for axis, counts in reads.items()} == {"history": [0, 1, 2, 0]}
    fused, _ = model_and_input("Fused")
    before = fused.table.weight.clone()
    reads = TorchAdapter().count_reads(fused.train(), Batches([torch.tensor([[0, 0, 0], [0, 1, 3]])]))
    assert reads["table"].nonzero()[0].tolist() == [0, 30, 31, 80, 83]
    assert reads["table"][0] == reads["bias"][0] == 2
    assert fused.training
    assert torch.equal(fused.table.weight, before)  # max_norm would have shortened its rows
    assert fused.tower[1].num_batches_tracked == 0


class Split(nn.Module):
    """Users and items in one raw table, looked up in its parts."""

    def __init__(self):
        super().__init__()
        self.all = nn.Parameter(torch.randn(10, 2))

    def forward(self, user, item):
        users, items = torch.split(self.all, [4, 6])
        return (users[user] * F.embedding(item, items)).sum(1)


def test_reads_of_parts_of_a_table_are_reads_of_its_rows():
    adapter = TorchAdapter(axes={"all": ("node", "")})
    reads = adapter.count_reads(Split(), Batches([(torch.tensor([3, -1]), torch.tensor([0, 5]))]))
    assert reads["node"].tolist() == [0, 0, 0, 2, 1, 0, 0, 0, 0, 1]


class Tower(nn.Module):
    """Fields flattened into a tower; `last` says which of field and factor varies fastest."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(9, 4), nn.Embedding(7, 4)
        self.hidden, self.norm, self.out = nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)
        self.gate = nn.Parameter(torch.randn(4))

    def forward(self, user, item):
        x = torch.stack([self.user(user) * self.gate, self.item(item)], 1).flatten(1)
        return self.out(torch.relu(self.norm(self.hidden(x))))


AXES = {
    "user.weight": ("user", "factor"),
    "item.weight": ("item", "factor"),
    "gate": ("factor",),
    "hidden.weight": ("neuron", "field*factor"),
    "hidden.bias": ("neuron",),
    **{f"norm.{n}": ("neuron",) for n in ("weight", "bias", "running_mean", "running_var")},
    "out.weight": ("", "neuron"),
}


def test_neurons_and_columns_are_cut_out_of_plain_modules():
    torch.manual_seed(0)
    model = Tower().eval()
    model.norm.running_mean.normal_()
    adapter = TorchAdapter(AXES, {"field": 2})
    data = [(torch.tensor([0, 8, 3]), torch.tensor([6, 1, 1]))]
    given = adapter.read(model).weights
    weights = given.cut("neuron", np.array([0, 2, 5])).cut("factor", np.array([1, 2]))
    adapter.check(model, weights, data)
    rebuilt = adapter.rebuild(model, weights)
    assert (rebuilt.hidden.in_features, rebuilt.hidden.out_features, rebuilt.out.in_features) == (4, 3, 3)
    assert (rebuilt.norm.num_features, rebuilt.user.embedding_dim, rebuilt.user.num_embeddings) == (3, 2, 9)
    assert held(rebuilt) == 4 * (9 * 2 + 7 * 2 + 2 + 3 * 4 + 3 + 4 * 3 + 3 + 1) + 8

    zeroed = Tower().eval()
    zeroed.load_state_dict(model.state_dict())
    with torch.no_grad():
        for table in (zeroed.user, zeroed.item):
            table.weight[:, [0, 3]] = 0
        zeroed.out.weight[:, [1, 3, 4]] = 0
    assert torch.allclose(rebuilt(*data[0]), zeroed(*data[0]), atol=1e-5)


def test_a_cut_along_axes_in_the_wrong_order_is_found():
    model = Tower().eval()
    adapter = TorchAdapter(AXES | {"hidden.weight": ("neuron", "factor*field")}, {"field": 2})
    weights = adapter.read(model).weights.cut("factor", np.array([1, 2]))
    data = Batches([(torch.tensor([0, 8, 3]), torch.tensor([6, 1, 1]))])
    adapter.rebuild(model, weights)(*data.batches[0])  # it runs, and is wrong
    with pytest.raises(RecpruneError, match=r"axis 'factor' cannot be cut: .* differ by"):
        adapter.check(model, weights, data)


def test_a_cut_that_the_model_does_not_run_with_is_found():
    model = Tower().eval()
    adapter = TorchAdapter(AXES, {"field": 2})
    weights = adapter.read(model).weights.cut("field", np.array([1]))
    with pytest.raises(RecpruneError, match="axis 'field' cannot be cut"):
        adapter.check(model, weights, [(torch.tensor([0]), torch.tensor([6]))])


@pytest.mark.parametrize(
    ("axes", "axis", "message"),
    [
        ({}, "user", "user .Embedding.: cutting its rows would renumber the ids; use drop_rows"),
        ({"hidden.weight": ("neuron", "")}, "neuron", r"hidden .Linear.: only weight was cut; declare"),
    ],
)
def test_cuts_that_do_not_fit_are_refused(axes, axis, message):
    adapter, model = TorchAdapter(axes), Tower()
    weights = adapter.read(model).weights.cut(axis, np.array([0, 1]))
    with pytest.raises(RecpruneError, match=message):
        adapter.rebuild(model, weights)


def test_a_module_with_sizes_of_its_own_is_not_cut():
    model, _ = model_and_input("Recurrent")
    adapter = TorchAdapter({"gru.weight_hh_l0": ("", "state")})
    weights = adapter.read(model).weights.cut("state", np.array([0, 1]))
    with pytest.raises(RecpruneError, match=r"gru \(GRU\) cannot be cut; .* can: Embedding"):
        adapter.rebuild(model, weights)


def test_errors_name_the_input_and_the_choices():
    model = Tower()
    with torch.no_grad():
        model.gate[1] = float("nan")
    with pytest.raises(RecpruneError, match="parameter 'gate': dense values hold NaN"):
        TorchAdapter().read(model)
    model = Tower()
    with pytest.raises(RecpruneError, match=r"unknown parameter 'user.weigth'; did you mean 'user.weight'"):
        TorchAdapter({"user.weigth": ("user", "")}).read(model)
    with pytest.raises(RecpruneError, match="parameter 'gate': axes"):
        TorchAdapter({"gate": ("a", "b")}).read(model)
    weights = TorchAdapter().read(model).weights
    with pytest.raises(RecpruneError, match="lack parameter 'gate' of Tower"):
        TorchAdapter().rebuild(model, Weights({n: p for n, p in weights.items() if n != "gate"}))
    with pytest.raises(RecpruneError, match="unknown parameter 'extra'"):
        TorchAdapter().rebuild(model, Weights({**weights, "extra": weights["gate"]}))
    with pytest.raises(RecpruneError, match="no parameter to compress"):
        TorchAdapter().read(nn.ReLU())
    with pytest.raises(RecpruneError, match="has no values yet"):
        TorchAdapter().read(nn.LazyLinear(3))
    with pytest.raises(RecpruneError, match="read only once"):
        Batches(x for x in range(3))
    with pytest.raises(RecpruneError, match="must be a list or a DataLoader, got int"):
        Batches([], valid=3)
    with pytest.raises(RecpruneError, match="loss must be a function"):
        Batches([], loss=3)
    locked = Tower()
    locked.lock = threading.Lock()
    with pytest.raises(RecpruneError, match="Tower cannot be copied: cannot pickle"):
        TorchAdapter().rebuild(locked, TorchAdapter().read(locked).weights)


def test_retraining_without_a_loss_says_what_it_lacks():
    adapter, model = TorchAdapter(), Shared()
    context = adapter.context(model, [(numbers(100, 2, 3), numbers(100, 2))], 0, lambda line: None)
    assert context.popularity["history"].sum() == 8
    with pytest.raises(RecpruneError, match="retraining needs a loss: give Batches"):
        context.trainer(adapter.read(model).weights, {"epochs": 1}, lambda line: None)
    assert adapter.context(model, None, 0, lambda line: None).trainer is None


class Scorer(nn.Module):
    """Sums the rows of a history that is padded with row 0."""

    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(300, 4, padding_idx=0)
        self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, history):
        return self.out(torch.relu(self.hidden(self.item(history).sum(1))))[:, 0]


SCORER = {
    "item.weight": ("item", "factor"),
    "hidden.weight": ("neuron", "factor"),
    "hidden.bias": ("neuron",),
    "out.weight": ("score", "neuron"),
    "out.bias": ("score",),
}


def scorer():
    torch.manual_seed(0)
    return Scorer().eval(), [numbers(300, 32, 5)]


@pytest.mark.parametrize(
    "step",
    [
        {"quantize": {"target": "item.weight", "bits": 2, "granularity": "per_column"}},
        {"codebook": {"target": "item.weight", "bits": 4}},
        {"mixed": {"target": "item.weight", "reads": [0.5, 0.5], "bits": [4, 2]}},
        {"fit_bytes": {"target": "item.weight", "bytes": 2400}},
    ],
    ids=lambda step: next(iter(step)),
)
def test_a_padded_history_scores_as_it_does_without_padding(step):
    model, data = scorer()
    small = compress(model, Recipe.from_json({"steps": [step]}), data)
    assert small.size_bytes == TorchAdapter().read(small.model).weights.nbytes < 2000
    padded = torch.zeros(1, 20, dtype=torch.long)
    padded[0, 0] = 7
    assert torch.equal(small.model.item(torch.tensor([0])), torch.zeros(1, 4))
    assert torch.allclose(small.model(padded), small.model(padded[:, :1]), atol=1e-6)


def test_reads_are_those_of_tables_and_layers_are_none():
    model, data = scorer()
    adapter = TorchAdapter(SCORER)
    assert {axis: counts.sum() for axis, counts in adapter.count_reads(model, Batches(data)).items()} == {"item": 160}
    unread = nn.ModuleDict({"item": nn.Embedding(3, 2), "layer": nn.Linear(2, 2)})
    reads = TorchAdapter({"layer.weight": ("neuron", "")}).count_reads(unread, Batches([0], lambda model, batch: 0))
    assert {axis: counts.tolist() for axis, counts in reads.items()} == {"item": [0, 0, 0]}


def test_neurons_are_scored_as_neurons_where_every_axis_has_a_name():
    model, data = scorer()
    adapter = TorchAdapter(SCORER)
    context, weights = adapter.context(model, data, 0, lambda line: None), adapter.read(model).weights
    units = Units.along(weights, "neuron")
    given = torch.relu(model.hidden(model.item(data[0]).sum(1)))
    assert np.allclose(importance_of("activation")(units, context), given.square().mean(0).detach(), rtol=1e-4)
    made = model.hidden.weight.square().sum(1) + model.hidden.bias.square()
    read = model.out.weight.square().sum(0)
    assert np.allclose(importance_of("expected_loss")(units, context), (made * read).sqrt().detach(), rtol=1e-4)


@pytest.mark.parametrize(
    "step",
    [
        {"share": {"target": "hidden.weight", "keep": 0.5}},
        {"mixed": {"target": "hidden.weight", "reads": [0.5, 0.5], "bits": [2, 1]}},
        {"drop_rows": {"target": "hidden.weight", "budget": {"uniform": 0.5}, "importance": "magnitude"}},
        {"drop_ids": {"axis": "neuron", "keep": 0.5, "importance": "magnitude"}},
        {"sparsify": {"target": "hidden.weight", "keep": 0.5}},
    ],
    ids=lambda step: next(iter(step)),
)
def test_steps_for_tables_refuse_layers(step):
    model, data = scorer()
    data = Batches(data, lambda model, batch: model(batch).square().mean())
    with pytest.raises(RecpruneError, match=r"hidden.weight.* it is no table.* are: item.weight$"):
        compress(model, Recipe.from_json({"steps": [step]}), data, adapter=TorchAdapter(SCORER))


def test_layers_are_coded_after_some_of_their_neurons_are_cut():
    model, data = scorer()
    steps = [
        {"drop_axis": {"axis": "neuron", "keep": 0.5}},
        {"factorize": {"target": "hidden.weight", "rank": 1}},
        {"fit_bytes": {"bytes": 3000}},
    ]
    small = compress(model, Recipe.from_json({"steps": steps}), data, adapter=TorchAdapter(SCORER))
    assert small.snapshot.weights["hidden.weight"].shape == (4, 4)
    assert sum(small.parts.values()) <= 3000


def test_data_that_cannot_be_counted_is_named():
    model, data = scorer()
    recipe = Recipe.from_json({"steps": [{"quantize": {"target": "*"}}]})
    with pytest.raises(RecpruneError, match=r"^the data has no batches, so no reads could be counted$"):
        compress(model, recipe, [])
    for batch, kind in (("a", "str"), (np.array([1, 2]), "ndarray")):
        with pytest.raises(RecpruneError) as failed:
            compress(model, recipe, [*data, batch])
        line = f"Scorer cannot be run on batch 2, of type {kind}: "
        assert str(failed.value).startswith(line)
        assert str(failed.value.__cause__) in str(failed.value)


def test_float64_is_refused_with_what_helps():
    model, data = scorer()
    recipe = Recipe.from_json({"steps": [{"quantize": {"target": "*"}}]})
    with pytest.raises(RecpruneError, match=r"parameter 'item.weight' is float64, .* float32: give model.float\(\)"):
        compress(model.double(), recipe, data)
    assert compress(model.float(), recipe, data).compression_ratio > 1


def test_an_adapter_is_chosen_by_type():
    assert adapter_for(Shared()) == TorchAdapter()
    with pytest.raises(RecpruneError, match=r"no adapter for builtins\.dict; adapters are for"):
        adapter_for({})


def test_choosing_an_adapter_imports_no_framework():
    code = (
        "import sys, recprune.adapters as a\ntry: a.adapter_for({})\nexcept ValueError: print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_example_of_an_own_model_runs():
    path = Path(__file__).parents[2] / "examples" / "own_model.py"
    assert len(path.read_text().splitlines()) <= 25
    result = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True, timeout=120)
    # 4 + 0.5 bits a value for a fifth of the rows, and a bit for each row: at least 30 times less than 32 bits a value.
    ratio = int(re.search(r"(\d+) times smaller", result.stdout)[1])
    assert 30 <= ratio <= 36


@pytest.mark.parametrize("name", NAMES)
def test_compress_makes_every_foreign_model_smaller(name):
    model, args = model_and_input(name)
    before = outputs(model, args)
    tables = ",".join(n for n, p in TorchAdapter().read(model).weights.items() if p.axes[0] and p.shape[0] > 10)
    steps = [{"quantize": {"target": "*", "bits": 4}}]
    if tables:
        steps = [{"drop_rows": {"target": tables, "budget": {"uniform": 0.5}}}, *steps]
    small = compress(model, Recipe.from_json({"steps": steps}), [args])
    assert small.size_bytes == TorchAdapter().read(small.model).weights.nbytes
    # 4 bits and a scale of 2 bytes for 8 values are 5.3 times less than floats; biases save less, dropped rows more.
    assert small.compression_ratio > 4
    assert [o.shape for o in outputs(small.model, args)] == [o.shape for o in before]
    assert all(torch.allclose(*pair) for pair in zip(outputs(model, args), before, strict=True))
    padding = {"Tied": ("history.weight", 0), "Attention": ("item.weight", 0), "Bags": ("mean.weight", 3)}.get(name)
    if padding:
        table, row = padding
        kept = small.snapshot.weights[table].value
        assert kept.mask()[row]
        assert np.array_equal(kept.decode()[row], model.get_parameter(table)[row].detach())
