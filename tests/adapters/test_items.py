"""Item-item models through the core: any matrix gives the same lists from the artifact as from the model."""

import numpy as np
import pytest

from recprune import Recipe, RecpruneError, compress
from recprune.artifact import read
from recprune.data import read_log
from recprune.recommenders.ease import ItemItem
from recprune.recommenders.next_item_data import next_item_data
from recprune.runtime import Scorer
from recprune.runtime.topk import top_k
from tests.pipeline.toy import write_log


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
