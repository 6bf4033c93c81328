"""The two-tower model and SASRec through the core: what is cut gives what is zeroed, in torch and in numpy."""

import numpy as np
import pytest
import torch

from recprune import Recipe, RecpruneError, compress
from recprune.adapters import adapter_for
from recprune.artifact import read
from recprune.pruning.compress import pack
from recprune.recommenders.next_item_data import NextItemData
from recprune.recommenders.sasrec import SasRec
from recprune.recommenders.two_tower import TwoTower
from recprune.runtime import Scorer
from recprune.weights import Dense

N = 120
IDS = np.array([f"b{i:03}" for i in range(N)])
HISTORIES = [np.array(h) for h in ([3], [1, 2, 3, 4], [9, 8, 7, 6, 5, 4, 3, 2, 1], [0, 119], [5, 6])]


def made(name, seed=0):
    torch.manual_seed(seed)
    shares = np.arange(N) / N
    if name == "two_tower":
        model = TwoTower(IDS, shares, width=16, length=6)
    else:
        model = SasRec(IDS, shares, width=16, length=6, blocks=2, heads=2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture(params=["two_tower", "sasrec"])
def model(request):
    return made(request.param)


@pytest.fixture(scope="module")
def data():
    """Users who count upwards, one or two at a time: what comes next is known."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    whole = [(rng.integers(N) + np.arange(14) * (1 + i % 2)) % N for i in range(60)]
    histories = [items[:10] for items in whole]
    user = np.repeat(np.arange(60), 10)
    user_items = csr_array((np.ones(600, np.float32), (user, np.concatenate(histories))), shape=(60, N))
    relevant = {"valid": [items[10:12] for items in whole], "test": [items[12:] for items in whole]}
    counts = np.bincount(np.concatenate(histories), minlength=N)
    users = np.array([f"u{i}" for i in range(60)])
    return NextItemData(users, IDS, N, counts, user_items, relevant, histories, histories, True)


def shipped(model, weights=None):
    """Scores of the histories by the numpy runtime, in the order of the ids; one history after the other."""
    snapshot = adapter_for(model).read(model)
    scorer = Scorer(pack(snapshot if weights is None else snapshot.with_weights(weights), Recipe()))
    found = np.zeros((len(HISTORIES), N), np.float32)
    for row, history in zip(found, HISTORIES, strict=True):
        answer = scorer.top_k([IDS[history]], N, exclude_history=False)
        row[np.searchsorted(IDS, answer.ids[0])] = answer.scores[0]
    return found


def test_the_graph_scores_what_the_module_scores(model):
    np.testing.assert_allclose(shipped(model), model.scores(HISTORIES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "axis"),
    [("two_tower", a) for a in ("factor", "user hidden", "item hidden")]
    + [("sasrec", a) for a in ("factor", "block0 head", "block1 match", "block0 value", "block1 hidden")],
)
def test_every_axis_cut_is_that_axis_zeroed(name, axis):
    model = made(name)
    adapter = adapter_for(model)
    weights = adapter.read(model).weights
    keep = np.arange(weights.sizes[axis])[1::2]
    gone = np.setdiff1d(np.arange(weights.sizes[axis]), keep)
    zeroed = weights
    for part in weights.atoms()[axis]:
        values = weights[part].value.decode().copy()
        for i, expression in enumerate(weights[part].axes):
            if axis in expression.replace("*", "+").split("+"):
                places = weights.positions(expression, axis, gone, only=True)
                values[(slice(None),) * i + (places,)] = 0
        zeroed = zeroed.replace(part, Dense(values))
    cut = weights.cut(axis, keep)
    wanted = adapter.rebuild(model, zeroed).scores(HISTORIES)
    assert np.abs(wanted - model.scores(HISTORIES)).max() > 1e-3
    np.testing.assert_allclose(adapter.rebuild(model, cut).scores(HISTORIES), wanted, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(shipped(model, cut), wanted, atol=1e-5, rtol=1e-5)


STEPS = {
    "rows": [{"drop_rows": {"target": "items", "budget": {"uniform": 0.5}}}],
    "rows of all tables": [{"drop_rows": {"target": "items,popularity", "budget": {"uniform": 0.5}}}],
    "columns and bits": [{"drop_axis": {"axis": "factor", "keep": 0.5}}, {"quantize": {"target": "*", "bits": 8}}],
    "neurons": [{"drop_axis": {"axis": "*hidden", "keep": 0.5}}],
    "codes": [{"codebook": {"target": "items", "bits": 3}}],
    "mixed bits": [{"mixed": {"target": "items", "reads": [0.5, 0.5], "bits": [8, 4]}}],
    "shared rows": [{"share": {"target": "items", "keep": 0.2, "rows": 8}}],
    "rows trained to one": [{"sparsify": {"target": "items", "keep": 0.5, "epochs": 1}}],
    "columns made up for": [{"drop_axis": {"axis": "factor", "keep": 0.5}}, {"compensate": {}}],
    "half": [{"cast": {"target": "*"}}],
    "rank": [{"factorize": {"target": "items", "rank": 2}}],
}
# Some 4,000 and 14,000 of these describe the parts.
BYTES = {
    name: {f"{name} bytes": [{"fit_bytes": {"bytes": count, "target": "items,*.weight"}}]}
    for name, count in (("two_tower", 12_000), ("sasrec", 25_000))
}
ATTENTION = {
    "heads": [{"drop_axis": {"axis": "*head", "keep": 0.5}}],
    # With items: seven places alone save less than it takes to describe what was done.
    "places": [{"drop_rows": {"target": "items,positions", "budget": {"uniform": 0.5}}}],
    "widths of a head": [
        {"drop_axis": {"axis": "*match", "keep": 0.5}},
        {"drop_axis": {"axis": "*value", "keep": 0.5}},
    ],
}


@pytest.mark.parametrize(
    ("name", "steps"),
    [(name, key) for name in ("two_tower", "sasrec") for key in (*STEPS, *BYTES[name])]
    + [("sasrec", key) for key in ATTENTION],
)
def test_artifact_and_rebuilt_module_agree(name, steps, data, tmp_path):
    model = made(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    small = compress(model, Recipe.from_json({"steps": (STEPS | BYTES[name] | ATTENTION)[steps]}), data)
    assert type(small.model) is type(model)
    assert small.compression_ratio > 1
    small.save(tmp_path / "artifact")
    scorer = Scorer(read(tmp_path / "artifact"))
    # The same alone and beside longer and shorter ones (case C8).
    answer = scorer.top_k([IDS[history] for history in HISTORIES], N, exclude_history=False)
    wanted = small.model.scores(HISTORIES)
    for i in range(len(HISTORIES)):
        np.testing.assert_allclose(answer.scores[i], wanted[i][np.searchsorted(IDS, answer.ids[i])], atol=1e-4)
    alone = scorer.top_k([IDS[HISTORIES[0]]], N, exclude_history=False)
    np.testing.assert_allclose(alone.scores[0], answer.scores[0], atol=1e-5)  # sums in another order
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_a_head_is_half_of_the_attention_and_a_cut_model_is_cut_again(data):
    model = made("sasrec")
    once = compress(model, Recipe.from_json({"steps": ATTENTION["heads"]}), data).model
    assert [block.heads for block in once.blocks] == [1, 1]
    assert once.blocks[0].query.weight.shape == (8, 16)
    twice = compress(
        once, Recipe.from_json({"steps": [{"drop_axis": {"axis": "block0 match", "keep": 0.5}}]}), data
    ).model
    assert twice.blocks[0].query.weight.shape == (4, 16)
    assert twice.blocks[0].value.weight.shape == (8, 16)
    np.testing.assert_allclose(shipped(twice), twice.scores(HISTORIES), rtol=1e-4, atol=1e-5)


def test_one_table_for_history_and_items_is_counted_once_case_c2(model, data, tmp_path):
    # 120 items and the row of unknown ones, 16 wide, in float32: 7,744 bytes, once.
    adapter = adapter_for(model)
    snapshot = adapter.read(model)
    assert snapshot.weights["items"].nbytes == 121 * 16 * 4
    readers = [op.output for op in snapshot.graph.ops if "items" in op.params]
    assert len(readers) == 2
    assert snapshot.graph.vocabularies == ["item"]
    assert sum(size == (121, 16) for size in (param.shape for param in snapshot.weights.values())) == 1
    steps = [{"quantize": {"target": "items", "bits": 8}}, {"retrain": {"epochs": 1}}]
    small = compress(model, Recipe.from_json({"steps": steps}), data)
    small.save(tmp_path / "artifact")
    stored = read(tmp_path / "artifact")
    assert sum("items" in name for name in stored.weights) == 1
    # One code a value, and a float32 scale a row.
    assert stored.weights["items"].nbytes == small.snapshot.weights["items"].nbytes <= 121 * (16 + 4)
    assert small.model.item_vectors().shape == (121, 16)
    changed = small.model.items.detach().clone()
    changed[5] += 1
    with torch.no_grad():
        moved = adapter.rebuild(model, small.snapshot.weights.replace("items", Dense(changed.numpy())))
    history = [np.array([5])]
    assert abs(moved.scores(history)[0, 5] - small.model.scores(history)[0, 5]) > 1e-3
    assert abs(moved.scores(history)[0, 6] - small.model.scores(history)[0, 6]) > 1e-4


@pytest.mark.parametrize("distill", [0.0, 0.7])
def test_retraining_learns_what_comes_next(model, data, distill):
    from recprune.recommenders.next_item import held_out, next_item_loss

    valid = held_out(data, "valid", 6)

    def loss(given):
        with torch.no_grad():
            return float(np.mean([next_item_loss(given.eval(), batch).item() for batch in valid]))

    plain = compress(model, Recipe.from_json({"steps": STEPS["columns and bits"]}), data)
    steps = [*STEPS["columns and bits"], {"retrain": {"epochs": 3, "lr": 0.01, "distill": distill}}]
    tuned = compress(model, Recipe.from_json({"steps": steps}), data)
    assert tuned.size_bytes == plain.size_bytes
    assert loss(tuned.model) < loss(plain.model) - 0.1
    assert np.array_equal(tuned.model.popularity.numpy(), plain.model.popularity.numpy())


def test_unknown_ids_are_left_out_and_popularity_answers_for_nobody(model):
    scorer = Scorer(pack(adapter_for(model).read(model), Recipe()))
    answer = scorer.top_k([["b003"], ["x", "b003", "y"], ["x"], []], 3)
    assert answer.ids[0].tolist() == answer.ids[1].tolist()
    assert answer.fallback.tolist() == [False, False, True, True]
    # Shares rise with the number of the item.
    assert answer.ids[2].tolist() == answer.ids[3].tolist() == ["b119", "b118", "b117"]


def test_only_the_latest_items_count(model):
    longer = np.arange(20)
    np.testing.assert_allclose(model.scores([longer]), model.scores([longer[-6:]]), atol=1e-6)
    assert np.abs(model.scores([longer]) - model.scores([longer[-5:]])).max() > 1e-4


def test_the_order_matters_to_sasrec_only():
    forth, back = np.array([1, 2, 3]), np.array([3, 2, 1])
    assert np.abs(made("sasrec").scores([forth]) - made("sasrec").scores([back])).max() > 1e-2
    np.testing.assert_allclose(made("two_tower").scores([forth]), made("two_tower").scores([back]), atol=1e-5)


def test_reads_and_other_data(model, data):
    context = adapter_for(model).context(model, data, 0, lambda line: None)
    assert context.popularity["item"].tolist() == [*data.counts, 0]
    if isinstance(model, SasRec):
        # Sixty histories of ten items fill all six places.
        assert context.popularity["place"].tolist() == [60] * 6 + [0]
    with pytest.raises(RecpruneError, match="is a NextItemData, got list"):
        compress(model, Recipe(), [])


def test_calibration_gives_scores_and_gradients(model, data):
    from recprune.recommenders.next_item import Windows, next_item_loss

    adapter = adapter_for(model)
    weights, context = adapter.read(model).weights, adapter.context(model, data, 0, lambda line: None)
    scores = context.calibration.scores(weights)
    np.testing.assert_allclose(scores[:, :-1], model.scores(data.histories), rtol=1e-4, atol=1e-4)
    assert context.calibration.inputs(weights).keys() == {name for name in weights if name.endswith("weight")}
    # A small step along a table's gradient changes the loss, summed over all that is asked for, by its square.
    gradient = context.calibration.gradients(weights)["items"]
    step = 1e-4 / np.abs(gradient).max()

    def loss(given):
        torch.manual_seed(0)
        with torch.no_grad():
            batches = list(Windows(data.histories, 6, N))
            return sum(next_item_loss(given, batch).item() * len(batch[2]) for batch in batches)

    moved = weights.replace("items", Dense(weights["items"].value.decode() - step * gradient))
    change = loss(model) - loss(adapter.rebuild(model, moved).eval())
    assert change == pytest.approx(step * np.square(gradient.astype(np.float64)).sum(), rel=0.25)
