import pickle

import polars as pl
import pytest

from recprune.data import Log
from recprune.errors import RecpruneError

PAIRS = pl.DataFrame({"user": ["u", "v", "u"], "item": ["a", "b", "b"], "rating": [8, 0, 3]})
USERS = pl.DataFrame({"user": ["v", "w"], "age": [30, 40]})
ITEMS = pl.DataFrame({"item": ["b"], "title": ["B"]})


def test_joined_keeps_the_order_and_leaves_unknown_ids_null():
    joined = Log("toy", PAIRS, USERS, ITEMS).joined()
    assert joined.rows() == [("u", "a", 8.0, None, None), ("v", "b", 0.0, 30, "B"), ("u", "b", 3.0, None, "B")]


def test_joined_takes_any_pairs():
    pairs = pl.DataFrame({"item": ["b", "x"], "user": ["w", "v"]})
    assert Log("toy", PAIRS, USERS, ITEMS).joined(pairs).select("user", "item", "age", "title").rows() == [
        ("w", "b", 40, "B"),
        ("v", "x", 30, None),
    ]
    with pytest.raises(RecpruneError, match=r"^pairs lack 'user'; columns are: item$"):
        Log("toy", PAIRS).joined(pairs.drop("user"))


def test_popularity_counts_interactions():
    log = Log("toy", PAIRS)
    assert log.popularity().rows() == [("b", 2), ("a", 1)]
    assert log.popularity("user").rows() == [("u", 2), ("v", 1)]
    with pytest.raises(RecpruneError, match=r"^popularity is of 'user' or 'item', got 'time'$"):
        log.popularity("time")


def test_a_log_survives_pickling_and_its_repairs_cannot_be_changed():
    log = pickle.loads(pickle.dumps(Log("toy", PAIRS, USERS, ITEMS, {"year nulled": 2}, "mine")))
    assert (log.name, log.licence, dict(log.repairs)) == ("toy", "mine", {"year nulled": 2})
    assert log.users.equals(USERS)
    with pytest.raises(TypeError):
        log.repairs["year nulled"] = 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PAIRS.drop("rating"),), "log 'toy': interactions lack 'rating'; columns are: user, item"),
        ((PAIRS[:0],), "log 'toy' has no interactions"),
        ((PAIRS, USERS.rename({"user": "id"})), "log 'toy': users lack 'user'; columns are: id, age"),
        ((PAIRS, USERS.with_columns(user=1)), "log 'toy': 'user' is Int32 and String in users and interactions"),
        ((PAIRS, pl.concat([USERS, USERS])), "log 'toy': users have 'v' more than once"),
        ((PAIRS, USERS, ITEMS.rename({"title": "age"})), "log 'toy': 'age' is an attribute of users and of items"),
    ],
)
def test_what_is_no_log_gets_one_clear_line(arguments, message):
    with pytest.raises(RecpruneError) as error:
        Log("toy", *arguments)
    assert str(error.value) == message
