"""Signed answers: what was answered, by which artifact, to which request, and how long it holds."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recprune.artifact.read import parse_json
from recprune.errors import RecpruneError
from recprune.trust.keys import as_jwk, private_key, public_keys
from recprune.trust.messages import Message, check, content_digest, read_signature, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from joserfc.jws import JWSRegistry

__all__ = ["ARTIFACT", "LONGEST_DAYS", "AnswerSigner", "AnswerVerifier", "Verified"]

ARTIFACT = "Recprune-Artifact"  # the header with the artifact's digest
LONGEST_DAYS = 36_500  # for which an answer may hold
_TYPE = "recprune-answer+jws"
_SKEW = 60  # seconds by which two clocks may differ
_LIMIT = 64 << 20  # characters of a JWS
_RESPONSE = ('"@status"', '"content-digest"', '"content-type"', f'"{ARTIFACT.lower()}"')
_REQUEST = ('"@method";req', '"@path";req', '"@query";req')
_REQUEST_BODY = '"content-digest";req'


@dataclass(frozen=True)
class Verified:
    """What a verified signature says.

    The artifact's digest, the id of the key, when it was made and when it ends (seconds since 1970); of a JWS its content.
    """

    artifact: str
    key: str
    created: int
    expires: int
    content: Any = None


class AnswerSigner:
    """Signs what one artifact answers, with one private key (Ed25519, of `recprune keygen --for answers`).

    `artifact`: its digest, `Scorer.artifact.digest`. `lifetime`: seconds for which an answer holds, at most
    36,500 days.
    """

    def __init__(self, key: str | Path, artifact: str, lifetime: int = 300) -> None:
        if len(artifact) != 64 or not set(artifact) <= set("0123456789abcdef"):
            raise RecpruneError(f"the digest of an artifact is a SHA-256 in hexadecimal, got {artifact!r}")
        if type(lifetime) is not int or not 1 <= lifetime <= LONGEST_DAYS * 86_400:
            raise RecpruneError(
                f"lifetime must be a number of seconds, from 1 to those of {LONGEST_DAYS:,} days, got {lifetime!r}"
            )
        self.artifact, self.lifetime = artifact, lifetime
        self._key = private_key(key)
        self._jwk = as_jwk(self._key)
        self._id = str(self._jwk.thumbprint())

    def headers(
        self,
        body: bytes,
        request: Message,
        request_body: bytes = b"",
        *,
        status: int = 200,
        content_type: str = "application/json",
        now: float | None = None,
    ) -> dict[str, str]:
        """The headers that sign a response: add them all to it. The request is signed too: no answer passes for another's.

        `request`: method and URL (or path and query) of what was asked.
        """
        fields = {"Content-Type": content_type, "Content-Digest": content_digest(body), ARTIFACT: self.artifact}
        asked = Message({"Content-Digest": content_digest(request_body)}, request.method, request.url)
        created = int(time.time() if now is None else now)
        message = Message(fields, status=status, request=asked)
        components = (*_RESPONSE, *_REQUEST, _REQUEST_BODY)
        return fields | sign(message, components, self._key, self._id, created, created + self.lifetime)

    def jws(self, content: Any, *, now: float | None = None) -> str:
        """JSON as a compact JWS (RFC 7515, 8037, 9864), for where there is no HTTP: put what was asked into the content."""
        created = int(time.time() if now is None else now)
        claims = {"artifact": self.artifact, "iat": created, "exp": created + self.lifetime, "content": content}
        return self._compact(claims)

    def file(self, path: str | Path, *, now: float | None = None) -> Path:
        """Write `<path>.jws` beside a file, with the file's SHA-256 and name; give its path."""
        from recprune.files import write_bytes

        path = Path(path)
        signature = path.with_name(path.name + ".jws")
        write_bytes(signature, self.jws({"file": path.name, "sha256": _sha256(path)}, now=now).encode())
        return signature

    def _compact(self, claims: Mapping[str, Any]) -> str:
        from joserfc import jws

        try:
            payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise RecpruneError(f"an answer must be JSON: {error}") from error
        header = {"alg": "Ed25519", "kid": self._id, "typ": _TYPE}
        return jws.serialize_compact(header, payload, self._jwk, registry=_registry())


