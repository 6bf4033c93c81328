"""Tasks of kind `next_item` with models that are trained: a whole run on histories whose next item is known."""

import numpy as np
import polars as pl
import pytest

import recprune
from recprune.errors import RecpruneError
from recprune.pipeline.config import NEXT_ITEM_MODELS, read_config
from recprune.pipeline.next_item import _speed
from recprune.pipeline.rankers import RANKERS
from recprune.pipeline.run import Run
from tests.pipeline.toy import write_circle, write_log

CONFIG = """
name: steps
data: log.yaml
tasks:
  next:
    kind: next_item
    model: MODEL
    min_reads: 3
    l2: 5
    width: 16
    trained_small: [4]
    gate: ndcg@10:50%
    ship: half
    recipes:
      half:
        steps:
          - drop_axis: {axis: "*hidden", keep: 0.5}
          - retrain: {epochs: 1, lr: 0.002}
          - quantize: {target: "*", bits: 8}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Users who walk round a circle; the same without times."""
    folder = tmp_path_factory.mktemp("steps")
    text = write_circle(folder).read_text(encoding="utf-8")
    (folder / "timeless.yaml").write_text(text.replace("time: at\n", ""), encoding="utf-8")
    return folder


def opened(folder, model, **changes):
    text = CONFIG.replace("MODEL", model)
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / f"{model}.yaml").write_text(text, encoding="utf-8")
    return Run(read_config(folder / f"{model}.yaml"), folder / f"runs {model}")


@pytest.mark.parametrize("model", ["sasrec", "two_tower"])
def test_a_run_trains_compresses_and_judges(folder, model):
    run = opened(folder, model)
    task = run.summary()["tasks"]["next"]
    assert task["gate"]["passed"]
    assert task["size"]["ratio"]["weights"] > 3
    peers = task["peers"]
    assert {"EASE", "popularity", "4 wide"} <= set(peers)
    assert any(point["name"] == "4 wide" and point["kind"] == "peer" for point in task["frontier"])
    assert task["split"]["how"] == "20% of each user's latest items held out, the very last to test"
    parts = {line["part"]: line["kind"] for line in task["plan"]}
    assert parts["items"] == "table"
    assert parts["popularity"] == "statistic"
    assert {curve["part"] for curve in task["sensitivity"]} >= {"items"}
    # Tables of less than a hundred rows are not cut into groups.
    assert run.stage("next", "importance") == {"importance": []}
    scorer = recprune.load(run.folder / "next" / "artifact")
    if model == "sasrec":
        # Everybody takes every item alike often, so popularity knows nothing.
        assert task["metrics"]["ndcg@10"]["original"]["value"] > 2 * peers["popularity"]["metrics"]["ndcg@10"]["value"]
        answer = scorer.top_k([["i03", "i04", "i05", "i06"], ["i03", "i06", "i09", "i12"]], 3)
        assert "i07" in answer.ids[0]
        assert "i15" in answer.ids[1]


SHORES = ("north", "south", "east", "west")


def test_titles_alone_say_what_is_next(folder):
    # Titles name one of four shores, and readers keep to theirs.
    rng = np.random.default_rng(1)
    items = pl.DataFrame(
        {"item": [f"i{i:02}" for i in range(40)], "title": [f"{SHORES[i % 4]} shore, part {i}" for i in range(40)]}
    )
    rows = [
        (f"u{user}", f"i{4 * at + user % 4:02}", 5) for user in range(120) for at in rng.choice(10, 8, replace=False)
    ]
    log = pl.DataFrame(rows, schema=["user", "item", "stars"], orient="row").join(items, on="item")
    log.write_csv(folder / "titled.csv")
    text = "name: tales\nfile: titled.csv\nuser: user\nitem: item\nrating: stars\nitem_attributes: [title]\n"
    (folder / "titled.yaml").write_text(text, encoding="utf-8")
    steps = "- keep_top: {target: item_weights, per_column: 6, by: column, refit: false}"
    half = CONFIG[CONFIG.index("          - drop_axis") :]
    changes = {"log.yaml": "titled.yaml", "    trained_small: [4]\n": "", "ndcg@10:50%": "ndcg@10:10%"}
    run = opened(folder, "titles", **changes, **{half: f"          {steps}\n"})
    task = run.summary()["tasks"]["next"]
    assert "nearest titles" in run.stage("next", "train")["original"]
    # Six of ten of a shore are known, one of the other four is held out: at a random place of the first four it gives
    # (1 + 0.63 + 0.5 + 0.43) / 4 = 0.64. Popularity guesses among 34.
    assert 0.55 < task["metrics"]["ndcg@10"]["original"]["value"] < 0.75
    assert task["peers"]["popularity"]["metrics"]["ndcg@10"]["value"] < 0.3
    assert task["size"]["ratio"]["disk"] > 1
    with pytest.raises(RecpruneError, match="model titles needs items with a title"):
        opened(folder, "titles", **{"    trained_small: [4]\n": ""}).stage("next", "train")


