"""Files made to exhaust or mislead a reader (case C15, its whole kind): a named error, little memory, no hang."""

import json
import lzma
import time

import numpy as np
import pytest

from recprune.artifact import read, write
from recprune.artifact.write import JSON_LIMIT
from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.vocabulary import exact
from recprune.weights import Dense, LowRank, Quantized, Rows, Sparse

from ..artifact.test_read_write import artifact, forge_file, reseal, safetensors
from ..small import at_most, like, op

F32 = {"dtype": "F32"}


@pytest.fixture
def shipped(tmp_path):
    write(artifact(), tmp_path / "artifact")
    return tmp_path / "artifact"


def refused(path, message, megabytes=30, seconds=10):
    start = time.perf_counter()
    with at_most(megabytes), pytest.raises(RecpruneError, match=message) as error:
        read(path)
    assert time.perf_counter() - start < seconds
    assert "\n" not in str(error.value)


# Headers of safetensors


def entry(shape, start, stop, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize("name", ["weights.safetensors", "vocabularies.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (safetensors(b'{"a":' + json.dumps(entry([1], 0, 4)).encode() + b',"\\u0061":{}}', b"0000"), "'a' twice"),
        (safetensors({"a": entry([1000, 1000], 0, 4)}, b"0000"), "malformed"),
        (safetensors({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, b"0" * 12), "malformed"),  # overlap
        (safetensors({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"0" * 4), "malformed"),  # the same bytes
        (safetensors({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"0" * 12), "malformed"),  # a gap
        (safetensors({"a": entry([1], 4, 8)}, b"0" * 8), "malformed"),
        (safetensors({"a": entry([1], 8, 12)}, b"0" * 8), "malformed"),
        (safetensors({"a": entry([1], -4, 0)}, b"0" * 4), "malformed"),
        (safetensors({"a": entry([2**61], 0, 2**63)}, b"0" * 4), "malformed"),
        (safetensors({"a": entry([2**31, 2**31, 4], 0, 0)}, b""), "malformed"),  # overflows to nothing
        (safetensors({"a": entry([0, 10**12], 0, 0)}, b""), ""),
        (safetensors({"a": entry([1.5], 0, 4)}, b"0" * 4), "malformed"),
        (safetensors({"a": entry([1], 0, 4) | {"more": 1}, "b": 5}, b"0" * 4), "malformed"),
        (safetensors({"a": 5}, b""), "malformed"),
        (safetensors({"__metadata__": {"a": 5}}, b""), "malformed"),
        (safetensors({}, b"", length=2**64 - 1), "cut short"),
        (safetensors(b" " * 9, b"", length=9), "not valid JSON"),
        (safetensors(b'{"a":[' + b"[" * 50_000 + b"]" * 50_000 + b"]}", b""), "not valid JSON"),
        (safetensors(b'{"a":{"dtype":"F32","shape":[' + b"1," * 200_000 + b'1],"data_offsets":[0,4]}}', b"0000"), ""),
    ],
    ids=range(19),
)
def test_headers(shipped, name, content, message):
    forge_file(shipped, name, content)
    refused(shipped, f"{name}.*{message}")


def test_a_header_larger_than_any_real_one(shipped):
    forge_file(shipped, "weights.safetensors", safetensors(b" " * (JSON_LIMIT + 1)))
    refused(shipped, r"weights\.safetensors has a header larger than", megabytes=100)


# Sizes


@pytest.mark.parametrize("name", ["manifest.json", "graph.json", "recipe.json", "weights.safetensors"])
def test_a_hole_of_eight_terabytes(shipped, name):
    try:
        with (shipped / name).open("r+b") as file:
            file.truncate(1 << 43)
    except OSError:
        pytest.skip("this file system has no such large files")
    refused(shipped, rf"{name.replace('.', '[.]')} is larger than")


def test_a_key_twice_among_very_many_takes_no_time(shipped):
    keys = ",".join(f'"{i}":0' for i in range(300_000))
    (shipped / "recipe.json").write_text(f'{{{keys},"299999":1}}')
    reseal(shipped)
    refused(shipped, r"recipe\.json has the key '299999' twice", megabytes=200, seconds=10)


def test_what_the_reader_would_refuse_is_not_written(tmp_path):
    with pytest.raises(RecpruneError, match=f"must be at most {JSON_LIMIT} bytes of JSON"):
        write(artifact(like(), more="x" * JSON_LIMIT), tmp_path / "a")
    assert not (tmp_path / "a").exists()


# Bombs: a few bytes that stand for very many


def test_ids_that_unpack_without_end(shipped, monkeypatch):
    monkeypatch.setattr(exact, "_LARGEST", 1 << 20)
    raw = b"\n".join(b"%07d" % i for i in range(400_000))
    packed = lzma.compress(raw, lzma.FORMAT_RAW, filters=[{**exact._FILTER, "dict_size": 1 << 20}])
    spec = {"vocabulary": "exact", "counts": [400_000], "type": "text"}
    del raw
    with at_most(20), pytest.raises(RecpruneError, match="do not end where they should"):
        exact.ExactVocabulary.from_spec(spec, {"ids.0": np.frombuffer(packed, np.uint8)})


def test_one_long_id_among_many_short_ones(monkeypatch):
    monkeypatch.setattr(exact, "_LARGEST", 1 << 20)
    ids = [b"%05d" % i for i in range(20_000)]
    raw = b"\n".join([*ids, b"x" * 1000])
    packed = lzma.compress(raw, lzma.FORMAT_RAW, filters=[exact._FILTER])
    spec = {"vocabulary": "exact", "counts": [20_001], "type": "text"}
    with at_most(20), pytest.raises(RecpruneError, match="20001 ids of up to 1000 bytes is too large"):
        exact.ExactVocabulary.from_spec(spec, {"ids.0": np.frombuffer(packed, np.uint8)})
    with pytest.raises(RecpruneError, match="store fingerprints"):
        exact.ExactVocabulary.build([np.array([*ids, b"x" * 1000])])


def test_ids_in_text_that_is_none():
    packed = lzma.compress(b"a\n\xff", lzma.FORMAT_RAW, filters=[exact._FILTER])
    with pytest.raises(UnicodeDecodeError):
        exact._text(np.frombuffer(packed, np.uint8), 2)


def empty_product(rows, width):
    """Nothing times nothing: any shape for no bytes."""
    left = Quantized(np.zeros(0, np.uint8), np.zeros(1, np.float16), 8, "per_tensor", 1, (rows, 0))
    right = Quantized(np.zeros(0, np.uint8), np.zeros(1, np.float16), 8, "per_tensor", 1, (0, width))
    return LowRank(left, right)


@pytest.mark.parametrize(
    "table",
    [
        lambda: empty_product(9, 2**40),
        lambda: Sparse.encode(np.zeros(0), np.zeros(0), np.zeros(0), (9, 2**31 - 1)),
    ],
)
def test_columns_that_no_byte_stores(tmp_path, table):
    given = artifact(like())
    params = dict(given.weights)
    params["book.factor"] = type(params["book.factor"])(("", ""), table())
    with at_most(30), pytest.raises(RecpruneError, match=r"'book\.factor' of \d+ bytes claims a shape of \(9, "):
        type(given)(type(given.weights)(params, given.weights.sizes), given.graph, given.vocabularies)


def test_a_layer_that_no_byte_stores():
    given = artifact(like())
    params = dict(given.weights)
    for name, shape in (("hidden.weight", (2**30, 11)), ("hidden.bias", (2**30,))):
        kind = Rows(np.zeros(0, np.int32), Dense(np.zeros((1, *shape[1:]), np.float32)), 0, 2**30)
        params[name] = type(params[name])(("",) * len(shape), kind)
    with (
        at_most(30),
        pytest.raises(RecpruneError, match=r"'hidden\.weight' of \d+ bytes claims a shape of \(1073741824"),
    ):
        type(given)(type(given.weights)(params), given.graph, given.vocabularies)


def test_columns_that_double_without_end():
    given = artifact(like())
    twice = [
        op("concat", f"x{i + 1}", f"x{i}" if i else "user factor", f"x{i}" if i else "user factor") for i in range(60)
    ]
    ops = (*given.graph.ops, *twice, op("sum", "all", "x60"))
    graph = Graph(given.graph.columns, ops, "all")
    with (
        at_most(30),
        pytest.raises(RecpruneError, match=r"operation 'x15' gives 98304 columns; this model may have 65536"),
    ):
        type(given)(given.weights, graph, given.vocabularies)


def test_more_operations_than_any_model_has():
    ops = [op("bucket", "r", "a", edges=[0]), *(op("relu", f"x{i}", f"x{i - 1}" if i else "r") for i in range(10_000))]
    with pytest.raises(RecpruneError, match="at most 10000 operations, got 10001"):
        Graph(("a",), tuple(ops), "x9999")


def test_weights_that_overflow_give_an_error_not_infinity(tmp_path):
    from recprune.runtime import Scorer

    from ..small import next_item, request

    given = artifact(like())
    params = dict(given.weights)
    for name in ("out.weight", "hidden.weight"):
        param = params[name]
        params[name] = type(param)(param.axes, Dense(np.full(param.shape, 3e38, np.float32)))
    params["out.bias"] = type(params["out.bias"])(("score",), Dense(np.array([-3e38], np.float32)))
    # Without the last operation, which makes a probability of any number.
    graph = Graph(given.graph.columns, given.graph.ops[:-1], "logit")
    scorer = Scorer(type(given)(type(given.weights)(params, given.weights.sizes), graph, given.vocabularies))
    with pytest.raises(RecpruneError, match="a score is not finite"):
        scorer.score(request())
    ranked = artifact(next_item())
    params = dict(ranked.weights)
    params["similar"] = type(params["similar"])(("item", "item"), Dense(np.full((5, 5), 3e38, np.float32)), (4,))
    scorer = Scorer(type(ranked)(type(ranked.weights)(params), ranked.graph, ranked.vocabularies))
    with pytest.raises(RecpruneError, match="a score is not finite"):
        scorer.top_k([["a", "b"]], 2)
