"""The directory that is shipped: what is written is read, and damage is refused by name."""

import hashlib
import json
import os
import struct
from contextlib import suppress
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from recprune.artifact import FORMAT, Artifact, lay_out, read, write
from recprune.errors import RecpruneError
from recprune.runtime import Scorer, load
from recprune.weights import Dense, Quantized

from ..small import at_most, like, next_item, request
from .test_layout import all_encodings

FILES = ["graph.json", "manifest.json", "recipe.json", "vocabularies.safetensors", "weights.safetensors"]


def artifact(snapshot=None, fingerprint=None, **more):
    laid, vocabularies = lay_out(snapshot or all_encodings(), fingerprint)
    return Artifact(laid.weights, laid.graph, vocabularies, {"steps": []}, {"note": "ü", **more})


@pytest.fixture
def shipped(tmp_path):
    path = tmp_path / "artifact"
    write(artifact(), path)
    return path


def reseal(path):
    """Make every digest fit again: what is left to find is what the files say."""
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest.pop("sha256", None)
    for name in manifest["files"]:
        if (path / name).is_file():
            content = (path / name).read_bytes()
            manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    digest = hashlib.sha256(json.dumps(manifest, separators=(",", ":")).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest | {"sha256": digest}))


def forge(path, change):
    """Change the manifest and make the digests fit."""
    manifest = json.loads((path / "manifest.json").read_bytes())
    changed = change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest if changed is None else changed))
    reseal(path)


def forge_tensors(path, name, change):
    """Change the arrays of a file and make the digests fit."""
    tensors = {key: array.copy() for key, array in load_tensors((path / name).read_bytes()).items()}
    change(tensors)
    (path / name).write_bytes(save_tensors(tensors))
    reseal(path)


def refused(path, message):
    with pytest.raises(RecpruneError, match=message) as error:
        read(path)
    assert "\n" not in str(error.value)


# Round trips


@pytest.mark.parametrize("fingerprint", [None, 12])
@pytest.mark.parametrize("make", [like, all_encodings, next_item])
def test_what_is_written_is_read(tmp_path, make, fingerprint):
    given = artifact(make(), fingerprint)
    write(given, tmp_path / "a")
    found = read(tmp_path / "a")
    assert found.graph == given.graph
    assert found.recipe == {"steps": []}
    assert found.metadata == {"note": "ü"}
    assert found.weights.sizes == given.weights.sizes
    assert found.resident_bytes == given.resident_bytes
    for name, param in given.weights.items():
        other = found.weights[name]
        assert (other.axes, other.protected, other.trained, other.has_unknown, other.value.spec()) == (
            *(param.axes, param.protected, param.trained, param.has_unknown, param.value.spec()),
        )
        assert np.array_equal(other.value.decode(), param.value.decode())
    if make is not next_item:
        assert np.array_equal(Scorer(found).score(request()), Scorer(given).score(request()))


def test_weights_without_a_graph(tmp_path):
    given = Artifact(like().weights, None, {})
    write(given, tmp_path / "a")
    assert not (tmp_path / "a" / "graph.json").exists()
    found = read(tmp_path / "a")
    assert found.graph is None
    assert set(found.weights) == set(given.weights)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(artifact(), tmp_path / name)
    assert sorted(os.listdir(tmp_path / "a")) == FILES
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # Read and written again it is the same too.
    write(read(tmp_path / "a"), tmp_path / "c")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_sizes_are_those_of_the_files(tmp_path):
    given = artifact()
    sizes = write(given, tmp_path / "a")
    assert sizes["disk_bytes"] == sum(f.stat().st_size for f in (tmp_path / "a").iterdir())
    assert sizes["weights_bytes"] == given.weights.nbytes
    stored = [a.nbytes for v in given.vocabularies.values() for a in v.arrays().values()]
    assert sizes["vocabulary_bytes"] == sum(stored)
    assert sizes["resident_bytes"] == given.resident_bytes > given.weights.nbytes


# Atomic