FITTED = {
    "als": "- quantize: {target: item_factors, bits: 4}",
    "item_knn": "- keep_top: {target: item_weights, per_column: 6, by: column, refit: false}",
    "sansa": "- keep_top: {target: item_weights, per_column: 6}",
}


@pytest.mark.parametrize("model", FITTED)
def test_a_run_with_a_model_that_is_fitted_in_closed_form(tmp_path, model):
    write_log(tmp_path)
    steps = FITTED[model] + "\n          - quantize: {target: popularity, bits: 8, granularity: per_tensor}"
    text = CONFIG.replace("MODEL", model).replace("min_reads: 3", "min_reads: 1")
    text = text[: text.index("          - drop_axis")] + f"          {steps}\n"
    text = text if model == "als" else text.replace("    trained_small: [4]\n", "")
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    run = Run(read_config(tmp_path / "run.yaml"), tmp_path / "runs")
    task = run.summary()["tasks"]["next"]
    assert task["gate"]["passed"]
    assert task["size"]["ratio"]["weights"] > 3
    own = {"als": "implicit ALS", "item_knn": "item cosine"}.get(model)
    assert {"popularity", "implicit ALS", "item cosine", "magnitude, 8 a column"} - {own} <= set(task["peers"])
    assert own not in task["peers"]
    assert ("EASE" in task["peers"]) == ("4 wide" in task["peers"]) == (model == "als")
    assert {line["part"] for line in task["plan"]} >= {"item_factors" if model == "als" else "item_weights"}
    assert task["sensitivity"][0]["points"][1]["bytes"] < task["sensitivity"][0]["points"][0]["bytes"]
    answer = recprune.load(run.folder / "next" / "artifact").top_k([["b00", "b02", "b04"], ["unheard of"]], 5)
    even = [int(name[1:]) % 2 == 0 for name in answer.ids[0]]
    assert sum(even) >= 4  # readers of even books read even books
    assert answer.fallback.tolist() == [False, True]


def test_every_model_of_the_configuration_has_a_ranker():
    assert tuple(RANKERS) == NEXT_ITEM_MODELS


def test_a_log_without_times_is_no_sequence(folder):
    with pytest.raises(
        RecpruneError, match="model sasrec learns from the order of interactions, and this log has no time"
    ):
        opened(folder, "sasrec", **{"log.yaml": "timeless.yaml"}).stage("next", "train")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model: sasrec", "model: sasrek", "'sasrek'; did you mean 'sasrec'"),
        ("model: sasrec", "model: titles", "trained_small is for models with a width; that of titles"),
        ("model: sasrec", "model: ease", "trained_small is for models with a width"),
        ("model: sasrec", "model: item_knn", "that of item_knn is the catalogue"),
        ("width: 16", "neighbours: 0", "neighbours must be 1 or more, got 0"),
        ("width: 16", "width: 0", "a width is 1 to 65,536, got 0"),
        ("min_reads: 3", "min_reads: -1", "min_reads must be 1 or more, got -1"),
        ("width: 16", "als_l2: -10", "als_l2 must be above 0, got -10"),
        ("width: 16", "tail: -3", "tail must be from 0 to 1, got -3"),
        ("width: 16", "hold_out: 1", "hold_out is a fraction between 0 and 1, got 1"),
        ("[4]", "[four]", r"trained_small is a list of widths, such as \[16, 8\], got \['four'\]"),
    ],
)
def test_a_wrong_model_is_named_before_any_work(folder, old, new, message):
    with pytest.raises(RecpruneError, match=message):
        opened(folder, "sasrec", **{old: new})


def test_what_is_no_faster_is_said_with_the_numbers():
    slow = {"original": {"p50_us": 100.0}, "compressed": {"p50_us": 2500.0}}
    (said,) = _speed(slow)
    assert said.startswith("Smaller, not faster: one request takes 2,500 us instead of 100 us (p50).")
    assert _speed({"original": {"p50_us": 100.0}, "compressed": {"p50_us": 100.0}}) == []
