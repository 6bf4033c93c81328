"""Small hand-made models that several tests share."""

import tracemalloc
from contextlib import contextmanager

import numpy as np

from recprune.graph import Graph, Op
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Weights

USERS = np.array(["u0", "u1", "u2", "u3", "ü4", "u5"])
BOOKS = np.array([f"{i}5506122{i}X" for i in range(8)])
WORDS = np.array(["the", "night", "sea"])
EDGES = [18, 30.5]


def op(kind, output, *inputs, params=(), **attrs):
    return Op(kind, output, inputs, params, attrs)


def dense(rng, *shape):
    return Dense(rng.normal(size=shape).astype(np.float32))


def like(seed=0, hidden=5):
    """User, book, title and age into a hidden layer, and the book's bias beside it: scores of pairs."""
    rng = np.random.default_rng(seed)
    inputs = "user.factor+book.factor+title.factor+age.factor"
    weights = Weights(
        {
            "user.factor": Param(("user", "user.factor"), dense(rng, 7, 3), (6,)),
            "book.factor": Param(("book", "book.factor"), dense(rng, 9, 4), (8,)),
            "book.bias": Param(("book", "book.bias"), dense(rng, 9, 1), (8,)),
            "title.factor": Param(("title", "title.factor"), dense(rng, 4, 2), (3,)),
            "age.factor": Param(("age", "age.factor"), dense(rng, 4, 2), (3,)),
            "hidden.weight": Param(("hidden", inputs), dense(rng, hidden, 11)),
            "hidden.bias": Param(("hidden",), dense(rng, hidden)),
            "out.weight": Param(("score", "hidden"), dense(rng, 1, hidden)),
            "out.bias": Param(("score",), dense(rng, 1)),
        }
    )
    graph = Graph(
        ("user", "book", "title", "age"),
        (
            op("lookup", "user rows", "user", vocabulary="user"),
            op("lookup", "book rows", "book", vocabulary="book"),
            op("words", "title rows", "title", vocabulary="title"),
            op("bucket", "age rows", "age", edges=EDGES),
            op("take", "user factor", "user rows", params=("user.factor",)),
            op("take", "book factor", "book rows", params=("book.factor",)),
            op("take", "book bias", "book rows", params=("book.bias",)),
            op("pool", "title factor", "title rows", params=("title.factor",), mode="mean"),
            op("take", "age factor", "age rows", params=("age.factor",)),
            op("concat", "x", "user factor", "book factor", "title factor", "age factor"),
            op("linear", "h", "x", params=("hidden.weight", "hidden.bias")),
            op("relu", "hidden", "h"),
            op("linear", "deep", "hidden", params=("out.weight", "out.bias")),
            op("add", "logit", "deep", "book bias"),
            op("sigmoid", "score", "logit"),
        ),
        "score",
    )
    return Snapshot(weights, graph, {"user": USERS, "book": BOOKS, "title": WORDS})


def request(rows=40, seed=0):
    """Known and unknown ids, missing ages, titles of known, unknown and no words."""
    rng = np.random.default_rng(seed)
    titles = ["The Night", "night, night", "unheard of", "", "the sea at night"]
    return {
        "user": rng.choice([*USERS, "stranger"], rows),
        "book": rng.choice([*BOOKS, "unknown"], rows),
        "title": rng.choice(titles, rows),
        "age": rng.choice([10.0, 18, 25, 30.5, 77, np.nan], rows),
    }


ITEMS = np.array(["a", "b", "c", "d"])


def next_item():
    """Four items, one row and column more for the unknown; scores are sums of the history's rows."""
    matrix = np.zeros((5, 5), np.float32)
    matrix[:4, :4] = [[0, 3, 1, 0], [3, 0, 2, 0.5], [1, 2, 0, 4], [0, 0.5, 4, 0]]
    popular = np.array([[1], [4], [3], [2], [0]], np.float32)
    weights = Weights(
        {
            "similar": Param(("item", "item"), Dense(matrix), (4,)),
            "popular": Param(("item", ""), Dense(popular), (4,), trained=False),
        }
    )
    ops = (
        op("history", "read", "items", vocabulary="item"),
        op("pool", "scores", "read", params=("similar",), mode="sum"),
    )
    return Snapshot(weights, Graph(("items",), ops, "scores", "item", "popular"), {"item": ITEMS})


@contextmanager
def at_most(megabytes):
    """Fail where more memory is allocated than that."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()
