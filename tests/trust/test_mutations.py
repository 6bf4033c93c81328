"""Mutated artifacts are refused, or score as before; with the digests made to fit, they are refused or answer in numbers."""

import copy
import hashlib
import json
import resource
import shutil
import time
from contextlib import suppress

import numpy as np
import pytest

from recprune.artifact import Artifact, lay_out, write
from recprune.errors import RecpruneError
from recprune.runtime import load
from recprune.trust import load as trusted
from recprune.weights import Bfloat16, Codebook, Columns, Dense, Quantized, Sparse

from ..artifact.test_layout import all_encodings
from ..artifact.test_read_write import FILES, reseal
from ..small import like, next_item, request

HISTORIES = [["a", "b"], ["d"], [], ["a", "c", "unheard of"]]


def pairs():
    """Every encoding that there is, in one small model."""
    snapshot = all_encodings()
    weights = snapshot.weights
    hidden = weights["hidden.weight"].value.decode()
    weights = weights.replace("hidden.weight", Bfloat16.encode(hidden))
    weights = weights.replace("age.factor", Codebook.encode(weights["age.factor"].value.decode(), 2))
    weights = weights.replace("hidden.bias", Quantized.encode(weights["hidden.bias"].value.decode(), 8, "per_tensor"))
    return snapshot.with_weights(weights)


def ranked():
    snapshot = next_item()
    return snapshot.with_weights(
        snapshot.weights.replace("similar", Sparse.from_dense(snapshot.weights["similar"].value.decode(), 3))
    )


def columns():
    snapshot = like(3)
    table = snapshot.weights["book.factor"].value.decode()
    parts = Columns((Codebook.encode(table[:, :2], 3), Quantized.encode(table[:, 2:], 4, "per_group", 2)))
    weights = snapshot.weights.replace("book.factor", parts)
    return snapshot.with_weights(weights.replace("book.bias", Dense(np.float16(weights["book.bias"].value.decode()))))


MODELS = {"pairs": (pairs, None), "hashed": (pairs, 12), "ranked": (ranked, None), "columns": (columns, 9)}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutations")
    for name, (make, bits) in MODELS.items():
        laid, vocabularies = lay_out(make(), bits)
        write(
            Artifact(laid.weights, laid.graph, vocabularies, {"steps": []}, {"note": "ü", "deep": [[{}]]}),
            folder / name,
        )
    return folder


def answers(path):
    """What an artifact says to the same requests, whatever columns it has come to read."""
    scorer = load(path)
    if scorer.graph.items is not None:
        found = scorer.top_k(HISTORIES, 3)
        return [*found.ids, *found.scores]
    frame = request()
    return [scorer.score({column: frame.get(column, frame["user"]) for column in scorer.columns})]


# Ways to mutate


def mutated(content, others, rng):
    """Bytes flipped, cut off, left out, put in, blocks swapped, overwritten with zeros or with a part of another file."""
    content = bytearray(content)
    place, size = int(rng.integers(len(content))), int(rng.integers(1, 65))
    match rng.integers(8):
        case 0 | 1:
            for at in rng.integers(len(content), size=int(rng.integers(1, 5))):
                content[at] ^= 1 << int(rng.integers(8))
        case 2:
            del content[place:]
        case 3:
            del content[place : place + size]
        case 4:
            content[place:place] = rng.bytes(size)
        case 5:
            other = int(rng.integers(len(content)))
            content[place : place + size], content[other : other + size] = (
                content[other : other + size],
                content[place : place + size],
            )
        case 6:
            content[place : place + size] = bytes(len(content[place : place + size]))
        case 7:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(len(other)))
            content[place : place + size] = other[start : start + size]
    return bytes(content)


ODD = (
    None,
    True,
    "",
    "x",
    "../x",
    -1,
    0,
    1,
    2,
    7,
    255,
    2**31,
    2**63,
    10**30,
    0.5,
    1e308,
    [],
    [0],
    {},
    {"a": 1},
    [[[]]],
)


