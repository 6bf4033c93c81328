"""Item-item models through the core: any matrix gives the same lists from the artifact as from the model."""

import warnings

import numpy as np
import pytest

from recprune import Recipe, RecpruneError, compress
from recprune.adapters.implicit import ImplicitAdapter
from recprune.artifact import read
from recprune.data import read_log
from recprune.recommenders.ease import ItemItem
from recprune.recommenders.next_item_data import next_item_data
from recprune.runtime import Scorer
from recprune.runtime.topk import top_k
from tests.pipeline.toy import write_log

sparse = pytest.importorskip("scipy.sparse")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return next_item_data(read_log(write_log(tmp_path_factory.mktemp("log"))), min_reads=3)


@pytest.fixture(scope="module")
def model(data):
    return ItemItem.fit(data.user_items, data.items[: data.catalogue], l2=5.0)


STEPS = {
    "nothing": [],
    "pairs": [{"keep_top": {"target": "item_weights", "per_column": 8}}],
    "plain magnitude": [{"keep_top": {"target": "item_weights", "per_column": 8, "by": "column", "refit": False}}],
    "bits": [{"quantize": {"target": "*", "bits": 8}}],
    "rows": [{"drop_rows": {"target": "item_weights", "budget": {"uniform": 0.5}}}],
}


@pytest.mark.parametrize("steps", STEPS)
def test_lists_from_the_artifact_are_those_of_the_model(model, data, steps, tmp_path):
    small = compress(model, Recipe.from_json({"steps": STEPS[steps]}), data)
    small.save(tmp_path / "artifact")
    scorer = Scorer(read(tmp_path / "artifact"))
    scores = small.model.scores(data.user_items)
    for user in range(0, len(data.users), 17):
        seen = data.user_items.indices[slice(*data.user_items.indptr[user : user + 2])]
        expected, values = top_k(scores[user], 5, exclude=seen)
        answer = scorer.top_k([list(data.items[seen])], 5)
        np.testing.assert_allclose(answer.scores[0], values, rtol=1e-4, atol=1e-6)
        # Ties may be broken otherwise: the order of the items in the artifact is its own.
        assert len(set(answer.ids[0]) ^ set(data.items[expected])) <= (0 if len(set(values)) == 5 else 10)


def test_a_smaller_matrix_is_smaller_and_the_model_is_left_alone(model, data):
    before = model.item_weights.decode().copy()
    small = compress(model, Recipe.from_json({"steps": STEPS["pairs"]}), data)
    assert small.compression_ratio > 5
    assert np.array_equal(model.item_weights.decode(), before)
    assert small.model.item_weights.kind == "sparse"


def test_refits_need_the_data(model):
    with pytest.raises(RecpruneError, match="needs the item products of the training data"):
        compress(model, Recipe.from_json({"steps": STEPS["pairs"]}))
    with pytest.raises(RecpruneError, match="is a NextItemData, got list"):
        compress(model, Recipe(), [])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"retrain": {}}, "a model in closed form is not trained by gradients; leave retrain out"),
        ({"sparsify": {"target": "*", "keep": 0.5}}, "a model in closed form is not trained by gradients; use a drop_"),
        ({"compensate": {}}, "a model in closed form has no layers"),
        ({"drop_rows": {"target": "item_weights", "budget": {"uniform": 0.5}, "importance": "taylor"}},
         "a model in closed form has none"),
        ({"drop_rows": {"target": "item_weights", "budget": {"uniform": 0.5}, "importance": "chi_squared"}},
         "a model in closed form is not counted by class there; choose another importance"),
    ],
)  # fmt: skip
def test_data_that_was_given_is_not_asked_for(model, data, step, message):
    recipe = Recipe.from_json({"steps": [step]})
    with pytest.raises(RecpruneError, match=f"; data was given, but {message}"):
        compress(model, recipe, data)
    with pytest.raises(RecpruneError, match="; give data"):
        compress(model, recipe)


def ones(rows):
    return sparse.csr_array(np.array(rows, np.float32))


def test_any_matrix_is_an_item_item_model():
    matrix = np.array([[9, 0.5, 0], [0.25, 9, 1], [0, 0, 9]], np.float32)
    for given in (matrix, sparse.csc_matrix(matrix), sparse.coo_array(matrix)):
        model = ItemItem.of(given, ["a", "b", "c"], [0.5, 0, 0])
        # The diagonal is left out: what is in the history is not recommended.
        assert model.scores(ones([[1, 1, 0]])).tolist() == [[0.75, 0.5, 1]]
        assert model.item_weights.shape == (4, 4)
        assert list(compress(model, Recipe()).artifact.vocabularies["item"].ids()) == ["a", "b", "c"]
    with pytest.raises(RecpruneError, match=r"a matrix of \(2, 3\), \(2,\) ids and \(2,\) shares"):
        ItemItem.of(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(RecpruneError, match=r"\(2,\) ids"):
        ItemItem.of(np.ones((3, 3)), ["a", "b"])
    with pytest.raises(RecpruneError, match="NaN"):
        ItemItem.of(sparse.csr_array(np.array([[0, np.nan], [1, 0]])), ["a", "b"])


def test_slim_by_columns_of_elastic_nets(data):
    """SLIM (Ning, Karypis, ICDM 2011) as scikit-learn fits it: any such matrix is an item-item model."""
    from sklearn.linear_model import ElasticNet

    x, items = data.user_items.toarray(), data.catalogue
    matrix = np.zeros((items, items), np.float32)
    for j in range(items):
        others = x.copy()
        others[:, j] = 0
        matrix[:, j] = ElasticNet(0.01, l1_ratio=0.5, positive=True, fit_intercept=False).fit(others, x[:, j]).coef_
    model = ItemItem.of(sparse.csr_array(matrix), data.items[:items])
    small = compress(model, Recipe.from_json({"steps": STEPS["pairs"]}), data)
    assert small.compression_ratio > 2
    np.testing.assert_allclose(compress(model, Recipe()).model.scores(data.user_items), x @ matrix, atol=1e-5)


@pytest.mark.parametrize("kind", ["CosineRecommender", "BM25Recommender", "TFIDFRecommender"])
def test_neighbours_of_implicit_score_as_they_do_there(data, kind):
    nearest = pytest.importorskip("implicit.nearest_neighbours")
    matrix, ids = sparse.csr_matrix(data.user_items), data.items[: data.catalogue]
    model = getattr(nearest, kind)(K=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(matrix, show_progress=False)
    adapter = ImplicitAdapter(ids)
    scorer = Scorer(compress(model, Recipe(), adapter=adapter).artifact)
    for user in range(0, len(data.users), 11):
        rows, values = model.recommend(user, matrix[user], N=5)
        answer = scorer.top_k([list(ids[matrix[user].indices])], 5)
        there = values > 0
        np.testing.assert_allclose(answer.scores[0][there], values[there], rtol=1e-5)
    small = compress(model, Recipe.from_json({"steps": STEPS["plain magnitude"]}), matrix, adapter=adapter)
    assert small.compression_ratio > 2
    assert type(small.model) is type(model)
    rows, _ = small.model.recommend(0, matrix[0], N=5)
    assert len(rows) == 5
    refitted = compress(model, Recipe.from_json({"steps": STEPS["pairs"]}), matrix, adapter=adapter)
    assert refitted.model.similarity.nnz <= 8 * data.catalogue
    with pytest.raises(RecpruneError, match=f"{kind} is not fitted"):
        compress(getattr(nearest, kind)(), Recipe())
