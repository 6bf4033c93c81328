"""Recipes come back from JSON and YAML, and name what they do not know."""

import json

import numpy as np
import pytest
import yaml

from recprune.errors import RecpruneError
from recprune.pruning import Recipe
from recprune.pruning.budgets import BUDGETS, PerParameter, TotalBytes, Uniform, budget_from
from recprune.pruning.methods import (
    METHODS,
    Cast,
    Codebook,
    Compensate,
    DropAxis,
    DropFields,
    DropIds,
    DropRows,
    DropTrees,
    DropWeights,
    Factorize,
    FitBytes,
    KeepTop,
    MergeLeaves,
    MinUsers,
    Mixed,
    Quantize,
    RefitLeaves,
    Retrain,
    RoundThresholds,
    Share,
    ShrinkLeaves,
    Sparsify,
)

STEPS = (
    DropRows("*.factor", Uniform(0.1)),
    DropRows("book.*", TotalBytes(10_000), "magnitude"),
    DropAxis("hidden", 0.5),
    DropFields(("city", "user ratings")),
    DropIds("word", 0.2, "chi_squared"),
    DropWeights("*.factor", 0.1),
    Quantize("*", 4, "per_group", 16),
    Quantize("*.bias", 8, "per_column"),
    Cast("*.bias", "bfloat16"),
    Codebook("*.factor", 6),
    Codebook("*.factor", 4, 2),
    Mixed("*.factor", (0.5, 0.5), (8, 4)),
    Mixed("*.factor", (0.5, 0.5), (8, 4), "value", (8, 2)),
    Share("*.factor", 0.1, 64, "quotient"),
    Factorize("*.factor", 4),
    Factorize("*.factor", energy=0.9),
    Factorize("*.factor", bytes=10_000),
    Factorize("*.factor", change=0.1),
    FitBytes(500_000, "tables.*"),
    DropRows("*.factor", PerParameter({"user.*": 0.5, "*": 0.1})),
    DropAxis("hidden", 0.5, "taylor"),
    KeepTop("similar", 6),
    Sparsify("hidden", 0.5, "axis", "l2", 3, 0.01, 0.0),
    Compensate("*.weight", 0.1),
    Retrain(3, 0.01, 0.0),
    DropTrees(40),
    MergeLeaves(0.25),
    ShrinkLeaves(20.0),
    RoundThresholds(5),
    RefitLeaves("labels", 50.0, 3),
    MinUsers("*.factor", 5),
)


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.verb)
@pytest.mark.parametrize("fingerprint", [None, 1, 16])
def test_json_and_yaml_round_trip(step, fingerprint):
    recipe = Recipe((step,), fingerprint)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert Recipe.from_json(yaml.safe_load(yaml.safe_dump(recipe.to_json()))) == recipe
    assert Recipe.from_json(json.loads(str(recipe))) == recipe
    assert len(recipe.describe()) == 1 + (fingerprint is not None)


def test_all_steps_and_all_methods():
    assert {type(step) for step in STEPS} == set(METHODS.values())
    assert Recipe.from_json(Recipe(STEPS).to_json()) == Recipe(STEPS)
    assert Recipe.from_json({}) == Recipe() == Recipe.from_json({"steps": None})
    assert hash(Recipe(STEPS)) == hash(Recipe(list(STEPS)))