class AnswerVerifier:
    """Verifies answers by the public keys of a JSON Web Key Set, of which each is known by its id.

    `artifact`: the digest of the only artifact whose answers count; None takes any, and says which.
    """

    def __init__(self, keys: str | Path, artifact: str | None = None) -> None:
        self.keys, self.artifact, self._path = public_keys(keys), artifact, keys

    def response(
        self, response: Message, body: bytes, request: Message, request_body: bytes = b"", *, now: float | None = None
    ) -> Verified:
        """Check a signed response to a request. Raises RecpruneError for what is changed, expired, or of another key.

        The signature must cover status, body, type, artifact, and the request with its body; one that leaves a part of
        these open is refused.
        """
        asked = replace(request, headers={**_others(request.headers), "Content-Digest": content_digest(request_body)})
        message = replace(response, request=asked)
        signed = read_signature(message)
        for component in (*_RESPONSE, *_REQUEST, _REQUEST_BODY):
            if component not in signed.components:
                raise RecpruneError(f"the signature leaves {component} open")
        created, expires = (signed.parameters.get(name) for name in ("created", "expires"))
        name = str(signed.parameters.get("keyid"))
        check(message, signed, self._key(name))
        if message.header("content-digest") != content_digest(body):
            raise RecpruneError("the body is not the one that was signed: its Content-Digest differs")
        return self._verified(message.header(ARTIFACT.lower()), name, created, expires, now)

    def jws(self, text: str, *, now: float | None = None) -> Verified:
        """Check a compact JWS and give its content. Raises RecpruneError as `response` does."""
        from joserfc import jws

        if len(text) > _LIMIT:
            raise RecpruneError(f"a signed answer is longer than {_LIMIT} characters")
        try:
            unverified = jws.extract_compact(text.strip().encode("ascii"), registry=_registry())
            name = str(unverified.headers().get("kid"))
            found = jws.deserialize_compact(text.strip(), as_jwk(self._key(name)), registry=_registry())
            header = found.headers()
        except RecpruneError:
            raise
        except Exception as error:  # whatever the library finds in a made-up JWS is a refusal
            raise RecpruneError(f"the signed answer cannot be verified: {' '.join(str(error).split())}") from error
        claims = parse_json(found.payload, Path("signed answer"))
        if header.get("typ") != _TYPE or not isinstance(claims, dict) or "content" not in claims:
            raise RecpruneError(f"this is no answer: its type is {header.get('typ')!r}, not {_TYPE!r}")
        verified = self._verified(claims.get("artifact"), name, claims.get("iat"), claims.get("exp"), now)
        return replace(verified, content=claims["content"])

    def file(self, path: str | Path, *, now: float | None = None) -> Verified:
        """Check a file against the `<path>.jws` beside it. Raises RecpruneError as `response` does."""
        path = Path(path)
        signature = path.with_name(path.name + ".jws")
        try:
            with signature.open("rb") as opened:
                text = opened.read(1 << 20).decode("ascii", "replace")
        except OSError as error:
            raise RecpruneError(f"{path} is not signed: cannot read {signature}: {error.strerror or error}") from error
        verified = self.jws(text, now=now)
        content = verified.content
        if not isinstance(content, dict) or set(content) != {"file", "sha256"}:
            raise RecpruneError(f"{signature} signs an answer, not a file")
        if content["file"] != path.name:
            raise RecpruneError(f"{signature} signs {content['file']!r}, not {path.name!r}")
        if content["sha256"] != _sha256(path):
            raise RecpruneError(f"{path} is not the file that was signed: its SHA-256 differs")
        return verified

    def _key(self, name: str) -> Ed25519PublicKey:
        if name not in self.keys:
            raise RecpruneError(f"the answer is signed with key {name!r}, which {self._path} does not know")
        return self.keys[name]

    def _verified(self, artifact: Any, key: str, created: Any, expires: Any, now: float | None) -> Verified:
        if type(created) is not int or type(expires) is not int or not isinstance(artifact, str):
            raise RecpruneError("the signature does not say by which artifact, when it was made and when it ends")
        now = time.time() if now is None else now
        if created > now + _SKEW:
            raise RecpruneError(f"the answer was signed {created - int(now)} seconds from now: a clock is wrong")
        if expires <= now:
            raise RecpruneError(f"the answer expired {int(now) - expires} seconds ago")
        if self.artifact is not None and artifact != self.artifact:
            raise RecpruneError(f"the answer is of artifact {artifact}, not of {self.artifact}")
        return Verified(artifact, key, created, expires)


def _registry() -> JWSRegistry:
    """One algorithm, and answers of any size that is sane: the library's limit is 128,000 bytes."""
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=["Ed25519"])
    registry.max_payload_length = _LIMIT
    return registry


def _others(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "content-digest"}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise RecpruneError(f"cannot read {path}: {error.strerror or error}") from error
