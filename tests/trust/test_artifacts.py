"""Every way to tamper with a signed artifact is refused, by a line that names the file."""

import base64
import datetime
import hashlib
import json
import os

import numpy as np
import pytest

import recprune
from recprune.artifact import Artifact, lay_out, read, write
from recprune.errors import RecpruneError
from recprune.trust import Sigstore, load, sign_artifact, verify_artifact

from ..artifact.test_read_write import FILES
from ..small import like, request


def refused(path, trust, message):
    """By verifying, and by loading with that policy."""
    for attempt in (lambda: verify_artifact(path, trust), lambda: load(path, require_signature=trust)):
        with pytest.raises(RecpruneError, match=message) as error:
            attempt()
        assert "\n" not in str(error.value)


def forge_names(path, key, change):
    """A valid signature by the right key over a statement with other names: what only a signer could make."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    bundle = json.loads((path / "signature.json").read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    digests = b"".join(bytes.fromhex(entry["digest"]) for entry in statement["predicate"]["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()
    payload = json.dumps(statement).encode()
    kind = bundle["dsseEnvelope"]["payloadType"]
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    private = load_pem_private_key(key.read_bytes(), None)
    signature = private.sign(message, ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    (path / "signature.json").write_text(json.dumps(bundle))


# What is as it was signed


def test_a_signed_artifact_loads_and_says_its_digest(signed, keys):
    digest = verify_artifact(signed, keys / "release.pub")
    assert digest == hashlib.sha256((signed / "manifest.json").read_bytes()).hexdigest()
    scorer = recprune.load(signed, require_signature=keys / "release.pub")
    assert scorer.artifact.digest == digest
    np.testing.assert_array_equal(scorer.score(request()), recprune.load(signed).score(request()))


def test_the_directory_may_move_and_be_linked_to(signed, keys):
    signed.rename(signed.with_name("v7"))
    signed.with_name("latest").symlink_to(signed.with_name("v7"))
    assert verify_artifact(signed.with_name("latest"), keys / "release.pub")
    assert load(signed.with_name("latest"), require_signature=keys / "release.pub")


def test_signing_again_gives_the_same_cover_and_an_artifact_that_is_written_anew_is_not_signed(signed, keys):
    before = verify_artifact(signed, keys / "release.pub")
    assert sign_artifact(signed, keys / "other") == before
    refused(signed, keys / "release.pub", "signature.json was made with another key")
    assert verify_artifact(signed, keys / "other.pub") == before
    write(read(signed), signed)
    assert sorted(os.listdir(signed)) == FILES
    refused(signed, keys / "other.pub", "is not signed: it has no signature.json")


def test_files_of_version_control_are_covered_too(signed, keys):
    # The library's own default leaves them out.
    (signed / ".gitignore").write_text("*")
    sign_artifact(signed, keys / "release")
    (signed / ".gitignore").write_text("")
    refused(signed, keys / "release.pub", "'.gitignore' is not the file that was signed")


# What was tampered with


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit(signed, keys, name):
    content = bytearray((signed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (signed / name).write_bytes(content)
    refused(signed, keys / "release.pub", f"'{name}' is not the file that was signed: its SHA-256 differs")


@pytest.mark.parametrize("name", FILES)
def test_a_file_removed(signed, keys, name):
    (signed / name).unlink()
    refused(signed, keys / "release.pub", f"'{name}' is missing: the signature covers it")


@pytest.mark.parametrize("name", ["model.pkl", ".gitattributes", "a\nb", "zz\u202egnp"])
def test_a_file_added(signed, keys, name):
    (signed / name).write_text("")
    refused(signed, keys / "release.pub", "was added: the signature does not cover it")


def test_a_file_renamed(signed, keys):
    (signed / "recipe.json").rename(signed / "Recipe.json")
    refused(signed, keys / "release.pub", "'recipe.json' is missing and 'Recipe.json' is there instead: renamed")


def test_two_files_exchanged(signed, keys):
    (signed / "graph.json").rename(signed / "x")
    (signed / "recipe.json").rename(signed / "graph.json")
    (signed / "x").rename(signed / "recipe.json")
    refused(signed, keys / "release.pub", "'graph.json' is not the file that was signed")


@pytest.mark.parametrize("name", [*FILES, "signature.json"])
def test_a_link_in_place_of_a_file(signed, keys, name):
    (signed / name).rename(signed.parent / "outside")
    (signed / name).symlink_to(signed.parent / "outside")
    refused(signed, keys / "release.pub", f"'{name}' is a symbolic link")


def test_links_that_lead_nowhere_to_a_directory_and_to_themselves(signed, keys):
    for target in ("gone", signed.parent, "extra"):
        (signed / "extra").symlink_to(target)
        refused(signed, keys / "release.pub", "'extra' is a symbolic link")
        (signed / "extra").unlink()


def test_a_directory_and_a_pipe_are_refused_unopened(signed, keys):
    (signed / "empty").mkdir()
    refused(signed, keys / "release.pub", "'empty' is no plain file")
    (signed / "empty").rmdir()
    os.mkfifo(signed / "pipe")  # opening it would hang
    refused(signed, keys / "release.pub", "'pipe' is no plain file")


def test_another_key(signed, keys):
    refused(signed, keys / "other.pub", r"signature\.json was made with another key than .*other\.pub")


def test_an_old_signature_over_new_content(signed, keys):
    old = (signed / "signature.json").read_bytes()
    laid, vocabularies = lay_out(like())
    write(Artifact(laid.weights, laid.graph, vocabularies), signed)
    (signed / "signature.json").write_bytes(old)
    refused(signed, keys / "release.pub", r"the signature is of other content, older or newer: .*manifest\.json")


def test_a_signature_that_is_changed(signed, keys):
    def damaged(change):
        bundle = json.loads(original)
        change(bundle)
        (signed / "signature.json").write_text(json.dumps(bundle))
        refused(signed, keys / "release.pub", r"signature\.json")

    original = (signed / "signature.json").read_text()
    envelope = "dsseEnvelope"
    for change in (
        lambda b: b[envelope]["signatures"][0].update(sig=base64.b64encode(b"x" * 70).decode()),
        lambda b: b[envelope].update(signatures=[]),
        lambda b: b[envelope].update(payloadType="text/plain"),
        lambda b: b[envelope].pop("payload"),
        lambda b: b.pop(envelope),
        lambda b: b.update(mediaType="application/json"),
        lambda b: b["verificationMaterial"].pop("publicKey"),
        lambda b: b["verificationMaterial"]["publicKey"].pop("hint"),
        lambda b: b.pop("verificationMaterial"),
        lambda b: b[envelope].update(payload=5),
    ):
        damaged(change)
    for text in ("", "[]", "{}", "null", "[" * 10**5, '{"a":1,"a":2}', "x" * (2 << 20)):
        (signed / "signature.json").write_text(text)
        refused(signed, keys / "release.pub", r"signature\.json")


def test_what_is_loaded_is_what_was_verified(signed, keys, monkeypatch):
    """A file exchanged between verifying and reading is refused too: the reader holds to the verified digest."""
    from recprune.trust import artifacts

    verify = artifacts.verify_artifact

    def then_exchange(path, trust):
        digest = verify(path, trust)
        laid, vocabularies = lay_out(like(7))
        write(Artifact(laid.weights, laid.graph, vocabularies), path)
        return digest

    monkeypatch.setattr(artifacts, "verify_artifact", then_exchange)
    with pytest.raises(RecpruneError, match=r"manifest\.json is not the file that was signed"):
        load(signed, require_signature=keys / "release.pub")


def test_verified_before_anything_else_is_read(signed, keys):
    # Not even the manifest is parsed: this one would be refused with another message.
    (signed / "manifest.json").write_text("{")
    refused(signed, keys / "release.pub", "'manifest.json' is not the file that was signed")


# A valid signature over a manifest that leads out (case C14)


@pytest.mark.parametrize(
    "name",
    [
        *("../secret.txt", "..\\..\\x", "C:/x", "C:x", "/etc/hostname", "\\\\host\\share", "..", ".", "", "a/b"),
        *("graph.json:stream", "a\x00b", "a\nb", "./graph.json", "signature.json", "x" * 300),
    ],
)
def test_a_signed_name_that_leads_out_is_refused_before_it_is_read(signed, keys, name):
    (signed.parent / "secret.txt").write_text("secret")
    os.utime(signed.parent / "secret.txt", (0, 10**9))
    digest = hashlib.sha256(b"secret").hexdigest()
    entry = {"algorithm": "sha256", "digest": digest, "name": name}
    forge_names(signed, keys / "release", lambda s: s["predicate"]["resources"].append(entry))
    refused(
        signed, keys / "release.pub", r"signature\.json names .*, which is no file of an artifact; nothing was read"
    )
    assert os.stat(signed.parent / "secret.txt").st_atime == 0


def test_a_signed_link_that_leads_out_is_refused(signed, keys):
    (signed.parent / "secret.txt").write_text("secret")
    (signed / "extra").symlink_to("../secret.txt")
    entry = {"algorithm": "sha256", "digest": hashlib.sha256(b"secret").hexdigest(), "name": "extra"}

    def allow(statement):
        statement["predicate"]["resources"].append(entry)
        statement["predicate"]["serialization"]["allow_symlinks"] = True

    forge_names(signed, keys / "release", allow)
    refused(signed, keys / "release.pub", "'extra' is a symbolic link")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["predicate"]["serialization"].update(ignore_paths=["signature.json", "graph.json"]),
        lambda s: s["predicate"]["serialization"].update(ignore_paths=["."]),
        lambda s: s["predicate"]["serialization"].update(allow_symlinks=True),
        lambda s: s["predicate"]["serialization"].update(method="shards", shard_size=10**9),
        lambda s: s["predicate"]["serialization"].update(hash_type="blake2"),
        lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]),
        lambda s: s["predicate"].update(resources=[]),
        lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"),
        lambda s: s.update(_type="x"),
    ],
)
def test_a_signed_statement_with_exceptions_is_refused(signed, keys, change):
    forge_names(signed, keys / "release", change)
    refused(signed, keys / "release.pub", r"signature\.json")


def test_the_forgery_of_these_tests_is_valid_where_nothing_is_changed(signed, keys):
    forge_names(signed, keys / "release", lambda statement: None)
    assert verify_artifact(signed, keys / "release.pub")


# Signing


def test_what_does_not_fit_its_manifest_is_not_signed(signed, keys):
    (signed / "graph.json").write_text("{}")
    with pytest.raises(
        RecpruneError, match=r"'graph\.json' is not the file that the manifest names; nothing was signed"
    ):
        sign_artifact(signed, keys / "release")
    (signed / "graph.json").unlink()
    with pytest.raises(RecpruneError, match=r"'graph\.json' is not the file"):
        sign_artifact(signed, keys / "release")


def test_what_is_no_artifact_is_not_signed(signed, keys, tmp_path):
    for path, message in ((tmp_path / "none", "no directory"), (tmp_path, "no plain file"), (keys, "no manifest.json")):
        with pytest.raises(RecpruneError, match=message):
            sign_artifact(path, keys / "release")
    (signed / "x").symlink_to("graph.json")
    with pytest.raises(RecpruneError, match="'x' is a symbolic link"):
        sign_artifact(signed, keys / "release")


def test_keys_of_the_wrong_kind_are_named(signed, keys):
    for key, message in (
        ("release.pub", "holds a public key, a private key is needed"),
        ("serving", "serving does not sign artifacts, it is Ed25519, a key for answers: make a key with `recprune"),
        ("serving.jwks", r"serving\.jwks is JSON, as key sets for answers are; a key in PEM is needed"),
        ("none", "cannot read the key"),
    ):
        with pytest.raises(RecpruneError, match=message):
            sign_artifact(signed, keys / key)
    for key, message in (
        ("release", "holds a private key, a public key is needed"),
        ("serving.jwks", r"serving\.jwks is JSON, as key sets for answers are; a key in PEM is needed"),
        ("none", "cannot read the key"),
    ):
        refused(signed, keys / key, message)


def test_keys_of_other_tools(signed, keys, tmp_path):
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key((keys / "release").read_bytes(), None)
    (tmp_path / "sec1").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    sign_artifact(signed, tmp_path / "sec1")
    assert verify_artifact(signed, keys / "release.pub")
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "locked").write_bytes(locked)
    with pytest.raises(RecpruneError, match=r"cannot sign .* with .*locked: TypeError: Password was not given"):
        sign_artifact(signed, tmp_path / "locked")


def test_a_failed_signing_leaves_the_old_signature(signed, keys, monkeypatch):
    before = (signed / "signature.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RecpruneError, match="No space left on device"):
        sign_artifact(signed, keys / "other")
    assert (signed / "signature.json").read_bytes() == before
    assert sorted(os.listdir(signed)) == sorted([*FILES, "signature.json"])


# Certificates


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A root, another root, and a certificate of the first for a key that signs."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    folder = tmp_path_factory.mktemp("authority")
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def certificate(name, key, issuer, signer, ca):
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
        built = (
            x509.CertificateBuilder(*reversed(names), key.public_key(), x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca, None), True)
            .add_extension(usage, True)
        )
        (folder / f"{name}.pem").write_bytes(built.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))

    root, stranger, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    certificate("root", root, "root", root, True)
    certificate("stranger", stranger, "stranger", stranger, True)
    certificate("leaf", leaf, "root", root, False)
    (folder / "leaf").write_bytes(leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def test_certificates(signed, keys, authority):
    digest = sign_artifact(signed, authority / "leaf", authority / "leaf.pem")
    assert verify_artifact(signed, authority / "root.pem") == digest
    refused(signed, authority / "stranger.pem", r"signature\.json cannot be verified with .*stranger\.pem")
    refused(signed, keys / "release.pub", "another key")
    (signed / "graph.json").write_text("{}")
    refused(signed, authority / "root.pem", "'graph.json' is not the file that was signed")
    with pytest.raises(RecpruneError, match="does not match"):
        sign_artifact(signed, keys / "release", authority / "leaf.pem")


def test_a_key_is_no_certificate(signed, authority):
    refused(signed, authority / "root.pem", r"signature\.json cannot be verified with .*root\.pem")


# Sigstore


def test_sigstore_is_asked_for_the_identity(signed, monkeypatch):
    """What only its network can verify is handed to the library whole; here it says no."""
    from model_signing import verifying

    asked = []

    def no(self, **given):
        asked.append(given)
        raise ValueError("no such identity in the log")

    monkeypatch.setattr(verifying.Config, "use_sigstore_verifier", no)
    refused(signed, Sigstore("me@example.com", "https://issuer.example"), "cannot be verified with .*no such identity")
    assert asked == [{"identity": "me@example.com", "oidc_issuer": "https://issuer.example"}] * 2
    with pytest.raises(RecpruneError, match="needs an identity"):
        Sigstore("", "https://issuer.example")