def test_a_failure_in_the_middle_leaves_the_old_artifact(shipped, monkeypatch):
    before = {f.name: f.read_bytes() for f in shipped.iterdir()}

    def full_disk(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(RecpruneError, match="No space left on device"):
        write(artifact(like()), shipped)
    assert {f.name: f.read_bytes() for f in shipped.iterdir()} == before
    assert os.listdir(shipped.parent) == ["artifact"]


def test_a_failure_in_the_last_step_brings_the_old_artifact_back(shipped, monkeypatch):
    before = {f.name: f.read_bytes() for f in shipped.iterdir()}
    replace = os.replace
    calls = []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("recprune.files.sys", SimpleNamespace(platform="one that cannot exchange directories"))
    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(RecpruneError, match="Input/output error"):
        write(artifact(like()), shipped)
    assert {f.name: f.read_bytes() for f in shipped.iterdir()} == before


def test_a_new_artifact_takes_the_place_of_the_old_one(shipped):
    write(artifact(like()), shipped)
    assert "title.factor" in read(shipped).weights
    assert read(shipped).weights["title.factor"].nbytes == 4 * 4 * 2
    assert os.listdir(shipped.parent) == ["artifact"]


@pytest.mark.parametrize("make", ["folder", "file", "link"])
def test_what_is_no_artifact_is_never_overwritten(tmp_path, make):
    path = tmp_path / "thesis"
    if make == "folder":
        path.mkdir()
        (path / "chapter1.tex").write_text("years of work")
    elif make == "file":
        path.write_text("years of work")
    else:
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecpruneError, match="not overwritten"):
        write(artifact(), path)
    if make == "folder":
        assert os.listdir(path) == ["chapter1.tex"]


def test_an_empty_folder_and_missing_parents_are_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    write(artifact(), tmp_path / "empty")
    write(artifact(), tmp_path / "x" / "y" / "artifact")
    assert read(tmp_path / "empty").metadata == read(tmp_path / "x" / "y" / "artifact").metadata


@pytest.mark.parametrize("bad", [float("nan"), object(), {1, 2}, np.float32(1)])
def test_metadata_that_is_no_json_is_refused_before_anything_is_written(shipped, bad):
    with pytest.raises(RecpruneError, match="must be JSON"):
        write(artifact(like(), bad=bad), shipped)
    assert "book.bias" in read(shipped).weights


# Damage


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(shipped, name):
    (shipped / name).unlink()
    refused(shipped, "no manifest.json" if name == "manifest.json" else f"{name} is missing")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file(shipped, name):
    content = (shipped / name).read_bytes()
    (shipped / name).write_bytes(content[:-1])
    refused(shipped, "not valid JSON" if name == "manifest.json" else f"{name} has .* bytes where .*: cut short")


@pytest.mark.parametrize("name", [n for n in FILES if n != "manifest.json"])
def test_a_flipped_bit(shipped, name):
    content = bytearray((shipped / name).read_bytes())
    content[len(content) // 2] ^= 1
    (shipped / name).write_bytes(content)
    refused(shipped, f"{name} is not the file that was written: its SHA-256 differs")


def test_a_changed_manifest(shipped):
    text = (shipped / "manifest.json").read_text()
    (shipped / "manifest.json").write_text(text.replace('"bits":4', '"bits":3'))
    assert text.count('"bits":4') == 1
    refused(shipped, "manifest.json is not the file that was written")


def test_a_wrong_digest(shipped):
    def swap(manifest):
        manifest["files"]["graph.json"]["sha256"] = "0" * 64

    manifest = json.loads((shipped / "manifest.json").read_bytes())
    swap(manifest)
    manifest.pop("sha256")
    digest = hashlib.sha256(json.dumps(manifest, separators=(",", ":")).encode()).hexdigest()
    (shipped / "manifest.json").write_text(json.dumps(manifest | {"sha256": digest}))
    refused(shipped, "graph.json is not the file that was written")


def test_a_manifest_with_other_spaces_is_the_same(shipped):
    manifest = json.loads((shipped / "manifest.json").read_bytes())
    (shipped / "manifest.json").write_text(json.dumps(manifest, indent=2))
    assert read(shipped).metadata == {"note": "ü"}


def test_no_directory_at_all(tmp_path):
    refused(tmp_path / "nothing", "no artifact: it has no manifest.json")
    (tmp_path / "file").write_text("{}")
    refused(tmp_path / "file", "no artifact")
    refused(tmp_path, "no artifact")


@pytest.mark.parametrize("version", [FORMAT + 1, 99])
def test_a_newer_format(shipped, version):
    forge(shipped, lambda m: m | {"format": version})
    refused(shipped, f"format {version}; this recprune reads up to {FORMAT}: upgrade it")


@pytest.mark.parametrize("version", [None, "1", True, 0, -1, 1.0])
def test_no_format_number(shipped, version):
    forge(shipped, lambda m: m | {"format": version})
    refused(shipped, "no format number")


@pytest.mark.parametrize("text", ["", "[]", "5", "null", '"x"', "{}", "\ufeff{}", "{", "\x00"])
def test_a_manifest_that_is_none(shipped, text):
    (shipped / "manifest.json").write_text(text)
    refused(shipped, "manifest.json")


@pytest.mark.parametrize(
    "name", ["../secret.txt", "..\\..\\x", "C:/x", "/etc/hostname", "model.pkl", "manifest.json", "graph.json/..", ""]
)
def test_a_file_that_is_no_part_of_an_artifact_is_refused_before_it_is_read(shipped, name):
    (shipped.parent / "secret.txt").write_text("secret")
    forge(shipped, lambda m: m["files"].update({name: {"bytes": 6, "sha256": "0" * 64}}))
    refused(shipped, "manifest.json names .*; an artifact's files are: graph.json")


@pytest.mark.parametrize("name", FILES)
def test_a_link_that_leads_out(shipped, name):
    content = (shipped / name).read_bytes()
    (shipped.parent / "outside").write_bytes(content)
    (shipped / name).unlink()
    (shipped / name).symlink_to(shipped.parent / "outside")
    refused(shipped, "manifest.json" if name == "manifest.json" else f"{name} is missing")


def test_a_directory_in_place_of_a_file(shipped):
    (shipped / "graph.json").unlink()
    (shipped / "graph.json").mkdir()
    refused(shipped, r"graph\.json is missing")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["out.weight/values", "book.factor/inner.scale"])
