"""Factor models through the core: users are folded in by numpy as the libraries fold them in."""

import numpy as np
import pytest

from recprune import Recipe, RecpruneError, compress
from recprune.adapters.factors import DecompositionAdapter
from recprune.adapters.implicit import ImplicitAdapter
from recprune.artifact import read
from recprune.recommenders.factors import FactorModel, Fold
from recprune.runtime import Scorer

sparse = pytest.importorskip("scipy.sparse")
implicit = pytest.importorskip("implicit")


@pytest.fixture(scope="module")
def user_items():
    """200 users of four tastes each, 60 items; the last two users read nothing."""
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 4, 200)
    likely = np.where(np.arange(60)[None, :] % 4 == taste[:, None], 0.4, 0.05)
    found = (rng.random((200, 60)) < likely).astype(np.float32)
    found[-2:] = 0
    return sparse.csr_matrix(found)


@pytest.fixture(scope="module")
def ids():
    return np.array([f"b{i:02}" for i in range(60)])


@pytest.fixture(scope="module")
def als(user_items):
    model = implicit.als.AlternatingLeastSquares(8, regularization=0.5, alpha=7.0, iterations=5, random_state=0)
    model.fit(user_items, show_progress=False)
    return model


@pytest.fixture(scope="module")
def bpr(user_items):
    model = implicit.bpr.BayesianPersonalizedRanking(6, iterations=60, random_state=0, learning_rate=0.05)
    model.fit(user_items, show_progress=False)
    return model


def scores_of(artifact, user_items, ids):
    """Scores of every item for every user, from the artifact, in the order of `ids`."""
    scorer = Scorer(artifact)
    histories = [list(ids[row.indices]) for row in user_items]
    answer = scorer.top_k(histories, len(ids), exclude_history=False)
    place = {name: i for i, name in enumerate(ids)}
    found = np.zeros((len(histories), len(ids)), np.float32)
    for row, names, values in zip(found, answer.ids, answer.scores, strict=True):
        row[[place[name] for name in names]] = values
    return found, answer.fallback


STEPS = {
    "nothing": [],
    "rank": [{"factorize": {"target": "item_factors", "rank": 4}}],
    "bits": [{"quantize": {"target": "*", "bits": 8}}],
    "rank and bits": [
        {"factorize": {"target": "item_factors", "rank": 5}},
        {"quantize": {"target": "item_factors", "bits": 8, "granularity": "per_column"}},
    ],
    "codes": [{"codebook": {"target": "item_factors", "bits": 4}}],
    "factors": [{"drop_axis": {"axis": "factor", "keep": 0.5}}],
    "rows": [{"drop_rows": {"target": "item_factors", "budget": {"uniform": 0.6}}}],
    "bytes": [{"fit_bytes": {"target": "item_factors", "bytes": 4500}}],
}


@pytest.mark.parametrize("steps", STEPS)
def test_als_users_are_those_of_recalculate_user(als, user_items, ids, steps, tmp_path):
    adapter = ImplicitAdapter(ids, user_items)
    small = compress(als, Recipe.from_json({"steps": STEPS[steps]}), user_items, adapter=adapter)
    small.save(tmp_path / "artifact")
    found, fallback = scores_of(read(tmp_path / "artifact"), user_items, ids)
    model = small.model
    assert type(model) is type(als)
    expected = model.recalculate_user(np.arange(200), user_items) @ model.item_factors.T
    np.testing.assert_allclose(found[:-2], expected[:-2], rtol=1e-3, atol=2e-4)
    assert fallback.tolist() == [False] * 198 + [True] * 2
    np.testing.assert_allclose(found[-1], np.asarray(user_items.sum(axis=0)).reshape(-1) / 200, atol=2e-3)
    assert set(small.artifact.weights) == {"item_factors", "popularity"}  # no table of users


