"""The list of users who are left out of a log."""

import json
from importlib import import_module

import polars as pl
import pytest

from recprune.data import Forgotten, Log
from recprune.errors import RecpruneError

books = import_module("recprune.data.book_crossing")


def log(users):
    attributes = pl.DataFrame({"user": [*users, type(users[0])(9)], "age": [20.0] * (len(users) + 1)})
    return Log(
        "toy", pl.DataFrame({"user": users, "item": ["a"] * len(users), "rating": [1.0] * len(users)}), attributes
    )


@pytest.mark.parametrize("users", [["1", "2", "3"], [1, 2, 3]])
def test_users_leave_interactions_and_attributes_whatever_their_type(users):
    some = Forgotten().adding(["2", "9"])
    left = some.without(log(users))
    assert left.interactions["user"].to_list() == [users[0], users[2]]
    assert left.users["user"].to_list() == [users[0], users[2]]
    assert left.repairs["users forgotten"] == 2
    assert some.without(left).repairs["users forgotten"] == 0


def test_nobody_changes_nothing():
    whole = log(["1", "2"])
    assert Forgotten().without(whole) is whole
    assert Forgotten().digest == ""


def test_a_list_has_no_ids_and_a_salt_of_its_own(tmp_path):
    one, two = Forgotten().adding(["ann"]), Forgotten().adding(["ann"])
    assert one.hashes != two.hashes
    assert b"ann" not in one.content
    assert one.digest != two.digest
    (tmp_path / "list.json").write_bytes(one.content)
    read = Forgotten.read(tmp_path / "list.json")
    assert read == one
    longer = read.adding(["bob"])
    assert longer.salt == one.salt
    assert longer.hashes > one.hashes
    assert "ann" in longer
    assert longer.adding(["bob"]) == longer


def test_no_file_is_nobody_and_a_broken_one_an_error(tmp_path):
    assert not Forgotten.read(tmp_path / "none.json")
    other = json.dumps({"format": 2, "salt": "", "users": []})
    for content in ("", "[]", other, '{"format": 1, "salt": "xy", "users": []}'):
        (tmp_path / "list.json").write_text(content, encoding="utf-8")
        with pytest.raises(RecpruneError, match="is no list of forgotten users"):
            Forgotten.read(tmp_path / "list.json")