def test_nan_inside(shipped, name, bad):
    def spoil(tensors):
        tensors[name].reshape(-1)[0] = bad

    forge_tensors(shipped, "weights.safetensors", spoil)
    refused(shipped, f"weights.safetensors: parameter '{name.partition('/')[0]}': .* NaN or infinity")


def test_a_shape_that_does_not_fit(shipped):
    def widen(tensors):
        tensors["out.weight/values"] = np.ones((1, 6), np.float32)

    forge_tensors(shipped, "weights.safetensors", widen)
    refused(shipped, "axis 'hidden' has size 5, but 6 in parameter 'out.weight'")


def test_a_shape_that_does_not_fit_the_graph(shipped):
    def widen(tensors):
        tensors["age.factor/values"] = np.ones((5, 2), np.float32)

    forge_tensors(shipped, "weights.safetensors", widen)
    forge(shipped, lambda m: m["sizes"].update(age=5))
    refused(shipped, r"'age factor': take cannot read 4 rows with 'age.factor' of shape \(5, 2\)")


def test_codes_that_do_not_fit_their_shape(shipped):
    forge(shipped, lambda m: m["params"]["book.factor"]["inner"].update(bits=8))
    refused(shipped, "weights.safetensors: parameter 'book.factor': quantized codes must be")


def test_an_array_missing(shipped):
    forge_tensors(shipped, "weights.safetensors", lambda t: t.pop("out.bias/values"))
    refused(shipped, "parameter 'out.bias': .* lacks 'values'")


def test_ids_that_are_damaged(shipped):
    def spoil(tensors):
        tensors["user/ids.0"] = tensors["user/ids.0"][:-2]

    forge_tensors(shipped, "vocabularies.safetensors", spoil)
    refused(shipped, "vocabularies.safetensors: vocabulary 'user'")


@pytest.mark.parametrize("counts", [[10**12], [2**31], [-1], ["many"], [1.5]])
def test_counts_of_ids_that_are_made_up_cost_nothing(shipped, counts):
    forge(shipped, lambda m: m["vocabularies"]["user"].update(counts=counts))
    with at_most(20):
        refused(shipped, "vocabulary 'user'")


def test_more_ids_than_rows(tmp_path):
    laid, vocabularies = lay_out(like())
    other = dict(vocabularies) | {"user": vocabularies["book"]}
    with pytest.raises(RecpruneError, match=r"'user factor': take cannot read 9 rows with 'user\.factor' of"):
        Artifact(laid.weights, laid.graph, other)


