"""One compact tensor: equal to its numpy encoding, and read like any tensor."""

import copy
import io
import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recprune.adapters.compact import CompactTensor
from recprune.errors import RecpruneError
from recprune.weights import Bfloat16, Codebook, Columns, Dense, Encoding, LowRank, Quantized, Rows, Stacked
from tests.devices import DEVICES


@st.composite
def leaves(draw, rows, columns):
    array = np.random.default_rng(draw(st.integers(0, 2**16))).normal(size=(rows, columns)).astype(np.float32)
    kind = draw(st.sampled_from(["float32", "float16", "bfloat16", "codes", "words", "columns"]))
    if kind == "bfloat16":
        return Bfloat16.encode(array)
    if kind == "words":
        return Codebook.encode(array, draw(st.integers(1, 12)))
    if kind == "columns":
        parts = np.array_split(array, draw(st.integers(1, columns)), axis=1)
        return Columns(tuple(Codebook.encode(part, draw(st.integers(1, 12))) for part in parts))
    if kind != "codes" or not rows:
        return Dense(array.astype(kind if kind != "codes" else "float32"))
    granularity = draw(st.sampled_from(["per_tensor", "per_row", "per_column", "per_group"]))
    return Quantized.encode(array, draw(st.sampled_from([1, 2, 3, 4, 8])), granularity, draw(st.integers(1, 5)))


@st.composite
def encodings(draw, rows=None, columns=None, depth=2):
    rows = draw(st.integers(1, 40)) if rows is None else rows
    columns = draw(st.integers(1, 9)) if columns is None else columns
    kind = draw(st.sampled_from(["leaf", "rows", "low rank", "stacked"])) if depth else "leaf"
    if kind == "rows":
        kept = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
        if draw(st.booleans()):
            kept = np.arange(rows) < kept.sum()  # stored as runs, not as a bitmap
        inner = draw(encodings(int(kept.sum()) + 1, columns, depth - 1))
        return Rows.encode(kept, inner, draw(st.integers(0, int(kept.sum()))))
    if kind == "low rank":
        rank = draw(st.integers(1, 3))
        return LowRank(draw(encodings(rows, rank, depth - 1)), draw(leaves(rank, columns)))
    if kind == "stacked":
        first = draw(st.integers(0, rows))
        parts = draw(leaves(first, columns)), draw(encodings(rows - first, draw(st.integers(1, columns)), 0))
        which = np.arange(rows) >= first
        return Stacked.encode(draw(st.permutations(which)) if draw(st.booleans()) else which, parts)
    return draw(leaves(rows, columns))


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None, max_examples=150)
@given(encoding=encodings(), data=st.data())
def test_torch_and_numpy_read_the_same(device, encoding, data):
    tensor, wanted = CompactTensor.of(encoding, device=device), encoding.decode()
    assert tensor.shape == wanted.shape
    assert tensor.size_bytes == encoding.nbytes
    assert np.allclose(tensor.decode().cpu().numpy(), wanted, atol=1e-6)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=20)), dtype=torch.int64)
    assert np.allclose(tensor.take(rows.to(device)).cpu().numpy(), wanted[rows], atol=1e-6)
    back = tensor.encoding()
    assert back.nbytes == encoding.nbytes
    assert np.array_equal(back.decode(), wanted)


@pytest.mark.parametrize("device", DEVICES)
@settings(deadline=None, max_examples=60)
@given(encoding=encodings())
def test_opening_and_closing_changes_nothing(device, encoding):
    tensor = CompactTensor.of(encoding, device=device)
    before = {name: part.clone() for name, part in tensor.tensors().items()}
    assert all(leaf.requires_grad for leaf in tensor.open_())
    assert np.allclose(tensor.decode().detach().cpu().numpy(), encoding.decode(), atol=1e-6)
    tensor.close_()
    assert all(torch.equal(part, before[name]) for name, part in tensor.tensors().items())


VALUES = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
KEPT = np.arange(300) % 7 < 4


def example():
    return CompactTensor.of(Rows.encode(KEPT, Quantized.encode(VALUES[: KEPT.sum() + 1], 4), int(KEPT.sum())))


