import numpy as np
import pytest

from recprune.errors import RecpruneError
from recprune.pruning.methods.keep_top import KeepTop, refit_columns, top_in_columns, top_pairs
from recprune.pruning.plain_magnitude import plain_magnitude
from recprune.pruning.recipe import Recipe
from recprune.pruning.step import Context
from recprune.recommenders import ease
from recprune.weights import Dense, Param, Sparse, Weights

sparse = pytest.importorskip("scipy.sparse")


def histories(users=300, items=40, seed=0):
    """Readers of one of four shelves each, with some books from anywhere."""
    rng = np.random.default_rng(seed)
    shelf = rng.integers(0, 4, users)
    likely = np.where(np.arange(items)[None, :] % 4 == shelf[:, None], 0.4, 0.03)
    return sparse.csr_array((rng.random((users, items)) < likely).astype(np.float32))


def model(matrix):
    return Weights({"item_weights": Param(("item", "item"), Dense(np.asarray(matrix, np.float32)))})


def test_pairs_by_hand():
    matrix = np.array([[0, 4, 1, 0], [1, 0, 3, 9], [1, 3, 0, 0.1], [0, 0, 0.1, 0]], np.float32)
    # Means of both directions: 01: 2, 02: 1, 12: 3, 13: 0 (one direction is zero), 23: .1.
    low, high = top_pairs(matrix, 2, np.ones(4))
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [(1, 2), (0, 1)]
    low, high = top_pairs(matrix, 9, np.ones(4))
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [(1, 2), (0, 1), (0, 2), (2, 3)]
    # Weights of items 2 and 3 raise 23 to .1 * 10 * 5 = 5 and 12 to 30.
    low, high = top_pairs(matrix, 3, np.array([1, 1, 10, 5]))
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [(1, 2), (0, 2), (2, 3)]


def test_pairs_over_many_blocks_are_those_of_a_full_sort():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(1200, 1200)).astype(np.float32)
    low, high = top_pairs(matrix, 500, np.ones(1200))
    i, j = np.triu_indices(1200, 1)
    score = np.abs(matrix[i, j] * matrix[j, i])
    best = np.argsort(-score, kind="stable")[:500]
    assert list(zip(low, high, strict=True)) == list(zip(i[best], j[best], strict=True))
    assert len(top_pairs(np.ones((600, 600), np.float32), 7, np.ones(600))[0]) == 7


def test_columns_by_hand():
    matrix = np.array([[0, -4, 0], [1, 0, 0], [2, 3, 0]], np.float32)
    rows, columns = top_in_columns(matrix, 1)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (2, 0)]  # column 2 has nothing to keep
    assert len(top_in_columns(matrix, 5)[0]) == 4


@pytest.mark.parametrize("step", [KeepTop("*", 3), KeepTop("*", 3.5, refit=False), KeepTop("*", 3, by="column")])
def test_what_is_stored_sparse_is_pruned_as_if_it_were_dense(step):
    user_items = histories()
    gram, full = ease.gram(user_items), ease.fit(user_items, 3.0)
    full[np.random.default_rng(0).random((40, 40)) < 0.3] = 0  # places that are not symmetric
    coded = Weights({"item_weights": Param(("item", "item"), Sparse.from_dense(full, 32))})
    found, expected = (step(weights, Context(gram=gram))["item_weights"].value for weights in (coded, model(full)))
    assert np.array_equal(found.decode(), expected.decode())
    assert found.stored == expected.stored > 0


def test_refit_of_everything_is_ease():
    user_items = histories()
    gram, full = ease.gram(user_items), ease.fit(user_items, 3.0)
    rows, columns = np.nonzero(~np.eye(40, dtype=bool))
    values = refit_columns(gram, rows, columns, 3.0)
    np.testing.assert_allclose(values, full[rows, columns], atol=1e-4)


def test_refit_is_ridge_regression_on_the_kept_items():
    user_items = histories()
    dense = user_items.toarray().astype(np.float64)
    rng = np.random.default_rng(2)
    mark = rng.random((40, 40)) < rng.random(40)[None, :] * 0.9  # columns of very different length
    np.fill_diagonal(mark, False)
    rows, columns = np.nonzero(mark)
    order = rng.permutation(len(rows))
    rows, columns = rows[order], columns[order]
    lines = []
    values = refit_columns(ease.gram(user_items), rows, columns, 5.0, lines.append)
    for j in range(40):
        kept = np.flatnonzero(columns == j)
        x = dense[:, rows[kept]]
        expected = np.linalg.solve(x.T @ x + 5 * np.eye(len(kept)), x.T @ dense[:, j])
        np.testing.assert_allclose(values[kept], expected, atol=1e-4)
    assert lines[-1] == "refitted 40 of 40 columns"