# Headers and JSON that lie (case C15)


def safetensors(header, data=b"", length=None):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + data


def forge_file(path, name, content):
    (path / name).write_bytes(content)
    reseal(path)


def twice(key):
    return f'{{"{key}":{json.dumps(ENTRY)},"{key}":{json.dumps(ENTRY)}}}'.encode()


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize("name", ["weights.safetensors", "vocabularies.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (safetensors(twice("a"), b"0000"), "'a' twice"),
        (safetensors({"a": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4]}}, b"0000"), "malformed"),
        (safetensors({"a": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4000000]}}, b"0000"), "malformed"),
        (safetensors({"a": ENTRY | {"shape": [2**62, 2**62, 0]}}, b"0000"), "malformed"),
        (safetensors({"a": ENTRY | {"shape": [-1]}}, b"0000"), "malformed"),
        (safetensors({"a": ENTRY | {"dtype": "F8_E4M3"}}, b"0000"), "malformed"),
        (safetensors({"a": ENTRY | {"dtype": "PICKLE"}}, b"0000"), "malformed"),
        (safetensors({"a": ENTRY | {"data_offsets": [4, 0]}}, b"0000"), "malformed"),
        (safetensors({"a": ENTRY}, b"00000000"), "malformed"),
        (safetensors([], b""), "malformed"),
        (safetensors(b"\xff\xfe", b""), "not valid JSON"),
        (safetensors({"a": ENTRY}, b"0000", length=2**63), "cut short"),
        (safetensors({"a": ENTRY}, b"", length=10**6), "cut short"),
        (safetensors(b'{"a":' * 100_000, b""), "not valid JSON"),
        (b"", "cut short"),
        (b"\x80\x04cos\nsystem\n", ""),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)  # fmt: skip
def test_headers_that_lie(shipped, name, content, message):
    forge_file(shipped, name, content)
    with at_most(20):
        refused(shipped, f"{name}.*{message}")


@pytest.mark.parametrize("name", ["manifest.json", "graph.json", "recipe.json"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format":1,"format":1}', "'format' twice"),
        ('{"format":1,"x":{"y":1,"y":2}}', "'y' twice"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "not valid JSON"),
        ("[" * 100_000 + "]" * 100_000, "not valid JSON"),
        ('{"format":NaN}', "NaN is no number"),
        ('{"format":1,"x":-Infinity}', "no number"),
        ('{"format":' + "9" * 5000 + "}", "not valid JSON"),
        ("{'format':1}", "not valid JSON"),
    ],
)
def test_json_that_lies(shipped, name, text, message):
    (shipped / name).write_text(text)
    if name != "manifest.json":
        reseal(shipped)
    refused(shipped, f"{name}.*{message}")


def test_deep_nesting_of_encodings(shipped):
    def nest(manifest):
        spec = manifest["params"]["out.bias"]
        inner = {"encoding": "dense"}
        for _ in range(150):
            inner = {"encoding": "low_rank", "left": inner, "right": inner if not _ else {"encoding": "dense"}}
        spec.update(inner)

    forge(shipped, nest)
    refused(shipped, "parameter 'out.bias': encodings are nested more than 16 deep")


def test_a_manifest_without_end(shipped):
    with (shipped / "manifest.json").open("r+b") as file:
        file.truncate((64 << 20) + 1)
    with at_most(20):
        refused(shipped, "larger than")


def test_structure_that_lies_never_escapes(shipped):
    """Every place of the manifest and the graph replaced by what does not belong there, digests fixed up."""
    originals = {name: (shipped / name).read_bytes() for name in FILES}
    count, accepted, frame = 0, 0, request()
    for name in ("manifest.json", "graph.json", "recipe.json"):
        for damaged in islice(damages(json.loads(originals[name])), 0, None, 5):  # all of them take half a minute
            for other in {name, "manifest.json"}:
                (shipped / other).write_bytes(originals[other])
            (shipped / name).write_text(json.dumps(damaged))
            with suppress(KeyError, TypeError, AttributeError, ValueError):
                reseal(shipped)  # what is not even resealable must be read cleanly too
            count += 1
            try:
                scorer = load(shipped)
            except RecpruneError:
                continue
            accepted += 1
            scores = scorer.score({column: frame.get(column, ["x"] * 40) for column in scorer.columns})
            assert np.isfinite(scores).all()
        (shipped / name).write_bytes(originals[name])
    assert count > 300
    assert accepted < count / 3