@pytest.mark.parametrize(
    "index",
    [
        5,
        -1,
        torch.tensor(7),
        torch.tensor([[1, 299], [0, -300]]),
        torch.tensor([3, 4], dtype=torch.int32),
        [2, -2],
        np.array([8, 9]),
        slice(4, 90, 7),
        slice(None),
        slice(2, 0, 1),
        (torch.tensor([5, 6]), slice(1, 3)),
        (3, ...),
        (slice(0, 5), slice(None, None, 2)),
        (torch.tensor([1, 2]), torch.tensor([0, 5])),
        (2, 3),
        (slice(None), 4),
        ...,
        None,
        torch.arange(300) % 2 == 0,
        torch.zeros(0, dtype=torch.int64),
    ],
    ids=str,
)
def test_indexing_gives_what_the_dense_tensor_gives(index):
    tensor = example()
    got, wanted = tensor[index], tensor.decode()[index]
    assert type(got) is torch.Tensor
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("index", [300, -301, torch.tensor([0, 300]), [-301]], ids=str)
def test_an_index_out_of_range_is_an_error(index):
    with pytest.raises(IndexError, match="out of range"):
        example()[index]


@pytest.mark.parametrize("rows", [[300], [-1]])
def test_a_look_up_out_of_range_is_an_error(rows):
    for read in (
        lambda rows: F.embedding(rows, example()),
        lambda rows: example().index_select(0, rows),
        lambda rows: F.embedding_bag(rows[None], example()),
    ):
        with pytest.raises(IndexError, match="out of range"):
            read(torch.tensor(rows))


def test_look_ups_decode_only_what_they_read(monkeypatch):
    tensor = example()
    monkeypatch.setattr(CompactTensor, "decode", lambda self: pytest.fail("decoded the whole table"))
    rows = torch.tensor([[1, 2], [299, 0]])
    assert F.embedding(rows, tensor).shape == (2, 2, 6)
    assert F.embedding(rows, tensor, padding_idx=-1, max_norm=0.1).norm(dim=-1).max() < 0.1 + 1e-6
    assert F.embedding_bag(rows, tensor, mode="sum").shape == (2, 6)
    assert tensor[rows].shape == (2, 2, 6)
    assert tensor.index_select(0, rows[0]).shape == torch.index_select(tensor, 0, rows[0]).shape == (2, 6)
    assert (len(tensor), tensor.shape, tensor.dtype, tensor.numel()) == (300, (300, 6), torch.float32, 1800)


def test_a_pruned_id_reads_the_shared_row_inside_a_bag():
    """C1: a = [1, 1]; b pruned to zeros; c = [4, 0]."""
    table = Rows.encode(np.array([True, False, True]), Dense(np.array([[1, 1], [4, 0], [0, 0]], np.float32)), 2)
    rows, offsets = torch.tensor([0, 1, 2, 2, 1, 1]), torch.tensor([0, 3, 4, 6])
    bags = {mode: F.embedding_bag(rows, CompactTensor.of(table), offsets, mode=mode) for mode in ("sum", "mean", "max")}
    assert bags["sum"].tolist() == [[5, 1], [4, 0], [0, 0], [0, 0]]
    assert torch.allclose(bags["mean"], torch.tensor([[5 / 3, 1 / 3], [4, 0], [0, 0], [0, 0]]))
    assert bags["max"].tolist() == [[4, 1], [4, 0], [0, 0], [0, 0]]
    shared = Rows.encode(np.array([True, False, True]), Dense(np.array([[1, 1], [4, 0], [9, 9]], np.float32)), 2)
    assert F.embedding_bag(rows, CompactTensor.of(shared), offsets, mode="sum").tolist()[2] == [18, 18]


def test_a_bag_leaves_padding_out():
    table = CompactTensor.of(Dense(np.array([[1], [2], [4]], np.float16)))
    rows = torch.tensor([[0, 1, 1], [1, 1, 1]])
    assert F.embedding_bag(rows, table, mode="mean", padding_idx=1).tolist() == [[1], [0]]
    assert F.embedding_bag(rows, table, mode="mean", padding_idx=-2).tolist() == [[1], [0]]


def test_max_norm_bounds_what_is_read_and_changes_nothing():
    table = CompactTensor.of(Dense(np.array([[3, 4], [0.3, 0.4]], np.float16)))
    wanted = torch.tensor([[0.6, 0.8], [0.3, 0.4]])
    for _ in range(2):
        assert torch.allclose(F.embedding(torch.tensor([0, 1]), table, max_norm=1.0), wanted, atol=1e-3)
    assert table.decode().tolist()[0] == [3, 4]


