"""The YAML of a run and of a log, recipes and graphs: mutated, made up, and made to exhaust the reader."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recprune.artifact.read import parse_json
from recprune.data import read_log
from recprune.graph import Graph
from recprune.pipeline.config import read_config
from recprune.pruning.recipe import Recipe
from tests.fuzz.harness import anything, as_json, as_yaml, broken, changed, few, many, parsed
from tests.pipeline.toy import write_log
from tests.small import like, next_item

EXAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))]
RUNS = [yaml.safe_load(content) for content in EXAMPLES]
RECIPES = [recipe for run in RUNS for task in run["tasks"].values() for recipe in task["recipes"].values()]
GRAPHS = [like().graph.to_json(), next_item().graph.to_json()]
seeds = st.integers(0, 2**31)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    write_log(folder, 6, 6)
    return folder


def config_of(folder, content):
    """Whether these bytes are the YAML of a run."""
    (folder / "run.yaml").write_bytes(content)
    return parsed(read_config, folder / "run.yaml")


def log_of(folder, content):
    """Whether these bytes are the YAML of a log."""
    (folder / "mutated.yaml").write_bytes(content)
    return parsed(read_log, folder / "mutated.yaml")


def mutate_configs(folder, seed):
    rng = np.random.default_rng(seed)
    at = int(rng.integers(len(RUNS)))
    config_of(folder, broken(EXAMPLES[at], rng))
    config_of(folder, as_yaml(changed(RUNS[at], rng, int(rng.integers(1, 4)))))


def mutate_logs(folder, seed):
    rng = np.random.default_rng(seed)
    content = (folder / "log.yaml").read_bytes()
    log_of(folder, broken(content, rng))
    known = yaml.safe_load(content) | {
        "separator": ",",
        "quote": '"',
        "encoding": "utf-8",
        "integers": [],
        "users": {"file": "log.csv"},
    }
    log_of(folder, as_yaml(changed(known, rng, int(rng.integers(1, 4)))))


def mutate_recipes(seed):
    rng = np.random.default_rng(seed)
    given = changed(RECIPES[int(rng.integers(len(RECIPES)))], rng, int(rng.integers(1, 4)))
    if parsed(Recipe.from_json, given):
        recipe = Recipe.from_json(given)
        assert Recipe.from_json(recipe.to_json()) == recipe
        assert all(isinstance(line, str) for line in recipe.describe())


def mutate_graphs(seed):
    rng = np.random.default_rng(seed)
    given = changed(GRAPHS[int(rng.integers(len(GRAPHS)))], rng, int(rng.integers(1, 4)))
    if parsed(Graph.from_json, given):
        graph = Graph.from_json(given)
        assert Graph.from_json(graph.to_json()) == graph


@few
@given(seeds)
def test_mutated_documents(folder, seed):
    mutate_configs(folder, seed)
    mutate_logs(folder, seed)
    mutate_recipes(seed)
    mutate_graphs(seed)


@few
@given(anything, st.binary(max_size=200), st.text(max_size=200))
def test_made_up_documents(folder, value, content, text):
    made_up(folder, value, content, text)


@few
@given(as_json)
def test_made_up_recipes_and_graphs(value):
    parsed(Recipe.from_json, value)
    parsed(Graph.from_json, value)
    parsed(Recipe.from_json, {"steps": [value]})
    parsed(Graph.from_json, GRAPHS[0] | {"ops": value})


def made_up(folder, value, content, text):
    for one in (content, text.encode(errors="surrogatepass")):
        config_of(folder, one)
        log_of(folder, one)
        parsed(parse_json, one, Path("given.json"))
    try:
        written = as_yaml(value)
    except yaml.YAMLError:
        return
    config_of(folder, written)
    log_of(folder, written)


@pytest.mark.slow
@many
@given(seeds)
def test_many_mutated_documents(folder, seed):
    mutate_configs(folder, seed)
    mutate_logs(folder, seed)
    mutate_recipes(seed)
    mutate_graphs(seed)


@pytest.mark.slow
@many
@given(anything, st.binary(max_size=2000), st.text(max_size=2000))
def test_many_made_up_documents(folder, value, content, text):
    made_up(folder, value, content, text)


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
TASK = "name: a\ndata: b\ntasks: {t: {kind: like, gate: 'auc:1', ship: r, recipes: {r: {steps: []}}}}\n"


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        LAUGHS + "name: *a59\n",
        LAUGHS + "tasks: {t: {kind: *a59}}\n",
        LAUGHS + "file: *a59\nuser: a\nitem: b\n",
        "a: &a [*a]\nname: *a\n",
        "tasks: &a {t: *a}\n",
        "&a ? *a\n: b\n",
        "name: " + "[" * 100_000,
        "name: " + "[" * 900 + "]" * 900,
        "- " * 100_000,
        "{a: " * 50_000,
        "? " * 60_000,
        "".join(" " * i + "a:\n" for i in range(600)),
        "a: " + "9" * 100_000,
        "a: 2001-99-99\n",
        "a: 0b\nb: 0x\nc: 1:60:99999999999\nd: .inf\ne: !!int x\n",
        "a: !!timestamp x\n",
        "a: !!binary \u00fc\n",
        "a: !!python/name:os.system\n",
        "? {a: b}\n: c\n",
        "? [a, b]\n: c\n",
        "<<: 5\n",
        "<<: [a]\n",
        "name: " + "x" * 300_000,
        "%YAML 9.9\n---\na: b\n",
        "a: b\n---\nc: d\n",
        "\ufeffname: a\n",
        "a\x00b: c\n",
        TASK.replace("name: a", "name: ../up"),
        TASK.replace("name: a", "name: /etc"),
        TASK.replace("name: a", 'name: ""'),
        TASK.replace("name: a", 'name: "a\\0b"'),
        TASK.replace("name: a", "name: a\nseed: -1"),
        TASK.replace("name: a", "name: a\nseed: 1" + "0" * 30),
        TASK.replace("{t:", "{../t:"),
        TASK.replace("{r:", "{'a/b':").replace("ship: r", "ship: a/b"),
        TASK.replace("kind: like", "kind: [like]"),
        TASK.replace("gate: 'auc:1'", "gate: [1]"),
        TASK.replace("ship: r", "ship: {r: 1}"),
        TASK.replace("ship: r", "ship: r, model: [dcn]"),
        TASK.replace("ship: r", "ship: r, liked: .nan"),
        TASK.replace("ship: r", "ship: r, trained_small: 5"),
        TASK.replace("ship: r", "ship: r, trained_small: [[a, b]]"),
        TASK.replace("ship: r", "ship: r, trained_small: [[.inf, 1]]"),
        TASK.replace("steps: []", "fingerprint: {1: 8}"),
        TASK.replace("steps: []", "steps: [{[quantize]: {}}]"),
        TASK.replace("steps: []", "steps: [{quantize: {target: [a], bits: {a: b}}}]"),
        TASK.replace("steps: []", "steps: [{drop_rows: {target: a, budget: {uniform: {keep: [1]}}}}]"),
        TASK.replace("steps: []", "steps: [{drop_rows: {target: a, budget: {1: 2}}}]"),
        TASK.replace("steps: []", "steps: [{factorize: {target: a, rank: .nan}}]"),
    ],
    ids=range(50),
)
def test_what_is_made_to_exhaust_or_mislead(folder, text):
    assert not config_of(folder, text.encode())
    assert not log_of(folder, text.encode())


def test_a_directory_a_loop_and_nothing(tmp_path):
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for path in (tmp_path, tmp_path / "loop.yaml", tmp_path / "none.yaml", tmp_path / ("x" * 300), Path("a\0b")):
        assert not parsed(read_config, path)
        assert not parsed(read_log, path)


def test_an_endless_file_is_not_read_to_its_end():
    assert not parsed(read_config, Path("/dev/zero"))
    assert not parsed(read_log, Path("/dev/zero"))
