"""recprune's own table models through the core: the graph scores what the module scores, cut or whole."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recprune import Recipe, RecpruneError, compress
from recprune.adapters import adapter_for
from recprune.adapters.tables import _as_stored
from recprune.artifact import read
from recprune.data import read_log
from recprune.pruning.compress import pack
from recprune.pruning.methods import DropFields, Sparsify
from recprune.recommenders.deepfm import DeepFm
from recprune.recommenders.like import LIKE, LikeSettings, features_for, like_data, train_like
from recprune.recommenders.tables import ModelSettings
from recprune.recommenders.training import Training, predict, tensors
from recprune.runtime import Scorer
from recprune.weights import Dense
from tests.pipeline.toy import write_log


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return like_data(read_log(write_log(tmp_path_factory.mktemp("log"), users=150, items=40)))


@pytest.fixture(scope="module", params=["dcn", "deepfm"])
def model(request, data):
    torch.set_num_threads(1)
    features = features_for(LIKE.features, data.train, 8.0)
    settings = LikeSettings(
        request.param, features, ModelSettings(width=8, min_readings=3, deep=(32,)), Training(epochs=2)
    )
    return train_like(data, settings).model.eval()


def module_scores(model, data):
    return predict(model, model.features.encode(data.test))


def test_the_graph_scores_what_the_module_scores(model, data):
    artifact = pack(adapter_for(model).read(model), Recipe())
    np.testing.assert_allclose(Scorer(artifact).score(data.test), module_scores(model, data), atol=1e-6)


RECIPES = {
    "rows": [{"drop_rows": {"target": "tables.*", "budget": {"uniform": 0.4}}}],
    "rows and bits": [
        {"drop_rows": {"target": "tables.*.factor,statistics.user x author", "budget": {"uniform": 0.4}}},
        {"quantize": {"target": "*", "bits": 4, "granularity": "per_column"}},
    ],
    "codes": [{"codebook": {"target": "tables.*,statistics.*", "bits": 3}}],
    "rank": [{"factorize": {"target": "tables.*.factor", "rank": 2}}],
    "field": [{"drop_fields": {"fields": ["author"]}}],
    "block": [{"drop_fields": {"fields": ["user ratings", "item history.count"]}}],
    "neurons": [{"drop_axis": {"axis": "deep*", "keep": 0.5}}],
    "rows trained to one": [{"sparsify": {"target": "tables.*", "keep": 0.4, "epochs": 1}}],
    "rows trained to one after others were dropped": [
        {"drop_rows": {"target": "tables.item.factor", "budget": {"uniform": 0.8}}},
        {"sparsify": {"target": "tables.*", "keep": 0.4, "epochs": 1, "penalty": "threshold"}},
    ],
    "fields trained to zero": [{"sparsify": {"target": "*", "units": "fields", "keep": 0.5, "epochs": 1}}],
    "neurons made up for": [{"drop_axis": {"axis": "deep*", "keep": 0.5}}, {"compensate": {}}],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_artifact_and_rebuilt_module_agree(model, data, recipe, tmp_path):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = compress(model, Recipe.from_json({"steps": RECIPES[recipe]}), data)
    assert type(small.model) is type(model)
    assert small.compression_ratio > 1
    small.save(tmp_path / "artifact")
    scores = Scorer(read(tmp_path / "artifact")).score(data.test)
    np.testing.assert_allclose(scores, module_scores(small.model, data), atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_dropped_field_is_a_field_of_zeros(model, data):
    adapter = adapter_for(model)
    weights = adapter.read(model).weights
    zeroed = weights
    for name in weights.tables("author"):
        zeroed = zeroed.replace(name, Dense(np.zeros(weights[name].shape, np.float32)))
    cut = DropFields(("author",))(weights, adapter.context(model, None, 0, lambda line: None))
    wanted = module_scores(adapter.rebuild(model, zeroed), data)
    np.testing.assert_allclose(module_scores(adapter.rebuild(model, cut), data), wanted, atol=1e-5)
    graph = pack(adapter.read(model).with_weights(cut), Recipe()).graph
    assert "statistics.author" not in graph.params
    assert "author" not in graph.vocabularies


def test_retraining_never_makes_validation_worse(model, data):
    recipe = Recipe.from_json({"steps": [*RECIPES["rows"], {"retrain": {"epochs": 2}}]})
    plain = compress(model, Recipe.from_json({"steps": RECIPES["rows"]}), data)
    tuned = compress(model, recipe, data)
    labels = data.labels["valid"]

    def loss(module):
        scores = np.clip(predict(module, module.features.encode(data.valid)), 1e-7, 1 - 1e-7)
        return -np.mean(np.log(np.where(labels > 0.5, scores, 1 - scores)))

    assert loss(tuned.model) <= loss(plain.model) + 1e-6
    assert tuned.size_bytes == plain.size_bytes


@pytest.mark.parametrize(
    ("target", "units"), [("tables.*", "rows"), ("* id.factor", "axis"), ("deep*", "axis"), ("author,user", "fields")]
)
def test_what_training_made_zero_changes_nothing_when_it_is_cut(model, data, target, units):
    if target == "* id.factor" and isinstance(model, DeepFm):
        return  # its columns are multiplied with each other, see below
    adapter, seen = adapter_for(model), []
    context = adapter.context(model, data, 0, lambda line: None)

    def trainer(*given):
        seen.append(context.trainer(*given))
        return seen[-1]

    step = Sparsify(target, 0.5, units, epochs=1)
    weights = adapter.read(model).weights
    cut = step(weights, replace(context, trainer=trainer))
    assert cut.nbytes < seen[0].nbytes
    wanted, scores = (module_scores(adapter.rebuild(model, w), data) for w in (seen[0], cut))
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
    if units == "rows":
        # Factor and bias of an id go together: half of those that had rows stay, and the row that all others read.
        had, stay = (w["tables.item.factor"].value.mask() for w in (weights, cut))
        assert stay.sum() - 1 == -(-(had.sum() - 1) // 2)
        assert np.array_equal(cut["tables.item.bias"].value.mask(), stay)


def test_columns_that_are_multiplied_with_others_are_not_cut_one_by_one(model, data):
    recipe = Recipe.from_json({"steps": [{"drop_axis": {"axis": "author id.factor", "keep": 0.5}}]})
    if isinstance(model, DeepFm):
        with pytest.raises(RecpruneError, match="columns of 'author' are multiplied with those of the other fields"):
            compress(model, recipe, data)
    else:
        assert compress(model, recipe, data).snapshot.weights.sizes["author id.factor"] == 4


def test_retraining_pulls_rows_to_the_shared_row(model):
    table = model.tables["author"]
    rows = torch.tensor([0, 0, len(table.readings) - 1])
    values, shared = table.factor[rows].detach(), table.factor[-1].detach()
    # Half the squares over the readings of each row; the shared row itself is pulled to zero.
    parts = [values[0].square().sum() / table.readings[0]] * 2 + [shared.square().sum() / table.readings[-1]]
    assert float(table._l2(rows, table.readings[rows], values, table.factor)) == pytest.approx(
        float(sum(parts)) / 2, rel=1e-5
    )
    table.centred = True
    parts[:2] = [(values[0] - shared).square().sum() / table.readings[0]] * 2
    assert float(table._l2(rows, table.readings[rows], values, table.factor)) == pytest.approx(
        float(sum(parts)) / 2, rel=1e-5
    )
    table.centred = False


def test_statistics_are_trained_on_with_the_errors_that_their_codes_have(model, data):
    _, train = data.fitted(model.features.settings)
    weights = adapter_for(model).read(model).weights
    given = train.statistics["author"]
    as_it_is = _as_stored(train, weights, model.features).statistics
    assert np.array_equal(as_it_is["author"], given)
    # All authors half as far from zero: what was counted without the row moves by what its author's row moves.
    table = model.features.tables["author"]
    halved = weights.replace("statistics.author", Dense(table / 2))
    moved = _as_stored(train, halved, model.features).statistics["author"]
    np.testing.assert_allclose(moved, given - table[train.rows["author"]] / 2, atol=1e-6)


def test_the_penalty_goes_with_the_labels(model, data, monkeypatch):
    losses = {}
    monkeypatch.setattr(
        "recprune.adapters.tables.finetune", lambda smaller, batches, loss, **given: losses.setdefault(loss, smaller)
    )
    adapter = adapter_for(model)
    context, weights = adapter.context(model, data, 0, lambda line: None), adapter.read(model).weights
    for distill in (0.5, 1.0):
        context.trainer(weights, {"epochs": 1, "lr": 0.1, "distill": distill}, print)
    smaller = next(iter(losses.values())).train()
    _, train = data.fitted(model.features.settings)
    batch = tensors(train.take(np.arange(50))), torch.ones(50)
    values = []
    for loss in losses:
        torch.manual_seed(0)
        values.append(loss(smaller, batch).item())
    labelled, taught = values
    assert labelled - taught == pytest.approx(smaller.penalty().item() / 50, rel=1e-4)
    assert labelled > taught


def test_reads_of_pairs_use_no_label(model, data):
    adapter = adapter_for(model)
    flipped = data.train.with_columns(rating=11 - pl.col("rating"))
    other = type(data)(flipped, data.valid, data.test, data.implicit, data.labels)
    first, second = (adapter.context(model, d, 0, lambda line: None).popularity for d in (data, other))
    assert set(first) == set(second)
    assert all(np.array_equal(first[axis], second[axis]) for axis in first)
    pair = first["user x author"]
    # A pair that was read twice is kept before any that was read once.
    assert np.diff(np.sort(pair[:-1])).max() <= pair.max()
    assert (pair >= 0).all()


def test_other_data_is_refused(model):
    with pytest.raises(RecpruneError, match="is a LikeData, got dict"):
        compress(model, Recipe(), {})


def test_classes_that_are_not_counted_are_not_asked_for(model, data):
    field = next(iter(model.tables))
    recipe = Recipe.from_json({"steps": [{"drop_ids": {"axis": field, "keep": 0.5, "importance": "chi_squared"}}]})
    with pytest.raises(RecpruneError, match="; data was given, but a model of tables of ids is not counted by class"):
        compress(model, recipe, data)
