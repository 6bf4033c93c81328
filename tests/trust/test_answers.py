"""Signed answers: whole they verify; changed, late, moved to another request or by another key they do not."""

import base64
import json
import shutil

import pytest

from recprune.errors import RecpruneError
from recprune.trust import AnswerSigner, AnswerVerifier, Message, generate

DIGEST = "0123456789abcdef" * 4
BODY = b'{"items":["a","b"]}'
ASKED = b'{"history":["c"]}'
REQUEST = Message({"Content-Type": "application/json"}, "POST", "/top_k?k=2")
NOW = 1_800_000_000


@pytest.fixture
def signer(keys):
    return AnswerSigner(keys / "serving", DIGEST, lifetime=60)


@pytest.fixture
def verifier(keys):
    return AnswerVerifier(keys / "serving.jwks")


def answer(signer, **more):
    return Message(signer.headers(BODY, REQUEST, ASKED, now=NOW, **more), status=more.get("status", 200))


# Over HTTP


def test_an_answer_verifies(signer, verifier, keys):
    found = verifier.response(answer(signer), BODY, REQUEST, ASKED, now=NOW + 59)
    kid = json.loads((keys / "serving.jwks").read_text())["keys"][0]["kid"]
    assert (found.artifact, found.key, found.created, found.expires) == (DIGEST, kid, NOW, NOW + 60)


def test_an_answer_without_a_body_and_an_error(signer, verifier):
    headers = signer.headers(b"", Message({}, "GET", "/health"), status=503, content_type="text/plain", now=NOW)
    assert verifier.response(Message(headers, status=503), b"", Message({}, "GET", "/health"), now=NOW)


def test_what_a_proxy_changes_does_not_matter(signer, verifier):
    headers = {name.upper(): f" {value} " for name, value in answer(signer).headers.items()} | {"Via": "1.1 cache"}
    request = Message(REQUEST.headers, "POST", "https://inside.example:8443/top_k?k=2")
    assert verifier.response(Message(headers, status=200), BODY, request, ASKED, now=NOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body": BODY.replace(b"a", b"z")}, "the body is not the one that was signed"),
        ({"status": 201}, "does not fit the message"),
        ({"request": Message({}, "GET", "/top_k?k=2")}, "does not fit the message"),
        ({"request": Message({}, "POST", "/score?k=2")}, "does not fit the message"),
        ({"request": Message({}, "POST", "/top_k?k=3")}, "does not fit the message"),
        ({"asked": ASKED.replace(b"c", b"d")}, "does not fit the message"),
        ({"headers": {"Recprune-Artifact": "f" * 64}}, "does not fit the message"),
        ({"headers": {"Content-Type": "text/html"}}, "does not fit the message"),
        ({"now": NOW + 60}, "expired 0 seconds ago"),
        ({"now": NOW + 1060}, "expired 1000 seconds ago"),
        ({"now": NOW - 61}, "signed 61 seconds from now: a clock is wrong"),
    ],
)
def test_an_answer_changed(signer, verifier, change, message):
    given = answer(signer)
    response = Message({**given.headers, **change.get("headers", {})}, status=change.get("status", 200))
    with pytest.raises(RecpruneError, match=message):
        verifier.response(
            response, change.get("body", BODY), change.get("request", REQUEST), change.get("asked", ASKED),
            now=change.get("now", NOW),
        )  # fmt: skip


def test_the_body_and_its_digest_changed_together(signer, verifier):
    from recprune.trust.messages import content_digest

    headers = {**answer(signer).headers, "Content-Digest": content_digest(b"other")}
    with pytest.raises(RecpruneError, match="does not fit the message"):
        verifier.response(Message(headers, status=200), b"other", REQUEST, ASKED, now=NOW)


def test_a_signature_that_covers_less_is_refused(keys, verifier):
    """By the right key, but it leaves open what was asked: such an answer could be given to anybody."""
    from recprune.trust.keys import as_jwk, private_key
    from recprune.trust.messages import sign

    key = private_key(keys / "serving")
    response = Message({"Content-Type": "application/json", "Recprune-Artifact": DIGEST}, status=200)
    signature = sign(response, ['"@status"'], key, as_jwk(key).thumbprint(), NOW, NOW + 60)
    with pytest.raises(RecpruneError, match='the signature leaves "content-digest" open'):
        verifier.response(Message({**response.headers, **signature}, status=200), BODY, REQUEST, ASKED, now=NOW)


def test_times_must_be_signed(signer, verifier):
    headers = answer(signer).headers
    for name in ("created", "expires", "keyid"):
        without = dict(headers)
        start, _, rest = headers["Signature-Input"].partition(f";{name}=")
        without["Signature-Input"] = start + "".join(rest.partition(";")[1:])
        with pytest.raises(RecpruneError, match=r"does not fit the message|does not know"):
            verifier.response(Message(without, status=200), BODY, REQUEST, ASKED, now=NOW)


