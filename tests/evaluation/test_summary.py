import copy
import json

import numpy as np
import pytest

from recprune import evaluation as ev
from recprune.errors import RecpruneError


def value(v):
    return {"value": v, "low": v - 0.01, "high": v + 0.01}


def minimal():
    metric = {"original": value(0.7), "compressed": value(0.7), "difference": value(0.0), "higher_is_better": True}
    size = {"disk_bytes": 10, "weights_bytes": 8, "vocabulary_bytes": 1, "resident_bytes": 12}
    time = {"p50_us": 10.0, "p99_us": 12.5, "how": "one row"}
    task = {
        "size": {"original": size, "compressed": size, "ratio": {"disk": 1.0, "weights": 1.0}},
        "metrics": {"auc": metric},
        "slices": {"books:tail": {"users": 3, "rows": 4, "metrics": {"auc": metric}}},
        "scoring": {"original": time, "compressed": time, "ratio": 1.0},
        "peers": {"popularity": {"metrics": {"auc": value(0.6)}, "disk_bytes": None}},
        "frontier": [{"name": "a", "kind": "ours", "disk_bytes": 10, "differences": {"auc": value(0.0)}}],
        "advantage": [{"metric": "auc", "drop": 0.0, "ours_bytes": 1, "peer": "b", "peer_bytes": 2, "value": 2.0}],
        "gate": ev.Gate.parse("auc:0.001").check({"auc": metric}),
    }
    return {
        "format": 1,
        "name": "t",
        "machine": {},
        "versions": {"recprune": "0.1.0"},
        "seeds": [0],
        "tasks": {"like": task},
    }


def test_the_smallest_summary_comes_back_from_disk(tmp_path):
    path = tmp_path / "runs" / "summary.json"
    ev.write_summary(minimal(), path)
    assert ev.read_summary(path) == minimal()
    assert [p.name for p in path.parent.iterdir()] == ["summary.json"]


def test_what_compare_and_gate_give_is_what_the_schema_asks_for():
    truth = ev.RowTruth([1, 0, 1, 0], ["a", "a", "b", "b"])
    scores = np.array([0.9, 0.2, 0.4, 0.6])
    part = [ev.Slice("rows:first", np.array([True, True, False, False])), ev.Slice("rows:liked", truth.labels)]
    found = ev.compare(truth, scores, scores[::-1].copy(), ["auc", "logloss"], part).to_json()
    summary = minimal()
    summary["tasks"]["like"] |= found
    summary["tasks"]["like"]["gate"] = ev.Gate.parse("auc:1,logloss:5%").check(found["metrics"])
    ev.validate(json.loads(json.dumps(summary)))
    assert set(summary["tasks"]["like"]["slices"]["rows:liked"]["undefined"]) == {"auc"}


def at(summary, path):
    for key in path[:-1]:
        summary = summary[key]
    return summary, path[-1]


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        (["tasks", "like", "size", "ratio"], {"weights": 1.0}, "tasks.like.size.ratio: 'disk' is missing"),
        (["tasks", "like", "reciepe"], {}, "tasks.like: unknown field 'reciepe'; did you mean 'recipe'"),
        (["tasks", "like", "frontier", 0, "kind"], "theirs", r"frontier\[0\].kind: 'theirs' is not one of"),
        (["tasks", "like", "metrics", "auc", "difference", "value"], float("nan"), "difference.value: nan is not"),
        (["tasks", "like", "metrics", "auc", "difference", "high"], 1e20, "difference.high: the number is beyond 2"),
        (["tasks", "like", "size", "original", "disk_bytes"], 10**400, "original.disk_bytes: the number is beyond 2"),
        (["tasks", "like", "size", "original", "disk_bytes"], 0, "original.disk_bytes: 0 is less than the minimum"),
        (["tasks", "like", "peers", "x"], {"metrics": {}, "disk_bytes": -1}, "peers.x.disk_bytes"),
        (["tasks", "like", "metrics", "auc", "original", "low"], 0.9, "auc.original: low 0.9 is above high"),
        (["tasks", "like", "gate", "passed"], "yes", "gate.passed: 'yes' is not of type 'boolean'"),
        (["tasks"], {}, "summary.json: tasks: "),
        (["seeds"], [], "seeds: "),
        (["format"], 2, "format 2 is newer than 1"),
        (["format"], "1", "format: "),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(path, new, message):
    summary = copy.deepcopy(minimal())
    where, key = at(summary, path)
    where[key] = new
    with pytest.raises(RecpruneError, match=message) as caught:
        ev.validate(summary)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_summary(tmp_path):
    with pytest.raises(RecpruneError, match="no such summary"):
        ev.read_summary(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    for text in ('{"format": 1,', "\xff", "[]", "[" * 100_000):
        broken.write_text(text, encoding="latin-1")
        with pytest.raises(RecpruneError, match=r"broken\.json"):
            ev.read_summary(broken)


def test_a_refused_summary_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "summary.json"
    ev.write_summary(minimal(), path)
    with pytest.raises(RecpruneError):
        ev.write_summary(minimal() | {"name": ""}, path)
    assert ev.read_summary(path)["name"] == "t"
    assert len(list(tmp_path.iterdir())) == 1


def test_every_field_of_the_schema_is_described():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "summary.md").read_text(encoding="utf-8")

    def names(node):
        if isinstance(node, dict):
            for key, inner in node.items():
                if key == "properties":
                    yield from inner
                yield from names(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from names(inner)

    missing = {name for name in names(ev.schema()) if f"`{name}`" not in text and f"{name}" not in text.split("`")}
    words = set(text.replace("`", " ").replace('"', " ").replace(",", " ").replace(".", " ").split())
    assert {name for name in missing if name not in words} == set()
