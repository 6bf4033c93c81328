"""Signed answers, headers, keys and signatures, mutated and made up: what was changed is not taken for what was signed."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.artifact.read import _tensors
from recprune.errors import RecpruneError
from recprune.trust import AnswerSigner, AnswerVerifier, Message, parse_response
from recprune.trust.keys import pem_kind, private_key, public_keys, read_key
from recprune.trust.messages import read_signature
from recprune.trust.signature import signed_files
from tests.artifact.test_read_write import safetensors
from tests.fuzz.harness import anything, as_json, broken, changed, few, many, parsed
from tests.trust.conftest import keys  # noqa: F401

REQUEST = Message({}, "POST", "/top_k")
BODY, ASKED = b'{"items": ["a"]}', b'{"history": ["b"]}'
ODD_TEXT = st.text(max_size=60) | st.sampled_from(
    ["", "=", "a=()", 'sig1=("@status");created=1', "sig1=:AA==:", "sig1=:A:", "é", "\0", "a" * 9000]
)


@pytest.fixture(scope="module")
def answers(keys):  # noqa: F811
    signer = AnswerSigner(keys / "serving", "0" * 64)
    headers = signer.headers(BODY, REQUEST, ASKED, now=1000)
    return AnswerVerifier(keys / "serving.jwks"), headers, signer.jws({"answer": [1, 2]}, now=1000)


def response_of(answers, headers, body):
    """Whether a response with these headers and this body is taken for a signed one."""
    verifier = answers[0]
    return parsed(lambda: verifier.response(Message(headers, status=200), body, REQUEST, ASKED, now=1001))


def whole(headers, body):
    """A response as it was sent."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("utf-8", "surrogatepass") + body


def mutate(answers, keys, folder, seed):  # noqa: F811
    verifier, headers, text = answers
    rng = np.random.default_rng(seed)
    found = broken(whole(headers, BODY), rng)
    try:
        message, body = parse_response(found)
    except RecpruneError:
        pass
    else:
        if parsed(lambda: verifier.response(message, body, REQUEST, ASKED, now=1001)):
            assert body == BODY
            assert message.status == 200
    changed_text = broken(text.encode(), rng).decode("utf-8", "replace")
    if parsed(lambda: verifier.jws(changed_text, now=1001)):
        assert verifier.jws(changed_text, now=1001).content == {"answer": [1, 2]}
    for name in ("serving", "serving.jwks", "release", "release.pub"):
        file = folder / name
        file.write_bytes(broken((keys / name).read_bytes(), rng))
        parsed(private_key, file)
        parsed(public_keys, file)
        parsed(pem_kind, file)
    entries = json.loads((keys / "serving.jwks").read_text(encoding="utf-8"))
    (folder / "set.jwks").write_text(json.dumps(changed(entries, rng, 2)), encoding="utf-8")
    parsed(public_keys, folder / "set.jwks")


@few
@given(st.integers(0, 2**31))
def test_mutated_answers_and_keys(answers, keys, tmp_path_factory, seed):  # noqa: F811
    mutate(answers, keys, tmp_path_factory.getbasetemp(), seed)


@pytest.mark.slow
@many
@given(st.integers(0, 2**31))
def test_many_mutated_answers_and_keys(answers, keys, tmp_path_factory, seed):  # noqa: F811
    mutate(answers, keys, tmp_path_factory.getbasetemp(), seed)


@few
@given(
    st.dictionaries(
        st.sampled_from(["Signature", "Signature-Input", "Content-Digest", "Recprune-Artifact", "signature", "x"]),
        ODD_TEXT,
    )
)
def test_made_up_headers(answers, headers):
    parsed(read_signature, Message(headers, status=200))
    assert not response_of(answers, headers, BODY)
    assert not response_of(answers, answers[1] | headers, BODY) or not headers or set(headers) <= {"x"}


@few
@given(st.binary(max_size=300), ODD_TEXT, as_json)
def test_made_up_answers_and_keys(answers, tmp_path_factory, content, text, value):
    folder = tmp_path_factory.getbasetemp()
    parsed(parse_response, content)
    parsed(parse_response, b"HTTP/1.1 200 OK\r\n" + content)
    assert not parsed(answers[0].jws, text)
    (folder / "made.up").write_bytes(content)
    for parse in (private_key, public_keys, pem_kind):
        assert not parsed(parse, folder / "made.up")
    for one in (value, {"keys": value}, {"keys": [value]}, {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": value}]}):
        (folder / "made.up").write_text(json.dumps(one, default=str), encoding="utf-8")
        assert not parsed(public_keys, folder / "made.up")
    for one in (value, {"dsseEnvelope": value}, {"dsseEnvelope": {"payload": value}}):
        assert not parsed(signed_files, json.dumps(one, default=str).encode(), Path("signature.json"))


@few
@given(as_json | anything, st.binary(max_size=64))
def test_made_up_headers_of_arrays(value, content):
    """safetensors: any JSON in the place of the header, and any bytes behind it."""
    file = Path("weights.safetensors")
    try:
        header = json.dumps(value).encode()
    except (TypeError, ValueError):
        return
    parsed(_tensors, safetensors(header, content), file)
    parsed(_tensors, safetensors(json.dumps({"a": value}, default=str).encode(), content), file)
    parsed(
        _tensors,
        safetensors(
            json.dumps(
                {"a": {"dtype": "F32", "shape": value, "data_offsets": [0, len(content)]}}, default=str
            ).encode(),
            content,
        ),
        file,
    )
    parsed(_tensors, content, file)


def test_what_is_no_file(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path in (
        tmp_path,
        tmp_path / "loop",
        tmp_path / "none",
        tmp_path / ("x" * 300),
        Path("a\0b"),
        Path("/dev/zero"),
    ):
        assert not parsed(private_key, path)
        assert not parsed(public_keys, path)
        assert not parsed(read_key, path, "PUBLIC KEY")