def test_the_answers_of_one_artifact_only(signer, keys):
    assert AnswerVerifier(keys / "serving.jwks", DIGEST).response(answer(signer), BODY, REQUEST, ASKED, now=NOW)
    other = AnswerVerifier(keys / "serving.jwks", "f" * 64)
    with pytest.raises(RecpruneError, match=f"of artifact {DIGEST}, not of ffff"):
        other.response(answer(signer), BODY, REQUEST, ASKED, now=NOW)


# Keys


def test_keys_change_without_a_gap(keys, tmp_path):
    """A set with both keys verifies both; the set without the old one refuses it."""
    shutil.copy(keys / "serving", tmp_path / "old")
    shutil.copy(keys / "serving.jwks", tmp_path / "keys.jwks")
    assert generate(tmp_path / "new", "answers", tmp_path / "keys.jwks") == tmp_path / "keys.jwks"
    both = json.loads((tmp_path / "keys.jwks").read_text())["keys"]
    assert len(both) == 2
    (tmp_path / "later.jwks").write_text(json.dumps({"keys": both[1:]}))
    for name in ("old", "new"):
        text = AnswerSigner(tmp_path / name, DIGEST).jws([1], now=NOW)
        assert AnswerVerifier(tmp_path / "keys.jwks").jws(text, now=NOW).content == [1]
        later = AnswerVerifier(tmp_path / "later.jwks")
        if name == "new":
            assert later.jws(text, now=NOW).content == [1]
        else:
            with pytest.raises(RecpruneError, match=r"signed with key '.*', which .*later\.jwks does not know"):
                later.jws(text, now=NOW)


def test_private_keys_are_for_the_owner_and_never_overwritten(tmp_path):
    for purpose, public in (("artifacts", "key.pub"), ("answers", "key.jwks")):
        folder = tmp_path / purpose
        assert generate(folder / "key", purpose) == folder / public
        assert (folder / "key").stat().st_mode & 0o777 == 0o600
        assert "PRIVATE" not in (folder / public).read_text()
        before = (folder / "key").read_bytes(), (folder / public).read_bytes()
        with pytest.raises(RecpruneError, match="is there already; it is not overwritten"):
            generate(folder / "key", purpose)
        # A private half alone, as a kill between the two leaves it, gets its own public half.
        (folder / public).unlink()
        assert generate(folder / "key", purpose) == folder / public
        assert ((folder / "key").read_bytes(), (folder / public).read_bytes()) == before
        (folder / public).unlink()
        (folder / "key").write_text("something else")
        with pytest.raises(RecpruneError, match="key is there already; a private key is not overwritten"):
            generate(folder / "key", purpose)
        assert (folder / "key").read_text() == "something else"
        assert not (folder / public).exists()
    with pytest.raises(RecpruneError, match="unknown purpose of a key 'answer'; did you mean 'answers'"):
        generate(tmp_path / "x", "answer")


def test_a_private_half_is_no_part_of_a_set(keys, tmp_path):
    entry = json.loads((keys / "serving.jwks").read_text())["keys"][0]
    for change, message in (
        ({"keys": [entry | {"d": "x"}]}, "holds a private key"),
        ({"keys": [entry | {"x": "x"}]}, "holds a key that is none"),
        ({"keys": [entry | {"crv": "X25519"}]}, "does not sign answers: OKP X25519, not OKP Ed25519"),
        ({"keys": [entry | {"kty": "RSA"}]}, "does not sign answers: RSA"),
        ({"keys": [entry, entry]}, "twice"),
        ({"keys": []}, "holds no key"),
        ({"keys": 5}, "no list 'keys'"),
        ([], "no list 'keys'"),
    ):
        (tmp_path / "keys").write_text(json.dumps(change))
        with pytest.raises(RecpruneError, match=message) as error:
            AnswerVerifier(tmp_path / "keys")
        assert "\n" not in str(error.value)


def test_keys_of_the_wrong_kind(keys):
    with pytest.raises(RecpruneError, match="does not sign answers"):
        AnswerSigner(keys / "release", DIGEST)
    with pytest.raises(RecpruneError, match="a private key is needed"):
        AnswerSigner(keys / "release.pub", DIGEST)
    with pytest.raises(
        RecpruneError, match=r"release\.pub holds a public key \(PEM\); answers are verified by a key set"
    ):
        AnswerVerifier(keys / "release.pub")
    for digest in ("", "x" * 64, "A" * 64, "a" * 63):
        with pytest.raises(RecpruneError, match="SHA-256 in hexadecimal"):
            AnswerSigner(keys / "serving", digest)
    for lifetime in (0, -1, 1.5, True, 36_500 * 86_400 + 1):
        with pytest.raises(RecpruneError, match="lifetime must be a number of seconds"):
            AnswerSigner(keys / "serving", DIGEST, lifetime)


def test_without_the_packages_it_says_what_to_install(keys, tmp_path, monkeypatch):
    from recprune.trust import keys as module
    from recprune.trust import sign_artifact, verify_artifact

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for attempt in (
        lambda: generate(tmp_path / "key"),
        lambda: AnswerSigner(keys / "serving", DIGEST),
        lambda: AnswerVerifier(keys / "serving.jwks"),
        lambda: sign_artifact(tmp_path, keys / "release"),
        lambda: verify_artifact(tmp_path, keys / "release.pub"),
    ):
        with pytest.raises(RecpruneError, match=r"pip install 'recprune\[trust\]'"):
            attempt()


