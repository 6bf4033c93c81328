"""What a plan says before any work."""

import numpy as np
import pytest
import torch
from torch import nn

from recprune import Recipe, RecpruneError, compress, plan
from recprune.adapters.torch import Batches


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.item = nn.Embedding(200, 8)
        self.user = nn.Embedding(100, 8)
        self.bias = nn.Embedding(100, 1)
        self.out = nn.Linear(8, 1)

    def forward(self, user, item):
        return self.out(self.user(user) * self.item(item)).squeeze(1) + self.bias(user).squeeze(1)


def batches(loss=True):
    rng = np.random.default_rng(0)
    pairs = [(torch.tensor(rng.integers(0, 100, 64)), torch.tensor(rng.integers(0, 200, 64))) for _ in range(5)]
    return Batches(pairs, (lambda model, batch: model(*batch).square().sum()) if loss else None)


def recipe(*steps):
    return Recipe.from_json({"steps": list(steps)})


DROP = {"drop_rows": {"target": "item.*,user.*", "budget": {"per_parameter": {"item.*": 0.25}}}}


def test_every_part_has_a_line_and_training_is_named_and_skipped():
    lines = []
    found = plan(Model(), recipe(DROP, {"retrain": {"epochs": 3}}), batches(loss=False), say=lines.append)
    by_part = {line["part"]: line for line in found.plan}
    assert set(by_part) == {"item.weight", "user.weight", "bias.weight", "out.weight", "out.bias"}
    # 50 rows of 200, the shared one and a bitmap of 200.
    assert by_part["item.weight"]["bytes_before"] == 6400
    assert by_part["item.weight"]["bytes_after"] == 51 * 32 + 25
    assert by_part["user.weight"]["bytes_after"] == by_part["user.weight"]["bytes_before"] == 3200
    assert by_part["user.weight"]["how"] == "as it was: retrained, and no other step names it"
    untouched = plan(Model(), recipe(DROP), batches(loss=False)).plan
    assert [line["how"] for line in untouched if line["part"] == "user.weight"] == ["as it was: no step names it"]
    assert [line for line in lines if line.startswith("not now: retrain for up to 3 epochs")]


def test_a_plan_is_what_compress_then_does():
    model, steps = Model(), recipe(DROP, {"retrain": {"epochs": 1, "distill": 0}})
    assert plan(model, steps, batches()).plan == compress(model, steps, batches()).plan


def test_a_recipe_that_grows_is_refused_with_the_numbers():
    with pytest.raises(RecpruneError, match=r"makes the model larger: [\d,]+ bytes, 1\.00 times"):
        # 98 rows of 4 bytes and a bitmap of 13: 5 bytes more than before.
        plan(Model(), recipe({"drop_rows": {"target": "bias.*", "budget": {"uniform": 0.97}}}), batches())


@pytest.mark.parametrize("given", [None, [], {"steps": []}])
@pytest.mark.parametrize("run", [compress, plan])
def test_what_is_no_recipe_is_refused(run, given):
    with pytest.raises(RecpruneError, match=r"a Recipe is due, which Recipe.from_json makes of JSON or YAML; got"):
        run(Model(), given, batches())


def test_a_model_of_the_users_own_fits_into_bytes_and_has_every_importance():
    model = Model()
    whole = sum(plan(model, recipe(), batches()).parts.values())
    found = plan(model, recipe({"fit_bytes": {"bytes": whole // 2}}), batches())
    assert whole // 3 < sum(found.parts.values()) <= whole // 2
    with pytest.raises(RecpruneError, match="cannot be met: the smallest reachable is") as refused:
        plan(model, recipe({"fit_bytes": {"bytes": 1000}}), batches())
    smallest = int(str(refused.value).split()[-1].replace(",", ""))
    assert 1000 < smallest < whole // 2
    for size in (smallest, smallest + 1, smallest + 40, smallest + 300):  # what describes the parts is most of this
        assert sum(plan(model, recipe({"fit_bytes": {"bytes": size}}), batches()).parts.values()) <= size
    with pytest.raises(RecpruneError, match=f"cannot be met: the smallest reachable is {smallest:,}"):
        plan(model, recipe({"fit_bytes": {"bytes": smallest - 1}}), batches())
    for importance in ("taylor", "activation", "random"):
        step = {"drop_rows": {"target": "item.*", "budget": {"uniform": 0.5}, "importance": importance}}
        assert plan(model, recipe(step), batches()).size_bytes < 8_000
    with pytest.raises(RecpruneError, match="gradients need a loss"):
        plan(model, recipe(step | {"drop_rows": step["drop_rows"] | {"importance": "taylor"}}), batches(loss=False))
