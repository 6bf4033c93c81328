"""Sign an artifact's directory, and verify it before anything of it is read, by the OpenSSF model signing standard."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recprune.artifact.read import parse_json
from recprune.artifact.write import JSON_LIMIT, MANIFEST, SIGNATURE
from recprune.errors import RecpruneError
from recprune.files import write_bytes
from recprune.trust.keys import artifact_key, need_extra, pem_kind, read_key
from recprune.trust.signature import plain_files, read_limited, same_names, signed_files

if TYPE_CHECKING:
    from model_signing import hashing

__all__ = ["Sigstore", "sign_artifact", "verify_artifact"]

_CHANGED = re.compile(r"Hash mismatch for \\*'([^']+?)\\*':")  # as the library's message lists them


@dataclass(frozen=True)
class Sigstore:
    """Trust in an identity instead of a key, such as that of a build: its certificate and log come from sigstore.dev.

    `identity`: who signs, such as `release@example.com`; `issuer`: the OpenID Connect issuer that vouches for it.
    """

    identity: str
    issuer: str

    def __post_init__(self) -> None:
        if not self.identity or not self.issuer:
            raise RecpruneError("sigstore needs an identity and the issuer that vouches for it")


def sign_artifact(path: str | Path, key: str | Path | None, certificate: str | Path | None = None) -> str:
    """Write `signature.json` over every file of the artifact, and give the artifact's digest.

    `key`: a private key of `recprune keygen` (PEM, a NIST curve); None signs by sigstore, which needs a network.
    `certificate`: PEM of the key's certificate and, after it, those that it builds on. An old signature is replaced when
    the new one is whole. The digest is the SHA-256 of `manifest.json`.

    Raises RecpruneError for what is no artifact, a file that is not the one its manifest names, links, and a key that
    does not fit. Source: OpenSSF Model Signing specification 1.0.
    """
    need_extra()
    from model_signing import signing

    path = Path(path).resolve()
    if MANIFEST not in plain_files(path):
        raise RecpruneError(f"{path} is no artifact: it has no {MANIFEST}")
    config = signing.Config().set_hashing_config(_hashing())
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / SIGNATURE
        try:
            if key is None:
                config.use_sigstore_signer(use_ambient_credentials=True)
            elif certificate is None:
                config.use_elliptic_key_signer(private_key=artifact_key(key))
            else:
                chain = read_key(certificate, "CERTIFICATE")
                config.use_certificate_signer(
                    private_key=artifact_key(key), signing_certificate=chain, certificate_chain=[chain]
                )
            config.sign(path, target)
        except RecpruneError:
            raise
        except Exception as error:  # whatever the library cannot sign with is one line here
            raise RecpruneError(f"cannot sign {path} with {key or 'sigstore'}: {_line(error)}") from error
        content = target.read_bytes()
    signed = signed_files(content, path / SIGNATURE)
    for name, entry in _manifest_files(path).items():
        if signed.get(name) != entry["sha256"]:
            raise RecpruneError(f"{path}: {name!r} is not the file that the manifest names; nothing was signed")
    try:
        # What a kill leaves half written must not lie among the files that a signature covers.
        write_bytes(path / SIGNATURE, content, path.parent)
    except RecpruneError:  # the folder around it is not ours, or on another disk
        write_bytes(path / SIGNATURE, content)
    return signed[MANIFEST]


def verify_artifact(path: str | Path, trust: str | Path | Sigstore) -> str:
    """Check the signature and every file that it covers; give the artifact's digest, the SHA-256 of `manifest.json`.

    `trust`: a public key, or certificates that the signer's must build on (PEM), or a `Sigstore` identity. The names are
    checked before any file is opened, so that nothing outside of the directory is ever read.

    Raises RecpruneError naming the file: one that was changed, added, removed, renamed or is a link, a signature that is
    missing, of another key, or of other content.
    """
    need_extra()
    from model_signing import verifying

    path = Path(path).resolve()
    names = plain_files(path)
    if SIGNATURE not in names:
        raise RecpruneError(f"{path} is not signed: it has no {SIGNATURE}")
    file = path / SIGNATURE
    content = read_limited(file)
    signed = signed_files(content, file)
    same_names(path, names - {SIGNATURE}, set(signed))
    config = verifying.Config().set_hashing_config(_hashing())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / SIGNATURE  # what was looked at is what is verified
        copy.write_bytes(content)
        try:
            if isinstance(trust, Sigstore):
                config.use_sigstore_verifier(identity=trust.identity, oidc_issuer=trust.issuer)
            elif pem_kind(trust) == "CERTIFICATE":
                config.use_certificate_verifier(certificate_chain=[Path(trust)])
            else:
                _same_key(content, read_key(trust, "PUBLIC KEY"), file)
                config.use_elliptic_key_verifier(public_key=trust)
            config.verify(path, copy)
        except RecpruneError:
            raise
        except Exception as error:  # whatever the library finds in a made-up signature is a refusal
            raise _refusal(path, signed, trust, error) from error
    return signed[MANIFEST]


def _refusal(path: Path, signed: dict[str, str], trust: str | Path | Sigstore, error: Exception) -> RecpruneError:
    found = set(_CHANGED.findall(str(error)))
    changed = [name for name in signed if name in found]
    if len(changed) > 1 and MANIFEST in changed:
        files = ", ".join(changed)
        return RecpruneError(
            f"{path}: the signature is of other content, older or newer: {files} are not what was signed"
        )
    if changed:
        return RecpruneError(f"{path}: {changed[0]!r} is not the file that was signed: its SHA-256 differs")
    return RecpruneError(f"{path / SIGNATURE} cannot be verified with {trust}: {_line(error)}")


def _same_key(content: bytes, trust: Path, file: Path) -> None:
    """The library's own hint of the key: the SHA-256 of its PEM. It only makes the message better."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(trust.read_bytes())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RecpruneError(f"{trust} is no public key that can be used: {error}") from error
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    material = parse_json(content, file)["verificationMaterial"]
    if "publicKey" not in material or material["publicKey"].get("hint") != hashlib.sha256(pem).hexdigest():
        raise RecpruneError(f"{file} was made with another key than {trust}")


def _manifest_files(path: Path) -> dict[str, Any]:
    found = parse_json(read_limited(path / MANIFEST, JSON_LIMIT), path / MANIFEST)
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and "sha256" in entry for entry in files.values()
    ):
        raise RecpruneError(f"{path / MANIFEST} lists no files")
    return files


def _hashing() -> hashing.Config:
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else "its signature does not fit its content"