def test_values_of_the_training_matrix_count_beside_alpha(user_items, ids):
    weighted = user_items * np.float32(3)
    model = implicit.als.AlternatingLeastSquares(4, regularization=0.5, alpha=2.0, iterations=3, random_state=0)
    model.fit(weighted, show_progress=False)
    small = compress(model, Recipe(), adapter=ImplicitAdapter(ids, user_items, weight=3.0))
    found, _ = scores_of(small.artifact, user_items, ids)
    expected = model.recalculate_user(np.arange(200), weighted) @ model.item_factors.T
    np.testing.assert_allclose(found[:-2], expected[:-2], rtol=1e-3, atol=2e-4)


def test_a_lower_rank_gives_narrower_factors_and_users_that_fit_them(als, user_items, ids):
    before = als.item_factors.copy()
    small = compress(als, Recipe.from_json({"steps": STEPS["rank"]}), user_items, adapter=ImplicitAdapter(ids))
    model = small.model
    assert model.item_factors.shape == (60, 4)
    assert model.user_factors.shape == (200, 4)
    whole = als.user_factors @ als.item_factors.T
    best = als.user_factors @ small.snapshot.weights["item_factors"].value.decode()[:-1].T
    # The users that fit best: no further than those that were only turned.
    error = np.linalg.norm(model.user_factors @ model.item_factors.T - whole)
    assert error <= np.linalg.norm(best - whole) + 1e-3
    names, _ = model.recommend(3, user_items[3], N=5, recalculate_user=True)
    assert len(names) == 5
    assert np.array_equal(als.item_factors, before)


def test_rotation_changes_no_score(als, user_items, ids):
    small = compress(als, Recipe.from_json({"steps": STEPS["nothing"]}), user_items, adapter=ImplicitAdapter(ids))
    np.testing.assert_allclose(
        small.model.user_factors @ small.model.item_factors.T, als.user_factors @ als.item_factors.T, atol=1e-4
    )


def test_bpr_users_are_folded_in_near_those_that_were_trained(bpr, user_items, ids):
    adapter = ImplicitAdapter(ids, user_items)
    small = compress(bpr, Recipe(), user_items, adapter=adapter)
    found, _ = scores_of(small.artifact, user_items, ids)
    trained = bpr.user_factors @ bpr.item_factors.T
    own = [np.corrcoef(a, b)[0, 1] for a, b in zip(found[:-2], trained[:-2], strict=True)]
    other = [np.corrcoef(a, b)[0, 1] for a, b in zip(found[:-2], np.roll(trained[:-2], 1, axis=0), strict=True)]
    assert np.mean(own) > 0.8
    assert np.mean(own) > np.mean(other) + 0.2
    assert "bias" in small.artifact.weights
    rebuilt = compress(bpr, Recipe.from_json({"steps": STEPS["bits"]}), user_items, adapter=adapter).model
    np.testing.assert_allclose(
        rebuilt.user_factors @ rebuilt.item_factors.T, trained, atol=0.05 * np.abs(trained).max()
    )
    with pytest.raises(RecpruneError, match="its training matrix is needed"):
        compress(bpr, Recipe())


def test_a_fold_comes_back_from_the_users_that_it_made(user_items):
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(60, 5)).astype(np.float32)
    scale = float(np.square(factors).sum(axis=1).mean())
    made = Fold(0.1, 1.0, 2.5, scale)
    model = FactorModel.of(factors, np.arange(60), made)
    found = Fold.fitted(factors, model.users(user_items.tocsr()), user_items)
    assert (found.whole, found.read) == (0.1, 1.0)
    assert found.target == pytest.approx(2.5, rel=1e-4)
    assert found.l2 == pytest.approx(scale)


def test_svd_scores_are_those_of_transform(user_items, ids):
    from sklearn.decomposition import TruncatedSVD

    model = TruncatedSVD(6, random_state=0).fit(user_items)
    adapter = DecompositionAdapter(ids)
    found, _ = scores_of(compress(model, Recipe(), user_items, adapter=adapter).artifact, user_items, ids)
    np.testing.assert_allclose(found, model.transform(user_items) @ model.components_, atol=1e-4)
    small = compress(model, Recipe.from_json({"steps": STEPS["rank"]}), user_items, adapter=adapter)
    assert small.model.transform(user_items).shape == (200, 4)
    assert model.components_.shape == (6, 60)


