"""Groups of rows by reads, each stored its own way."""

import numpy as np
import pytest

from recprune.artifact import Artifact, lay_out, read, write
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.budgets import Uniform
from recprune.pruning.methods import DropRows, Mixed
from recprune.runtime import Scorer
from recprune.weights import Codebook, Dense, LowRank, Param, Quantized, Rows, Stacked, Weights

from ...small import like, request


def table(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def weights(array):
    return Weights({"t": Param(("item", "f"), Dense(array))})


def test_groups_end_where_their_share_of_the_reads_does():
    # Half of 100 reads: rows 3 (40) and 1 (30) begin within it, row 0 (20) begins at 70.
    reads = np.array([20, 30, 10, 40, 0])
    step = Mixed("t", (0.5, 0.4, 0.1), (1, 1, 1))
    assert step._groups(reads).tolist() == [1, 0, 2, 0, 2]
    # Row 0 begins where the first share ends exactly, so it is of the second.
    assert Mixed("t", (0.7, 0.3), (1, 1))._groups(reads).tolist() == [1, 0, 1, 0, 1]


def test_each_group_has_its_bits():
    array = table(320, 8)
    reads = np.where(np.arange(320) % 10 == 0, 9, 1)  # 32 rows with half of the reads
    context = Context({"item": reads})
    value = Mixed("t", (0.5, 0.5), (4, 1), "value")(weights(array), context)["t"].value
    assert isinstance(value, Stacked)
    assert [(part.shape, part.bits) for part in value.parts] == [((32, 8), 4), ((288, 8), 1)]
    # Codes, a float16 a column of each group, and a bit a row that says which group it is of.
    assert value.nbytes == 32 * 4 + 288 + 2 * 8 * 2 + 320 // 8
    head = Quantized.encode(array[::10], 4, "per_column")
    assert np.array_equal(value.decode()[::10], head.decode())


def test_each_group_has_its_width_and_a_basis_weighted_by_reads():
    rng = np.random.default_rng(0)
    array = table(200, 8)
    # The tail lies in two directions of its own.
    array[50:] = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 8))
    reads = np.where(np.arange(200) < 50, 9, 3)
    value = Mixed("t", (0.5, 0.5), (8, 8), "value", (8, 2))(weights(array), Context({"item": reads}))["t"].value
    head, tail = value.parts
    assert isinstance(head, Quantized)
    assert isinstance(tail, LowRank)
    assert tail.rank == 2
    # 8 codes a row; 2 codes a row; the basis; a float16 for each column of head, left and right.
    assert value.nbytes == 50 * 8 + 150 * 2 + 2 * 8 + 2 * (8 + 2 + 8)
    assert np.abs(value.decode() - array).max() < 0.1


def test_words_of_the_head_are_not_shared_with_the_tail():
    # Two rows that are read and a hundred that are not: each group has a book of two words.
    array = np.concatenate([np.full((2, 8), [[5], [7]]), np.repeat(np.arange(100)[:, None], 8, axis=1)])
    reads = np.concatenate([[100, 100], np.ones(100)])
    value = Mixed("t", (0.6, 0.4), (1, 1))(weights(array.astype(np.float32)), Context({"item": reads}))["t"].value
    assert all(isinstance(part, Codebook) for part in value.parts)
    assert value.decode()[:2, 0].tolist() == [5, 7]
    assert sorted(set(value.decode()[2:, 0].tolist())) == [24.5, 74.5]


def test_kept_rows_are_grouped_with_the_reads_of_those_that_share_them():
    array = table(100, 8)
    reads = np.concatenate([np.arange(50, 0, -1), np.ones(50)])
    dropped = DropRows("t", Uniform(0.5), "popularity")(weights(array), Context({"item": reads}))
    value = Mixed("t", (0.5, 0.5), (8, 1), "value")(dropped, Context({"item": reads}))["t"].value
    assert isinstance(value, Rows)
    assert isinstance(value.inner, Stacked)
    # The shared row, the last that is stored, has the reads of all that were dropped: it is of the head.
    which, _ = value.inner.position(np.array([value.default]))
    assert which.tolist() == [0]