def test_as_people_write_it():
    text = """
    fingerprint: 8
    steps:
      - drop_rows: {target: "*.factor", budget: {uniform: 0.1}}
      - drop_rows: {target: "*.bias", budget: {total_bytes: {bytes: 5000}}, importance: popularity}
      - quantize: {target: "*"}
      - drop_fields: {fields: [city]}
      - retrain:
    """
    assert Recipe.from_json(yaml.safe_load(text)) == Recipe(
        (
            DropRows("*.factor", Uniform(0.1)),
            DropRows("*.bias", TotalBytes(5000), "popularity"),
            Quantize("*"),
            DropFields(("city",)),
            Retrain(),
        ),
        8,
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "a recipe is a mapping"),
        (None, "a recipe is a mapping"),
        ({"step": []}, "unknown key in a recipe 'step'; did you mean 'steps'"),
        ({"steps": {}, "x": 1}, "unknown key in a recipe 'x'"),
        ({"steps": "quantize"}, "steps must be a list"),
        ({"steps": ["quantize"]}, "a step is one verb with its fields"),
        ({"steps": [{"quantize": {}, "retrain": {}}]}, "a step is one verb"),
        ({"steps": [{"drop_row": {}}]}, "unknown step 'drop_row'; did you mean 'drop_rows'"),
        ({"steps": [{5: {}}]}, "unknown step '5'"),
        ({"steps": [{"quantize": [8]}]}, "the fields of quantize are a mapping"),
        ({"steps": [{"quantize": {"target": "*", "bit": 8}}]}, "unknown field of quantize 'bit'; did you mean 'bits'"),
        ({"steps": [{"quantize": {}}]}, "quantize: target is missing; fields are: target, bits, granularity, group"),
        (
            {"steps": [{"keep_top": {"target": "a", "per_column": float("inf")}}]},
            "per_column must be a number, got inf",
        ),
        (
            {"steps": [{"keep_top": {"target": "a", "per_column": "6"}}]},
            "keep_top: per_column must be a number, got '6'",
        ),
        ({"steps": [{"keep_top": {"target": "a", "refit": "no"}}]}, "keep_top: refit must be true or false, got 'no'"),
        ({"steps": [{"keep_top": {"target": "a", "bits": True}}]}, "keep_top: bits must be a whole number, got True"),
        (
            {"steps": [{"shrink_leaves": {"strength": float("nan")}}]},
            "shrink_leaves: strength must be a number, got nan",
        ),
        ({"steps": [{"retrain": {"lr": "0.1"}}]}, "retrain: lr must be a number, got '0.1'"),
        ({"steps": [{"retrain": {"distill": True}}]}, "retrain: distill must be a number, got True"),
        ({"steps": [{"quantize": {"target": 5}}]}, "target must be a pattern"),
        ({"steps": [{"quantize": {"target": ["a", "b"]}}]}, "target must be a pattern"),
        ({"steps": [{"quantize": {"target": "*", "bits": 5}}]}, "bits must be one of 1, 2, 3, 4, 8, got 5"),
        ({"steps": [{"quantize": {"target": "*", "bits": "8"}}]}, "quantize: bits must be a whole number, got '8'"),
        ({"steps": [{"quantize": {"target": "*", "bits": [8]}}]}, "bits must be a whole number, got"),
        ({"steps": [{"cast": {"target": "*", "dtype": "float8"}}]}, "unknown dtype 'float8'; did you mean 'float16'"),
        ({"steps": [{"quantize": {"target": "*", "granularity": "row"}}]}, "unknown granularity 'row'"),
        ({"steps": [{"quantize": {"target": "*", "group": 4}}]}, "group is for granularity per_group, not 'per_row'"),
        ({"steps": [{"drop_rows": {"target": "*"}}]}, "drop_rows: .*budget"),
        (
            {"steps": [{"drop_rows": {"target": "*", "budget": 0.5}}]},
            "a budget is one of uniform, total",
        ),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {}}}]}, "a budget is one of"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"unifrom": 1}}}]}, "did you mean 'uniform'"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"uniform": {}}}}]}, "budget uniform: .*keep"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"uniform": {"kep": 1}}}}]}, "did you mean 'keep'"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"uniform": 1.3}}}]}, r"keep must be in \(0, 1\], got 1.3"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"uniform": float("nan")}}}]}, "keep must be in"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"uniform": True}}}]}, "keep must be in"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"total_bytes": "1e6"}}}]}, "bytes must be a positive"),
        (
            {"steps": [{"drop_rows": {"target": "*", "budget": {"uniform": 0.5}, "importance": "popular"}}]},
            "did you mean 'popularity'",
        ),
        (
            {"steps": [{"drop_rows": {"target": "*", "budget": {"uniform": 0.5}, "importance": []}}]},
            "drop_rows: importance must be a text, got",
        ),
        ({"steps": [{"drop_weights": {"target": "*", "keep": 1.3}}]}, r"keep must be in \(0, 1\], got 1.3"),
        (
            {"steps": [{"drop_rows": {"target": "*", "budget": {"per_parameter": {"a": 2}}}}]},
            r"keep must be in \(0, 1\]",
        ),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"per_parameter": 0.5}}}]}, "keep must be fractions by"),
        ({"steps": [{"drop_rows": {"target": "*", "budget": {"per_parameter": {}}}}]}, "keep must be fractions by"),
        ({"steps": [{"fit_bytes": {"bytes": 1e6}}]}, "bytes must be a whole number, got 1000000.0"),
        ({"steps": [{"fit_bytes": {"bytes": 0}}]}, "bytes must be a positive"),
        ({"steps": [{"drop_axis": {"axis": "hidden", "keep": 0}}]}, "keep must be in"),
        ({"steps": [{"drop_axis": {"axis": None, "keep": 0.5}}]}, "axis must be a pattern"),
        ({"steps": [{"drop_fields": {"fields": "city"}}]}, "fields must be a list of names"),
        ({"steps": [{"factorize": {"target": "*", "rank": 0}}]}, "rank must be a positive"),
        ({"steps": [{"factorize": {"target": "*"}}]}, "exactly one of rank, energy, bytes, change, got none"),
        ({"steps": [{"factorize": {"target": "*", "rank": 2, "bytes": 9}}]}, "got rank and bytes"),
        ({"steps": [{"factorize": {"target": "*", "bytes": 1.5}}]}, "bytes must be a whole number or nothing, got 1.5"),
        ({"steps": [{"factorize": {"target": "*", "energy": 1.0}}]}, r"energy must be in \(0, 1\), got 1.0"),
        ({"steps": [{"codebook": {"target": 5}}]}, "target must be a pattern"),
        ({"steps": [{"codebook": {"target": "*", "parts": 0}}]}, "parts must be a positive whole number, got 0"),
        (
            {"steps": [{"mixed": {"target": "*", "reads": 0.5, "bits": [8]}}]},
            "reads must be a list, each a number, got 0.5",
        ),
        ({"steps": [{"mixed": {"target": "*", "reads": [0.5, 0.4], "bits": [8, 4]}}]}, "that add up to 1, got"),
        ({"steps": [{"mixed": {"target": "*", "reads": [1.5, -0.5], "bits": [8, 4]}}]}, r"shares in \(0, 1\]"),
        ({"steps": [{"mixed": {"target": "*", "reads": [0.5, 0.5], "bits": [8]}}]}, "2 groups of reads need as many"),
        ({"steps": [{"mixed": {"target": "*", "reads": [0.5, 0.5], "bits": [8, 13]}}]}, "bits of a codebook must be"),
        (
            {"steps": [{"mixed": {"target": "*", "reads": [0.5, 0.5], "bits": [8, 5], "per": "value"}}]},
            "bits must be one of 1, 2, 3, 4, 8, got 5",
        ),
        ({"steps": [{"mixed": {"target": "*", "reads": [1], "bits": [8], "per": "rows"}}]}, "did you mean 'row'"),
        ({"steps": [{"mixed": {"target": "*", "reads": [1], "bits": [8], "width": [2]}}]}, "width is for codes per"),
        (
            {"steps": [{"mixed": {"target": "*", "reads": [1], "bits": [8], "per": "value", "width": [0]}}]},
            "width must be positive whole numbers",
        ),
        ({"steps": [{"share": {"target": "*", "keep": 0}}]}, r"keep must be in \(0, 1\], got 0"),
        ({"steps": [{"share": {"target": "*", "keep": 0.5, "rows": 5000}}]}, r"rows must be 2\.\.4096 shared rows"),
        ({"steps": [{"share": {"target": "*", "keep": 0.5, "by": "hashes"}}]}, "did you mean 'hash'"),
        ({"steps": [{"retrain": {"epochs": 0}}]}, "epochs must be"),
        ({"steps": [{"retrain": {"lr": float("nan")}}]}, "lr must be"),
        ({"steps": [{"retrain": {"lr": float("inf")}}]}, "lr must be"),
        ({"steps": [{"retrain": {"distill": 2}}]}, r"distill must be in \[0, 1\]"),
        ({"fingerprint": 0}, r"fingerprint must be 1\.\.16 bits, by axis or for all, or none; got 0"),
        ({"fingerprint": True}, "fingerprint must be"),
        ({"fingerprint": "8"}, "fingerprint must be"),
    ],
)
def test_what_is_no_recipe_is_named(given, message):
    with pytest.raises(RecpruneError, match=message) as error:
        Recipe.from_json(given)
    assert "\n" not in str(error.value)


def test_a_recipe_takes_steps_only():
    with pytest.raises(RecpruneError, match="consists of steps"):
        Recipe(("quantize",))


@pytest.mark.parametrize("budget", [Uniform(0.25), TotalBytes(12), PerParameter({"a*": 0.5, "*": 1})])
def test_budgets_round_trip(budget):
    assert budget_from(json.loads(json.dumps(budget.to_json()))) == budget
    assert set(BUDGETS) == {"uniform", "total_bytes", "per_parameter"}


def test_numbers_of_numpy_are_taken_as_numbers():
    steps = (
        DropRows("*", Uniform(np.float64(0.5))),
        DropRows("*", TotalBytes(np.int64(900))),
        Quantize("*", np.int64(4)),
        KeepTop("*", np.int32(8)),
        Retrain(np.int64(2), lr=np.float32(0.5)),
        DropWeights("*", np.float64(0.25)),
    )
    given = Recipe(steps)
    assert json.loads(json.dumps(given.to_json())) == given.to_json()
    assert Recipe.from_json(given.to_json()) == given