def damages(value):
    """One changed place at a time."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {k: v for k, v in value.items() if k != key}
            for other in (None, "x", -1, 10**12, [], {}):
                yield value | {key: other}
            for other in damages(inner):
                yield value | {key: other}
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield value[:i] + value[i + 1 :]
            for other in (None, "x", -1, 10**12):
                yield [*value[:i], other, *value[i + 1 :]]
            for other in damages(inner):
                yield [*value[:i], other, *value[i + 1 :]]


@pytest.mark.parametrize("fingerprint", [None, 12])
def test_a_mutated_artifact_is_refused_or_scores_the_same(tmp_path, fingerprint):
    path = tmp_path / "artifact"
    write(artifact(fingerprint=fingerprint), path)
    originals = {name: (path / name).read_bytes() for name in FILES}
    expected = load(path).score(request())
    rng = np.random.default_rng(0)
    refusals = 0
    for round_ in range(200):
        name = FILES[round_ % len(FILES)]
        content = bytearray(originals[name])
        place = int(rng.integers(len(content)))
        match rng.integers(4):
            case 0:
                content[place] ^= 1 << int(rng.integers(8))
            case 1:
                del content[place : place + int(rng.integers(1, 9))]
            case 2:
                content[place:place] = rng.bytes(int(rng.integers(1, 9)))
            case 3:
                content[place : place + 4] = content[:4]
        (path / name).write_bytes(content)
        try:
            assert np.array_equal(load(path).score(request()), expected)
        except RecpruneError:
            refusals += 1
        (path / name).write_bytes(originals[name])
    assert refusals > 185


@pytest.mark.parametrize("fingerprint", [None, 12])
def test_a_mutated_and_resealed_artifact_is_refused_or_answers(tmp_path, fingerprint):
    """The digests fit: what guards now is the validation of every part."""
    path = tmp_path / "artifact"
    write(artifact(fingerprint=fingerprint), path)
    originals = {name: (path / name).read_bytes() for name in FILES}
    rng, frame = np.random.default_rng(1), request()
    for _ in range(200):
        name = rng.choice([n for n in FILES if n != "manifest.json"])
        content = bytearray(originals[name])
        for _ in range(int(rng.integers(1, 4))):
            content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        (path / name).write_bytes(content)
        reseal(path)
        try:
            scorer = load(path)
        except RecpruneError:
            pass
        else:
            assert scorer.score({column: frame.get(column, ["x"] * 40) for column in scorer.columns}).shape == (40,)
        for other in (name, "manifest.json"):
            (path / other).write_bytes(originals[other])


# What an artifact in memory refuses


def test_parts_that_lack():
    laid, vocabularies = lay_out(like())
    weights = {name: param for name, param in laid.weights.items() if name != "out.bias"}
    with pytest.raises(RecpruneError, match=r"reads parameter 'out\.bias', which the artifact lacks"):
        Artifact(type(laid.weights)(weights, laid.weights.sizes), laid.graph, vocabularies)
    with pytest.raises(RecpruneError, match="reads vocabulary 'user', which the artifact lacks"):
        Artifact(laid.weights, laid.graph, {k: v for k, v in vocabularies.items() if k != "user"})


def test_a_fallback_of_another_length():
    laid, vocabularies = lay_out(next_item())
    weights = {name: param for name, param in laid.weights.items() if name != "popular"}
    short = type(laid.weights["popular"])(("few", ""), Dense(np.zeros((2, 1), np.float32)))
    with pytest.raises(RecpruneError, match=r"fallback 'popular' has shape \(2, 1\) for 5 columns"):
        Artifact(type(laid.weights)(weights | {"popular": short}), laid.graph, vocabularies)


def test_resident_bytes_count_directories():
    given = artifact()
    bare = given.weights.nbytes + sum(v.resident_bytes for v in given.vocabularies.values())
    # Three parts of a stacked table, a run of 24 bytes each; three tables with runs or a bitmap of kept rows: four bytes
    # for each entry of a directory.
    assert 3 * 24 < given.resident_bytes - bare <= 3 * 24 + 3 * 4 * 4
    assert isinstance(given.weights["book.factor"].value.inner, Quantized)