def test_without_reads_there_are_no_groups():
    with pytest.raises(RecpruneError, match="mixed cannot act on 't': it is no table whose reads were counted"):
        Mixed("t", (0.5, 0.5), (8, 4))(weights(table(9, 4)), Context())
    unread = weights(table(9, 4))
    assert Mixed("t", (0.5, 0.5), (8, 4))(unread, Context({"item": np.zeros(9)}))["t"].value is unread["t"].value
    with pytest.raises(RecpruneError, match=r"such tables are: user\.factor, title\.factor$"):
        Mixed("book.bias", (0.5, 0.5), (8, 4))(like().weights, Context({"user": np.ones(7), "title": np.ones(4)}))


@pytest.mark.parametrize("fingerprint", [None, 16])
def test_the_artifact_scores_the_same_and_says_in_a_few_bytes_which_row_is_where(fingerprint, tmp_path):
    snapshot = like()
    users, books = table(7, 3), table(9, 4, seed=1)
    # Rows of both tables lie in groups that are not neighbours, and the bias keeps others.
    mixed_users = Stacked.encode(
        np.array([1, 0, 1, 0, 1, 0, 0]), (Dense(users[[1, 3, 5, 6]]), Dense(users[[0, 2, 4], :1]))
    )
    which = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0])
    mixed_books = Stacked.encode(which, tuple(Quantized.encode(books[which == i], 8 // (1 + i)) for i in (0, 1)))
    bias = snapshot.weights["book.bias"].value.decode()
    kept = np.array([0, 1, 0, 1, 1, 0, 1, 0, 1], bool)
    changed = snapshot.weights.replace("user.factor", mixed_users).replace("book.factor", mixed_books)
    changed = changed.replace("book.bias", Rows.encode(kept, Dense(bias[kept]), 4))
    laid, vocabularies = lay_out(snapshot.with_weights(changed), fingerprint)
    write(Artifact(laid.weights, laid.graph, vocabularies), tmp_path / "a")
    plain = snapshot.weights
    for name in ("user.factor", "book.factor", "book.bias"):
        plain = plain.replace(name, Dense(changed[name].value.decode()))
    laid, vocabularies = lay_out(snapshot.with_weights(plain))
    frame = request(300)
    expected = Scorer(Artifact(laid.weights, laid.graph, vocabularies)).score(frame)
    artifact = read(tmp_path / "a")
    np.testing.assert_allclose(Scorer(artifact).score(frame), expected, atol=1e-6)
    # The row of unknown users is of the head, behind the tail: three runs are 24 bytes, a bit a row is one.
    assert artifact.weights["user.factor"].value.order.nbytes == 1


def test_a_group_may_lose_all_its_rows():
    reads = np.where(np.arange(40) < 4, 90, 1)  # four rows with nine tenths of the reads
    context = Context({"item": reads})
    mixed = Mixed("t", (0.9, 0.1), (8, 8), "value", (2, 1))(weights(table(40, 8)), context)
    found = DropRows("t", Uniform(0.1), "popularity")(mixed, context)["t"].value
    assert found.mask().nonzero()[0].tolist() == [0, 1, 2, 3, 39]
    alone = DropRows("t", Uniform(0.02), "random")(mixed, context)["t"].value  # one row, and the shared one
    assert np.isfinite(alone.decode()).all()


def test_an_item_item_model_is_stored_in_groups():
    # The ids are not in the order of the artifact, so that its columns are moved too.
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.array([f"i{n}" for n in range(30)]))
    matrix = table(31, 31)
    model = Weights({"item_weights": Param(("item", "item"), Dense(matrix), (30,))})
    context = Context({"item": rng.integers(1, 50, 31)})
    value = Mixed("item_weights", (0.5, 0.5), (8, 8), "value")(model, context)["item_weights"].value
    assert isinstance(value, Stacked)
    order = np.append(np.argsort(ids), 30)
    moved = Weights({"item_weights": Param(("item", "item"), value, (30,))}).cut("item", order)
    assert np.array_equal(moved["item_weights"].value.decode(), value.decode()[order][:, order])
