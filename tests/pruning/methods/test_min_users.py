"""Rows that too few users stand behind, merged by hand; users counted by the adapters."""

import numpy as np
import pytest

from recprune import Recipe, compress
from recprune.adapters import adapter_for
from recprune.context import Context
from recprune.data import read_log
from recprune.errors import RecpruneError
from recprune.pruning.budgets import Uniform
from recprune.pruning.methods import DropRows, MinUsers
from recprune.recommenders.ease import ItemItem
from recprune.recommenders.like import LIKE, LikeSettings, features_for, like_data, train_like
from recprune.recommenders.next_item_data import next_item_data
from recprune.recommenders.tables import ModelSettings
from recprune.recommenders.training import Training
from recprune.weights import Dense, Param, Weights
from tests.pipeline.toy import write_log


def table(values, protected, axis="book"):
    return Weights({"t": Param((axis, "f"), Dense(np.array(values, np.float32)[:, None]), protected)})


def counted(reads, users):
    return Context({"book": np.array(reads)}, users={"book": np.array(users)})


def rows(weights):
    return weights["t"].value.decode().ravel().tolist()


def test_rare_rows_read_the_mean_by_their_readings():
    # Rows 0 and 2 rest on one user and three; with the row of unknown ids, which nobody read: (1 * 2 + 9 * 6) / 8 = 7.
    context = counted([2, 50, 6, 0], [1, 7, 3, 0])
    found = MinUsers("t", 4)(table([1, 2, 9, 0], (3,)), context)
    assert rows(found) == [7, 2, 7, 7]
    assert found["t"].value.mask().tolist() == [False, True, False, True]
    # Many readings by one user do not save a row, and k users are enough.
    assert rows(MinUsers("t", 3)(table([1, 2, 9, 0], (3,)), counted([99, 50, 6, 0], [1, 7, 3, 0]))) == [1, 2, 9, 1]
    assert rows(MinUsers("t", 1)(table([1, 2, 9, 0], (3,)), context)) == [1, 2, 9, 0]


def test_a_user_is_one_user():
    context = Context({"user": np.array([40, 3, 0])}, users={"user": np.array([1, 1, 0])})
    found = MinUsers("t", 2)(table([4, 8, 0], (2,), "user"), context)
    assert found["t"].value.mask().tolist() == [False, False, True]


def test_what_was_dropped_before_stays_dropped():
    context = counted([2, 50, 6, 1], [9, 7, 9, 0])
    first = DropRows("t", Uniform(0.75), "popularity")(table([1, 2, 9, 0], (3,)), context)
    assert first["t"].value.mask().tolist() == [False, True, True, True]
    # Nine users stand behind row 0, but it is gone.
    again = MinUsers("t", 8)(first, context)
    assert again["t"].value.mask().tolist() == [False, False, True, True]


def test_what_it_cannot_act_on_is_named():
    with pytest.raises(RecpruneError, match="k must be a whole number of users, 1 or more, got 0"):
        MinUsers("t", 0)
    with pytest.raises(RecpruneError, match="min_users cannot act on 't': it is no table whose users were counted"):
        MinUsers("t", 2)(table([1, 2], (1,)), Context({"book": np.array([1, 2])}))
    with pytest.raises(RecpruneError, match=r"users of axis 'book' have shape \(2,\), the axis has 3 rows"):
        MinUsers("t", 2)(table([1, 2, 3], (2,)), Context(users={"book": np.array([1, 2])}))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return read_log(write_log(tmp_path_factory.mktemp("log"), users=60, items=40))


def test_the_users_of_a_like_model_are_those_of_its_training_rows(log):
    data = like_data(log)
    features = features_for(LIKE.features, data.train, 8.0)
    settings = LikeSettings("dcn", features, ModelSettings(width=4, min_readings=1, deep=(8,)), Training(epochs=1))
    model = train_like(data, settings).model.eval()
    adapter = adapter_for(model)
    snapshot, context = adapter.read(model), adapter.context(model, data, 0, lambda line: None)
    train = data.train
    for axis in ("user", "item", "author", "country"):
        by_id = {str(name): frame["user"].n_unique() for (name,), frame in train.group_by(axis)}
        expected = [by_id.get(name, 0) for name in snapshot.ids[axis].tolist()]
        assert context.users[axis].tolist() == [*expected, 0], axis
    assert set(context.users["user"][:-1].tolist()) <= {0, 1}
    pair = {f"{u}\x1f{a}" for u, a in train.select("user", "author").iter_rows()}
    assert context.users["user x author"].sum() == len(pair)  # each of one user
    for axis, users in context.users.items():
        assert len(users) == snapshot.weights.sizes[axis]
    merged = compress(model, Recipe((MinUsers("tables.*,statistics.*", 5),)), data).artifact
    assert len(merged.vocabularies["user"]) == 0
    assert len(merged.vocabularies["user x author"]) == 0
    assert len(merged.vocabularies["author"]) == 7


def test_the_users_of_an_item_are_its_readers(log):
    data = next_item_data(log, min_reads=3)
    model = ItemItem.fit(data.user_items, data.items[: data.catalogue], 5.0)
    context = adapter_for(model).context(model, data, 0, lambda line: None)
    readers = np.asarray((data.user_items != 0).sum(axis=0)).ravel()
    assert context.users["item"].tolist() == [*readers.tolist(), 0]