# Beyond HTTP


def test_a_jws_verifies_with_its_content(signer, verifier):
    content = {"request": {"history": ["c"]}, "items": ["a", "ü"], "scores": [0.5, 0.25]}
    found = verifier.jws(signer.jws(content, now=NOW), now=NOW + 1)
    assert found.content == content
    assert (found.artifact, found.created, found.expires) == (DIGEST, NOW, NOW + 60)
    large = [f"item {i}" for i in range(50_000)]  # the library's own limit is 128,000 bytes
    assert verifier.jws(signer.jws(large, now=NOW), now=NOW).content == large


def part(text, index, change):
    """A JWS with one part decoded, changed and put back."""
    parts = text.split(".")
    raw = json.loads(base64.urlsafe_b64decode(parts[index] + "=="))
    parts[index] = base64.urlsafe_b64encode(json.dumps(raw | change).encode()).rstrip(b"=").decode()
    return ".".join(parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: part(t, 1, {"content": 2}), "cannot be verified"),
        (lambda t: part(t, 1, {"exp": NOW + 10**6}), "cannot be verified"),
        (lambda t: part(t, 0, {"alg": "none"}), "cannot be verified"),
        (lambda t: part(t, 0, {"alg": "HS256"}), "cannot be verified"),
        (lambda t: part(t, 0, {"typ": "JWT"}), "cannot be verified"),
        (lambda t: part(t, 0, {"kid": "other"}), "key 'other', which .* does not know"),
        (lambda t: part(t, 0, {"crit": ["b64"], "b64": False}), "cannot be verified"),
        (lambda t: t[:-4] + "AAAA", "cannot be verified"),
        (lambda t: t.rpartition(".")[0] + ".", "cannot be verified"),
        (lambda t: t.rpartition(".")[0], "cannot be verified"),
        (lambda t: "", "cannot be verified"),
        (lambda t: "ü.ü.ü", "cannot be verified"),
        (lambda t: "a.b.c", "cannot be verified"),
        (lambda t: "x" * (65 << 20), "longer than"),
    ],
)
def test_a_jws_changed(signer, verifier, change, message):
    with pytest.raises(RecpruneError, match=message) as error:
        verifier.jws(change(signer.jws(1, now=NOW)), now=NOW)
    assert "\n" not in str(error.value)


def test_a_jws_late_and_of_another_kind(signer, verifier, keys):
    with pytest.raises(RecpruneError, match="expired"):
        verifier.jws(signer.jws(1, now=NOW), now=NOW + 60)
    with pytest.raises(RecpruneError, match="a clock is wrong"):
        verifier.jws(signer.jws(1, now=NOW + 100), now=NOW)
    with pytest.raises(RecpruneError, match="must be JSON"):
        signer.jws(float("nan"))
    # A token of the same key for another use.
    from joserfc import jws

    from recprune.trust.keys import as_jwk, private_key

    key = as_jwk(private_key(keys / "serving"))
    for typ, payload, message in (
        ("JWT", {"sub": "me", "content": 1}, "its type is 'JWT'"),
        ("recprune-answer+jws", {"content": 1}, "does not say by which artifact"),
        ("recprune-answer+jws", {"artifact": DIGEST, "iat": NOW, "exp": 2e9, "content": 1}, "does not say by which"),
        ("recprune-answer+jws", [1], "this is no answer"),
    ):
        header = {"alg": "Ed25519", "kid": key.thumbprint(), "typ": typ}
        text = jws.serialize_compact(header, json.dumps(payload), key, algorithms=["Ed25519"])
        with pytest.raises(RecpruneError, match=message):
            verifier.jws(text, now=NOW)


def test_a_file_and_its_signature(signer, verifier, tmp_path):
    path = tmp_path / "recs.csv"
    path.write_bytes(b"user,item\n")
    assert signer.file(path, now=NOW) == tmp_path / "recs.csv.jws"
    assert verifier.file(path, now=NOW).artifact == DIGEST
    path.write_bytes(b"user,iten\n")
    with pytest.raises(RecpruneError, match=r"recs\.csv is not the file that was signed"):
        verifier.file(path, now=NOW)
    path.rename(tmp_path / "other.csv")
    with pytest.raises(RecpruneError, match=r"other\.csv is not signed: cannot read .*other\.csv\.jws: No such file"):
        verifier.file(tmp_path / "other.csv", now=NOW)
    (tmp_path / "recs.csv.jws").rename(tmp_path / "other.csv.jws")
    with pytest.raises(RecpruneError, match=r"signs 'recs\.csv', not 'other\.csv'"):
        verifier.file(tmp_path / "other.csv", now=NOW)
    (tmp_path / "other.csv.jws").write_text(signer.jws({"items": []}, now=NOW))
    with pytest.raises(RecpruneError, match="signs an answer, not a file"):
        verifier.file(tmp_path / "other.csv", now=NOW)