def test_refit_lowers_the_training_loss_of_what_is_kept():
    user_items = histories()
    weights, gram = model(ease.fit(user_items, 3.0)), ease.gram(user_items)
    loss = []
    for refit in (False, True):
        step = KeepTop("item_weights", per_column=3, refit=refit, l2=3.0, bits=8)
        value = step(weights, Context(gram=gram))["item_weights"].value
        assert isinstance(value, Sparse)
        assert value.paired
        assert value.stored == 120
        loss.append(float(((user_items.toarray() - user_items @ value.decode()) ** 2).sum()))
    assert loss[1] < loss[0]


def test_pairs_of_one_shelf_are_what_is_kept():
    user_items = histories(users=2000)
    weights = model(ease.fit(user_items, 3.0))
    value = KeepTop("*", per_column=6)(weights, Context(gram=ease.gram(user_items)))["item_weights"].value
    rows, columns, values = value.coordinates()
    assert (rows % 4 == columns % 4).mean() > 0.95
    assert (values > 0).all()
    assert isinstance(weights["item_weights"].value, Dense)  # the input is as it was


def test_tail_gives_rare_items_more_of_the_pairs():
    rng = np.random.default_rng(0)
    reads = np.where(np.arange(40) < 20, 0.3, 0.03)
    user_items = sparse.csr_array((rng.random((3000, 40)) < reads).astype(np.float32))
    weights, context = model(ease.fit(user_items, 5.0)), Context(gram=ease.gram(user_items))
    share = []
    for tail in (0.0, 0.5):
        value = KeepTop("*", per_column=4, tail=tail)(weights, context)["item_weights"].value
        share.append((value.coordinates()[1] >= 20).mean())
    assert share[1] > share[0]


def test_by_column_is_plain_magnitude():
    user_items = histories()
    matrix = ease.fit(user_items, 3.0)
    step = KeepTop("*", per_column=5, by="column", refit=False, bits=8)
    value = step(model(matrix), Context())["item_weights"].value  # needs no data
    peer, stored = plain_magnitude(matrix, 5)
    assert stored == 40 * 5 * 3 + 40 * 2
    assert np.array_equal(value.decode() != 0, peer.toarray() != 0)
    kept = peer.toarray() != 0
    step_of = np.abs(matrix * kept).max(axis=0) / 127
    assert (np.abs(peer.toarray() - matrix * kept) <= 0.51 * step_of + 1e-6).all()


def test_by_column_takes_a_table():
    values = np.ones((60, 1), np.float32)
    values[[7, 40], 0] = [9, 7]
    table = Weights({"popularity": Param(("item", ""), Dense(values))})
    step = KeepTop("popularity", per_column=2, by="column", refit=False)
    found = step(table, Context())["popularity"].value.decode()[:, 0]
    assert found[[7, 40]].tolist() == [9, 7]
    assert np.flatnonzero(found).tolist() == [7, 40]


def test_what_would_be_larger_stays_as_it_was():
    table = Weights({"popularity": Param(("item", ""), Dense(np.array([[3.0], [9], [1], [7]], np.float32)))})
    step = KeepTop("popularity", per_column=2, by="column", refit=False)
    assert step(table, Context())["popularity"] is table["popularity"]
    with pytest.raises(RecpruneError, match="pairs are ranked in square matrices"):
        KeepTop("popularity")(table, Context(gram=np.eye(4)))


def test_what_cannot_be_done_is_said():
    weights = model(np.ones((4, 4)))
    with pytest.raises(RecpruneError, match="item products of the training data"):
        KeepTop("*")(weights, Context())
    with pytest.raises(RecpruneError, match=r"of \(3, 3\) do not fit 'item_weights' of shape \(4, 4\)"):
        KeepTop("*")(weights, Context(gram=np.eye(3)))
    with pytest.raises(RecpruneError, match="matches no parameter; parameters are: item_weights"):
        KeepTop("itm*")(weights, Context(gram=np.eye(4)))
    vector = Weights({"bias": Param(("item",), Dense(np.ones(4, np.float32)))})
    with pytest.raises(RecpruneError, match=r"cannot act on 'bias': it has shape \(4,\); matrices are: \(none\)"):
        KeepTop("bias")(vector, Context())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("per_column", 0, "per_column must be above 0, got 0"),
        ("by", "row", "unknown way to rank entries 'row'; choices are: column, pair"),
        ("l2", 0, "l2 must be above 0"),
        ("tail", 2, r"tail must be in \[0, 1\], got 2"),
        ("bits", 9, "bits must be 1..8, got 9"),
    ],
)
def test_fields_are_checked(field, value, message):
    with pytest.raises(RecpruneError, match=message):
        KeepTop("*", **{field: value})


def test_a_recipe_holds_it():
    recipe = Recipe((KeepTop("item_weights", per_column=4.5), KeepTop("popularity", 2000, by="column", refit=False)))
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert "pairs of items of item_weights, 4.5 a column" in recipe.describe()[0]