def test_nmf_users_are_the_least_squares_of_its_transform(user_items):
    from sklearn.decomposition import NMF

    model = NMF(4, random_state=0, max_iter=2000).fit(user_items)
    small = compress(model, Recipe.from_json({"steps": STEPS["bits"]}), user_items)
    h = model.components_
    expected = np.linalg.lstsq(h.T, user_items.toarray().T, rcond=None)[0].T @ h
    found, _ = scores_of(compress(model, Recipe()).artifact, user_items, np.arange(60).astype(str))
    np.testing.assert_allclose(found[:-2], expected[:-2], atol=1e-3)
    assert small.model.transform(user_items).shape == (200, 4)
    turned = compress(model, Recipe.from_json({"steps": [{"factorize": {"target": "item_factors", "rank": 2}}]}))
    with pytest.raises(RecpruneError, match="no components below zero"):
        _ = turned.model


@pytest.mark.parametrize("steps", ["nothing", "rank and bits", "rows"])
def test_plain_arrays_score_as_their_artifact(user_items, ids, steps):
    rng = np.random.default_rng(1)
    model = FactorModel.of(
        rng.normal(size=(60, 6)), ids, Fold(0.1, 2.0, 1.5, 0.5), shares=ids.argsort() / 60, bias=rng.normal(size=60)
    )
    small = compress(model, Recipe.from_json({"steps": STEPS[steps]}), user_items)
    found, fallback = scores_of(small.artifact, user_items, ids)
    assert type(small.model) is FactorModel
    np.testing.assert_allclose(found[:-2], small.model.scores(user_items)[:-2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[-1], small.model.shares, rtol=1e-6)
    assert fallback.sum() == 2


def test_candidates_and_strangers(als, user_items, ids):
    """Fewer candidates than asked for are no reason to make any up, and a user without history is said to be one."""
    scorer = Scorer(compress(als, Recipe(), adapter=ImplicitAdapter(ids, user_items)).artifact)
    answer = scorer.top_k([["b01"], []], 10, candidates=["b04", "b07"])
    assert [sorted(names) for names in answer.ids] == [["b04", "b07"]] * 2
    assert answer.fallback.tolist() == [False, True]
    popular = np.asarray(user_items.sum(axis=0)).reshape(-1)
    assert answer.ids[1][0] == ("b04" if popular[4] >= popular[7] else "b07")


def test_what_does_not_fit_is_said(als, user_items):
    with pytest.raises(RecpruneError, match="AlternatingLeastSquares is not fitted"):
        compress(implicit.als.AlternatingLeastSquares(4), Recipe())
    with pytest.raises(RecpruneError, match=r"ids of 60 items have shape \(3,\)"):
        compress(als, Recipe(), adapter=ImplicitAdapter(["a", "b", "c"]))
    with pytest.raises(RecpruneError, match="the data has 59 items, the model 60"):
        compress(als, Recipe(), user_items[:, :59])
    with pytest.raises(RecpruneError, match="a NextItemData or a sparse matrix, users x items, got list"):
        compress(als, Recipe(), [1, 2])
    steps = [{"drop_rows": {"target": "item_factors", "budget": {"uniform": 0.5}, "importance": "taylor"}}]
    with pytest.raises(RecpruneError, match="fitted without gradients"):
        compress(als, Recipe.from_json({"steps": steps}), user_items)
    with pytest.raises(RecpruneError, match=r"confidence of a read item must be 1 or more, got 0\.5"):
        compress(als, Recipe(), adapter=ImplicitAdapter(weight=0.5 / 7))
    with pytest.raises(RecpruneError, match="target of a fold must be above 0"):
        Fold(target=0.0)
    with pytest.raises(RecpruneError, match="item factors are a matrix"):
        FactorModel.of(np.ones(3), ["a", "b", "c"], Fold())
