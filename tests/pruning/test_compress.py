"""From a snapshot and a recipe to an artifact, and the plan that says what was done to each part."""

import re

import numpy as np
import pytest

from recprune.artifact import write
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning import Recipe
from recprune.pruning.budgets import Uniform
from recprune.pruning.compress import apply, pack
from recprune.pruning.methods import DropFields, DropRows, Factorize, Quantize
from recprune.pruning.step import Step
from recprune.runtime import Scorer, load
from recprune.weights import Dense

from ..small import like, request

READS = Context({"user": np.arange(7), "book": np.arange(9), "title": np.arange(4), "age": np.arange(4)})


def compressed(*steps, fingerprint=None, hidden=5):
    return apply(like(hidden=hidden), Recipe(steps, fingerprint), READS, None, None)


def plan(result):
    return {row["part"]: row for row in result.plan}


def test_every_part_has_a_line():
    result = compressed(
        DropFields(("title",)), DropRows("user.factor", Uniform(0.3), "popularity"), Quantize("book.*", 8)
    )
    lines = plan(result)
    assert set(lines) == {*like().weights, "ids of user", "ids of book", "ids of title"}
    assert lines["title.factor"]["how"] == "gone: nothing reads it any more"
    assert lines["title.factor"]["bytes_after"] == 0
    # Three rows of seven stay: one of them that of unknown ids, so two ids.
    assert lines["user.factor"]["bytes_before"] == 7 * 12
    assert lines["user.factor"]["bytes_after"] == 3 * 12
    assert lines["user.factor"]["how"] == "3 x 3 left: float32"
    assert lines["ids of user"]["how"] == "2 of 6 ids"
    assert lines["ids of title"]["bytes_after"] == 0
    assert lines["book.factor"]["how"] == "8 bits per row"
    assert lines["book.factor"]["bytes_after"] == 9 * (4 + 2)
    assert lines["out.bias"]["how"] == "as it was: no step names it"
    assert lines["hidden.weight"]["bytes_after"] == 5 * 9 * 4
    assert result.size_bytes == sum(row["bytes_after"] for row in result.plan)


def test_what_a_step_could_not_make_smaller_says_so():
    lines = plan(compressed(Quantize("book.factor", 8), Factorize("book.bias", 3)))
    assert lines["book.bias"]["how"] == "as it was: factorize did not make it smaller"


def test_the_artifact_is_what_the_plan_says(tmp_path):
    steps = DropRows("*.factor", Uniform(0.5), "popularity"), Quantize("*.weight", 8)
    result = compressed(*steps, fingerprint=12, hidden=64)
    sizes = result.save(tmp_path / "small", {"licence": "ours"})
    assert sizes["weights_bytes"] + sizes["vocabulary_bytes"] == result.size_bytes
    scorer = load(tmp_path / "small")
    stored = scorer.artifact.metadata["plan"]
    assert stored["hidden.weight"] == [64 * 11 * 4]  # how it is stored now stands in the manifest
    assert stored["out.bias"] == [4, "as it was: no step names it"]
    assert set(stored) == {line["part"] for line in result.plan}
    assert scorer.artifact.metadata["licence"] == "ours"
    assert Recipe.from_json(scorer.artifact.recipe) == result.recipe
    np.testing.assert_array_equal(scorer.score(request()), Scorer(result.artifact).score(request()))
    assert "12 bits of a hash each" in plan(result)["ids of book"]["how"]


def test_the_parts_are_all_that_lies_on_the_disk(tmp_path):
    result = compressed(Quantize("*.weight", 8), fingerprint=12, hidden=64)
    sizes = result.save(tmp_path / "small")
    assert sum(result.parts.values()) == sizes["disk_bytes"]
    assert sizes["disk_bytes"] == sum(file.stat().st_size for file in (tmp_path / "small").iterdir())


def test_the_original_is_written_by_the_same_code():
    result = compressed()
    assert result.compression_ratio == 1
    np.testing.assert_array_equal(
        Scorer(pack(like(), Recipe())).score(request()), Scorer(result.artifact).score(request())
    )


class Larger(Step):
    verb = "larger"

    def __call__(self, weights, context):
        return weights.replace("age.factor", _Padded(weights["age.factor"].value.values))

    def touches(self, weights):
        return ["age.factor"]

    def describe(self):
        return "make it larger"


class _Padded(Dense):
    kind = "padded"

    @property
    def nbytes(self):
        return 10_000


def test_a_recipe_that_makes_the_model_larger_is_refused():
    # The 32 bytes of age.factor become 10,000, and all are 681 - 32 + 10,000.
    said = "the recipe makes the model larger: 10,649 bytes, 15.64 times the 681 of the original"
    with pytest.raises(RecpruneError, match=f"^{re.escape(said)}$"):
        compressed(Larger())


def test_an_artifact_that_is_larger_is_not_written(tmp_path):
    result = compressed(Quantize("out.weight", 8))
    # Five values of four bytes become five codes and a scale.
    assert compressed().size_bytes - result.size_bytes == 5 * 4 - (5 + 2)
    start = write(pack(like(), Recipe()), tmp_path / "original")["disk_bytes"]
    stop = write(result.artifact, tmp_path / "small")["disk_bytes"]
    said = f"artifact larger: {stop:,} bytes, {stop / start:.2f} times the {start:,} of the original"
    assert stop > start
    with pytest.raises(RecpruneError, match=f"^the recipe makes the {re.escape(said)}$"):
        result.save(tmp_path / "refused")
    assert {path.name for path in tmp_path.iterdir()} == {"original", "small"}


@pytest.mark.parametrize("steps", [(), (Factorize("book.bias", 3),)], ids=["no step", "a step that saves nothing"])
def test_what_changes_no_size_is_written(steps, tmp_path):
    result = compressed(*steps)
    start = write(pack(like(), Recipe()), tmp_path / "original")["disk_bytes"]
    assert result.save(tmp_path / "same")["disk_bytes"] > start  # by what it says of its parts
    np.testing.assert_array_equal(
        load(tmp_path / "same").score(request()), Scorer(pack(like(), Recipe())).score(request())
    )


def test_a_fingerprint_of_an_axis_without_ids_is_refused():
    with pytest.raises(
        RecpruneError, match=r"^fingerprint 'zzz' matches no axis with ids; they are: user, book, title$"
    ):
        compressed(fingerprint={"user": 8, "zzz": 9})
    # A step may remove the axis that was meant.
    compressed(DropFields(("title",)), fingerprint={"title": 8})


class Broken(Larger):
    def __call__(self, weights, context):
        table = weights["age.factor"].value
        value = Dense(np.ones(table.shape, np.float32))
        value.values[0, 0] = np.nan
        return weights.replace("age.factor", value)


def test_a_step_that_leaves_nan_is_named():
    with pytest.raises(RecpruneError, match=r"larger left NaN or infinity in 'age\.factor'"):
        compressed(Broken())


def test_steps_say_what_they_do():
    lines = []
    context = Context(READS.popularity, say=lines.append)
    apply(like(), Recipe((Quantize("*", 8),)), context, None, None)
    assert lines == ["quantize * to 8 bits, a scale per row"]
