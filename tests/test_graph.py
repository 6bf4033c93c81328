"""Graphs say what they cannot be, and lose what is dead."""

import json

import pytest

from recprune.errors import RecpruneError
from recprune.graph import KINDS, VERSION, Graph, Op
from recprune.text import Analyzer


def op(kind, output, *inputs, params=(), **attrs):
    return Op(kind, output, inputs, params, attrs)


def two_fields():
    """user and book factors, concatenated into a layer; biases summed up beside it."""
    return Graph(
        ("user", "book"),
        (
            op("lookup", "user rows", "user", vocabulary="user"),
            op("lookup", "book rows", "book", vocabulary="book"),
            op("take", "user factor", "user rows", params=("user.factor",)),
            op("take", "book factor", "book rows", params=("book.factor",)),
            op("take", "book bias", "book rows", params=("book.bias",)),
            op("sum", "book sum", "book factor"),
            op("concat", "x", "user factor", "book factor"),
            op("linear", "deep", "x", params=("w", "b")),
            op("add", "score", "deep", "book bias", "book sum"),
        ),
        "score",
    )


def test_what_is_read_in_order_of_first_use():
    graph = two_fields()
    assert graph.params == ["user.factor", "book.factor", "book.bias", "w", "b"]
    assert graph.vocabularies == ["user", "book"]
    retrieval = Graph(
        ("history",),
        (op("history", "h", "history", vocabulary="item"), op("pool", "s", "h", params=("b",), mode="sum")),
        "s",
        items="item",
        fallback="popular",
    )
    assert retrieval.params == ["b", "popular"]
    assert retrieval.vocabularies == ["item"]


def test_json_round_trip():
    graph = two_fields()
    text = json.dumps(graph.to_json())
    assert Graph.from_json(json.loads(text)) == graph
    # The first version that had these operations, so that an older recprune reads the graph.
    assert json.loads(text)["version"] == 1 < VERSION == 3


ATTRS = {"vocabulary": "v", "edges": [0.5, 1], "mode": "mean", "length": 3, "width": 4, "heads": "head", "factor": 0.5}
ATTRS |= {"analyzer": Analyzer().to_json(), "sublinear": True, "norm": "l2"}
ATTRS |= {"whole": 1, "read": 0.0, "target": 2.5, "l2": 1e-6}
ATTRS |= {"dtype": "float32", "tiny": "kept", "categories": ["a", 2, 0.5]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_round_trips_and_checks_its_arity(kind):
    arity = KINDS[kind]
    columns = tuple(f"c{i}" for i in range(arity.inputs or 2))
    inputs = columns[: 2 if arity.inputs is None else arity.inputs]
    params = tuple(f"p{i}" for i in range(arity.params))
    attrs = {name: ATTRS[name] for name in arity.attrs}
    graph = Graph(columns, (Op(kind, "out", inputs, params, attrs),), "out")
    assert graph.to_json()["version"] == arity.since <= VERSION
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))) == graph
    with pytest.raises(RecpruneError, match=r"parameters, got"):
        Op(kind, "out", inputs, (*params, "p"), attrs)
    others = (*columns, "c") if not inputs else ()
    with pytest.raises(RecpruneError, match=r"'out': .* (no input|inputs, got [03])"):
        Op(kind, "out", others, params, attrs)
    with pytest.raises(RecpruneError, match="attributes"):
        Op(kind, "out", inputs, params, attrs | {"other": 1})
    for name in arity.attrs:
        with pytest.raises(RecpruneError, match="attributes"):
            Op(kind, "out", inputs, params, {k: v for k, v in attrs.items() if k != name})
        with pytest.raises(RecpruneError, match=f"is no {name}"):
            Op(kind, "out", inputs, params, attrs | {name: -1})


@pytest.mark.parametrize("edges", [[1, 1], [2, 1], [float("nan")], [float("inf")], ["1"], "12", [True]])
def test_edges_are_increasing_numbers(edges):
    with pytest.raises(RecpruneError, match="is no edges"):
        op("bucket", "age rows", "age", edges=edges)


@pytest.mark.parametrize(
    ("columns", "ops", "output", "message"),
    [
        (("a",), [op("relu", "b", "z")], "b", "'b' reads 'z', which nothing before it computes"),
        (("a",), [op("relu", "b", "a"), op("relu", "b", "a")], "b", "'b' is computed twice"),
        (("a",), [op("relu", "a", "a")], "a", "'a' is computed twice"),
        (("a",), [op("relu", "b", "a")], "c", "output 'c' is computed by no operation"),
        (("a",), [op("relu", "b", "a")], "a", "output 'a' is computed by no operation"),
        ((), [], "a", "one column or more"),
        (("a", "a"), [op("relu", "b", "a")], "b", "each once"),
    ],
)
def test_what_is_no_graph_is_named(columns, ops, output, message):
    with pytest.raises(RecpruneError, match=message):
        Graph(columns, tuple(ops), output)


def test_an_unknown_operation_gets_the_nearest():
    with pytest.raises(RecpruneError, match="did you mean 'linear'"):
        op("linera", "x", "y")


def damages(value):
    """Every place of a JSON value, replaced and left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {k: v for k, v in value.items() if k != key}
            for other in (None, 5, -1, "x", [], {}, [[]], [None], True, 10**400):
                yield value | {key: other}
            for other in damages(inner):
                yield value | {key: other}
    if isinstance(value, list):
        for i, inner in enumerate(value):
            yield value[:i] + value[i + 1 :]
            for other in (None, 5, "x", [], {}):
                yield [*value[:i], other, *value[i + 1 :]]
            for other in damages(inner):
                yield [*value[:i], other, *value[i + 1 :]]


def test_malformed_json_never_escapes():
    count = 0
    for data in (None, [], 5, "graph", {}, *damages(two_fields().to_json())):
        try:
            Graph.from_json(data)
        except RecpruneError:
            count += 1
    assert count > 300


@pytest.mark.parametrize("version", [VERSION + 1, 0, "1", True, 1.0, None])
def test_a_version_that_this_does_not_read_is_named(version):
    with pytest.raises(RecpruneError, match="version"):
        Graph.from_json(two_fields().to_json() | {"version": version})


def test_without_a_field_its_look_up_and_column_go_too():
    graph = two_fields().without(["user factor"])
    assert [o.output for o in graph.ops] == ["book rows", "book factor", "book bias", "book sum", "x", "deep", "score"]
    assert graph.columns == ("book",)
    assert graph.ops[4].inputs == ("book factor",)
    assert graph.vocabularies == ["book"]


def test_sums_of_nothing_vanish():
    graph = two_fields().without(["book factor"])
    assert [o.output for o in graph.ops] == ["user rows", "book rows", "user factor", "book bias", "x", "deep", "score"]
    assert graph.ops[-1].inputs == ("deep", "book bias")


def test_the_same_graph_without_nothing():
    assert two_fields().without([]) == two_fields()


def test_a_layer_without_input_is_an_error_that_names_it():
    with pytest.raises(RecpruneError, match=r"nothing is left for operation 'deep' \(linear\)"):
        two_fields().without(["user factor", "book factor"])
    with pytest.raises(RecpruneError, match="nothing is left"):
        two_fields().without(["score"])