def test_a_type_changes_what_is_read_and_not_what_is_stored():
    table = example()
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        other = table.to(dtype)
        assert (
            other.dtype
            == other[0].dtype
            == other.decode().dtype
            == F.embedding(torch.tensor([1]), other).dtype
            == dtype
        )
        assert other.size_bytes == table.size_bytes
        assert torch.equal(other.decode(), table.decode().to(dtype))
    assert table.to(torch.float32) is table
    layer = nn.Linear(6, 300).bfloat16()
    layer.weight = nn.Parameter(table.bfloat16(), requires_grad=False)
    assert layer(torch.ones(2, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_aliases_share_and_copies_do_not():
    table = example()
    alias, copies = table.detach(), (table.clone(), copy.deepcopy(table), pickle.loads(pickle.dumps(table)))
    before = table.decode()
    table.copy_(torch.zeros(300, 6))
    assert alias.decode().abs().max() == table.data.decode().abs().max() == 0
    assert all(torch.equal(other.decode(), before) for other in copies)


def test_floats_are_stored_as_the_table_stores_its_own():
    table = example()
    floats = torch.randn(300, 6)
    floats[~torch.from_numpy(KEPT)] = 2.0
    table.copy_(floats)
    # Half a step of a 4-bit row, clipped at the worst to 0.6 of its largest value; dropped rows read theirs.
    assert (table.decode() - floats)[KEPT].abs().max() <= 0.4 * floats[KEPT].abs().max() + 0.1
    assert torch.allclose(table.decode()[~KEPT], torch.tensor(2.0), atol=1e-3)
    assert table.encoding().spec()["encoding"] == "rows"
    table.mul_(0)
    assert table.decode().abs().max() == 0
    table[3] = 1.0
    assert torch.allclose(table[3], torch.ones(6), atol=1e-3)
    nn.init.constant_(table, 0.5)
    assert torch.allclose(table.decode(), torch.tensor(0.5), atol=1e-3)
    with pytest.raises(RuntimeError, match="size"):
        table.copy_(torch.zeros(300, 3))
    with pytest.raises(RecpruneError, match="cannot take"):
        table.copy_(CompactTensor.of(Dense(np.zeros((300, 3), np.float16))))


def test_a_gradient_is_refused_and_a_trained_tensor_is_not_written_to():
    table = example()
    with pytest.raises(RecpruneError, match="finetune"):
        table.requires_grad_()
    table.open_()
    for values in (torch.zeros(300, 6), example()):
        with pytest.raises(RecpruneError, match="while it is trained"):
            table.copy_(values)


def test_a_step_costs_what_it_reads_and_a_copy_holds_what_it_would_store():
    table = example()
    (leaf,) = table.open_()
    F.embedding(torch.tensor([[0, 1], [0, 5]]), table).sum().backward()
    # Row 5 is dropped and reads the last of what is stored.
    assert leaf.grad.is_sparse
    assert leaf.grad.coalesce().indices().tolist() == [[0, 1, len(leaf) - 1]]
    assert leaf.grad.coalesce().values()[:, 0].tolist() == [2, 1, 1]
    with torch.no_grad():
        leaf[0] = -leaf[0]
    copies = (copy.deepcopy(table), pickle.loads(pickle.dumps(table)), CompactTensor.of(table.encoding()))
    table.close_()
    assert all(torch.equal(other.decode(), table.decode()) for other in copies)
    assert torch.equal(table[0], -example()[0])


def test_a_file_with_values_that_do_not_fit_is_refused():
    restore, (spec, tensors, *rest) = example().__reduce_ex__(2)
    with pytest.raises(RecpruneError, match="bitmap of kept rows"):
        restore({**spec, "rows": 10_000}, tensors, *rest)
    with pytest.raises(RecpruneError, match="NaN"):
        restore(spec, tensors | {"inner.scale": tensors["inner.scale"] * float("nan")}, *rest)


def test_a_tied_table_is_saved_once():
    table = CompactTensor.of(Quantized.encode(np.random.default_rng(0).normal(size=(5000, 8)), 8))
    file = io.BytesIO()
    torch.save({"one": table.detach(), "two": table.detach()}, file)
    assert table.size_bytes < len(file.getvalue()) < table.size_bytes + 4000


@dataclass(frozen=True, eq=False)
class Halves(Encoding):
    """An encoding that torch code knows nothing about."""

    kind: ClassVar[str] = "halves of a test"
    doubled: np.ndarray

    @property
    def shape(self):
        return self.doubled.shape

    def take(self, rows):
        return (self.doubled[rows] / 2).astype(np.float32)

    def recode(self, array):
        return Halves((array * 2).astype(np.int8))


def test_an_encoding_without_torch_code_is_read_through_numpy():
    kept = np.array([True, False, True])
    encoding = Rows.encode(kept, Halves(np.array([[1, 2], [3, 4], [5, 6]], np.int8)), 2)
    table = CompactTensor.of(encoding)
    assert table.size_bytes == encoding.nbytes == 6 + 1
    assert F.embedding(torch.tensor([[2, 1]]), table).tolist() == [[[1.5, 2.0], [2.5, 3.0]]]
    assert table.T.tolist() == [[0.5, 2.5, 1.5], [1.0, 3.0, 2.0]]
    assert table.open_() == []
    table.close_()
    assert copy.deepcopy(table).decode().tolist() == table.decode().tolist()