def changed_json(value, rng):
    """One place of a JSON document taken out, doubled, exchanged with another place, or made odd."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    inside, key = places[int(rng.integers(len(places)))]
    match rng.integers(5):
        case 0 | 1:
            inside[key] = ODD[int(rng.integers(len(ODD)))]
        case 2:
            del inside[key]
        case 3:
            other, name = places[int(rng.integers(len(places)))]
            inside[key], other[name] = copy.deepcopy(other[name]), copy.deepcopy(inside[key])
        case 4:
            if isinstance(inside[key], bool) or not isinstance(inside[key], int | float):
                inside[key] = copy.deepcopy(places[int(rng.integers(len(places)))][0])
            else:
                inside[key] = inside[key] * 2 + 1 if rng.integers(2) else inside[key] - 1
    return value


def _places(value):
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def campaign(source, folder, count, seed, seal):
    """Outcomes of `count` mutations: how many are refused, and how many load. Anything else fails."""
    rng = np.random.default_rng(seed)
    refusals, loaded, slowest = 0, 0, 0.0
    for round_ in range(count):
        name = list(MODELS)[round_ % len(MODELS)]
        path = folder / name
        if not path.exists():
            shutil.copytree(source / name, path)
        originals = {file: (source / name / file).read_bytes() for file in FILES}
        touched = {"manifest.json"} if seal else set()
        for _ in range(int(rng.integers(1, 3))):
            file = FILES[int(rng.integers(len(FILES)))]
            content = (path / file).read_bytes()
            if file.endswith(".json") and rng.integers(4):
                try:
                    content = json.dumps(changed_json(json.loads(content), rng)).encode()
                except (ValueError, TypeError, IndexError, KeyError):
                    content = mutated(content or b"0", list(originals.values()), rng)
            else:
                content = mutated(content or b"0", list(originals.values()), rng)
            (path / file).write_bytes(content)
            touched.add(file)
        if seal:
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                reseal(path)  # what cannot be sealed must be refused too
        start = time.perf_counter()
        try:
            found = answers(path)
        except RecpruneError as error:
            refusals += "\n" not in str(error)
        else:
            loaded += 1
            if seal:
                assert all(np.isfinite(part).all() for part in found if part.dtype.kind == "f")
            else:
                same = zip(found, answers(source / name), strict=True)
                assert all(np.array_equal(one, other) for one, other in same), (seed, round_)
        slowest = max(slowest, time.perf_counter() - start)
        for file in touched:
            (path / file).write_bytes(originals[file])
    assert slowest < 10
    return refusals, loaded


@pytest.mark.parametrize("seal", [False, True])
def test_a_few_hundred_mutations(artifacts, tmp_path, seal):
    refusals, loaded = campaign(artifacts, tmp_path, 400, 1, seal)
    assert refusals + loaded == 400
    assert refusals > (380 if not seal else 200)


@pytest.mark.slow
@pytest.mark.parametrize("seal", [False, True])
def test_ten_thousand_mutations(artifacts, tmp_path, seal):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusals, loaded = campaign(artifacts, tmp_path, 10_000, 2, seal)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes
    assert refusals + loaded == 10_000
    assert refusals > (9_500 if not seal else 5_000)


def test_a_signed_artifact_mutated(signed, keys):
    """Whatever is changed, in the signature too: refused, or (a space, a bit that base64 ignores) what was signed."""
    rng, refused = np.random.default_rng(3), 0
    originals = {file: (signed / file).read_bytes() for file in (*FILES, "signature.json")}
    names = [*originals, *["signature.json"] * 10]
    for _ in range(200):
        file = names[int(rng.integers(len(names)))]
        content = originals[file]
        if file == "signature.json" and rng.integers(2):
            content = json.dumps(changed_json(json.loads(content), rng)).encode()
        else:
            content = mutated(content, list(originals.values()), rng)
        (signed / file).write_bytes(content)
        try:
            scorer = trusted(signed, require_signature=keys / "release.pub")
        except RecpruneError as error:
            refused += "\n" not in str(error)
        else:
            assert file == "signature.json" or content == originals[file]
            assert scorer.artifact.digest == hashlib.sha256(originals["manifest.json"]).hexdigest()
        (signed / file).write_bytes(originals[file])
    assert refused > 150
