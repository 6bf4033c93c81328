"""HTTP Message Signatures (RFC 9421) by Ed25519, and Content-Digest (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from recprune.errors import RecpruneError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["Message", "Signed", "check", "content_digest", "parse_response", "read_signature", "sign", "signature_base"]

_LIMIT = 8192  # characters of the fields that hold signatures
_COMPONENT = re.compile(r'"([!#$%&\'*+.^_`|~0-9a-z@-]+)"((?:;[a-z]+)*)')
_INPUT = re.compile(r"([a-z*][a-z0-9_.*-]*)=(\(([^()]*)\)((?:;[a-z]+=(?:-?[0-9]{1,15}|\"[ !#-\[\]-~]*\"))*))")
_PARAMETER = re.compile(r";([a-z]+)=(?:(-?[0-9]+)|\"([^\"]*)\")")
_SIGNATURE = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):")


@dataclass(frozen=True)
class Message:
    """A request (`method` and `url`) or a response (`status`, and the `request` that it answers), without its body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = ""
    url: str = ""
    status: int = 0
    request: Message | None = None

    def component(self, identifier: str) -> str:
        """The value of a component: `"date"`, `"@path"`, `"@method";req`. Raises RecpruneError where there is none."""
        match = _COMPONENT.fullmatch(identifier)
        if match is None or match[2] not in ("", ";req"):
            raise RecpruneError(f"a signature covers {identifier}, which is not known here")
        name, message = match[1], self.request if match[2] else self
        if message is None:
            raise RecpruneError(f"the signature covers {identifier}: give the request that was answered")
        value = message._derived(name) if name.startswith("@") else message.header(name)
        if value is None:
            raise RecpruneError(f"the signature covers {identifier}, which the message lacks")
        if not value.isascii() or any(letter < " " and letter != "\t" for letter in value):
            raise RecpruneError(f"{identifier} of the message holds what cannot be signed: {value!r}")
        return value

    def header(self, name: str) -> str | None:
        """A header by its name, whatever its case; None where there is none, or it is there twice in different case."""
        found = [value for key, value in self.headers.items() if key.lower() == name]
        return found[0].strip(" \t") if len(found) == 1 else None

    def _derived(self, name: str) -> str | None:
        if name == "@status":
            return str(self.status) if self.status else None
        if not self.method:
            return None
        try:
            parts = urlsplit(self.url)
            port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
        except ValueError as error:
            raise RecpruneError(f"{self.url!r} is no URL: {error}") from error
        host = (self.header("host") or "").lower()
        return {
            "@method": self.method,
            "@authority": f"{parts.hostname}{port}" if parts.hostname else host or None,
            "@path": parts.path or "/",
            "@query": f"?{parts.query}",
            "@target-uri": self.url if parts.hostname else None,
            "@scheme": parts.scheme or None,
        }.get(name)


@dataclass(frozen=True)
class Signed:
    """What a message says of its signature: not verified yet."""

    components: tuple[str, ...]
    parameters: Mapping[str, int | str]
    input: str  # as it stands behind the label
    signature: bytes


def content_digest(body: bytes) -> str:
    """The Content-Digest field of a body.

    >>> content_digest(b'{"hello": "world"}')
    'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:'
    """
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def parse_response(content: bytes) -> tuple[Message, bytes]:
    """A response as it was sent (or as `curl -i` saves it): its head, and its body.

    >>> message, body = parse_response(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nhello")
    >>> message.status, dict(message.headers), body
    (200, {'content-type': 'text/plain'}, b'hello')
    """
    head, _, body = content.partition(b"\r\n\r\n" if b"\r\n\r\n" in content else b"\n\n")
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    words = first.split(" ")
    fields = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip(" \t") for name, _, value in fields}
    if len(words) < 2 or not re.fullmatch("[1-5][0-9][0-9]", words[1]) or len(headers) < len(fields):
        raise RecpruneError("this is no response: its head cannot be read, or has a header twice")
    return Message(headers, status=int(words[1])), body


def signature_base(message: Message, components: Sequence[str], parameters: str) -> bytes:
    """What is signed: a line for each component, and the parameters last (RFC 9421, section 2.5).

    Raises RecpruneError for a component that cannot be signed, and for parameters that are no ASCII.
    """
    if not parameters.isascii():
        raise RecpruneError(f"the parameters of a signature must be ASCII, got {parameters!r}")
    lines = [f"{identifier}: {message.component(identifier)}" for identifier in components]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("ascii")


def sign(
    message: Message,
    components: Sequence[str],
    key: Ed25519PrivateKey,
    keyid: str,
    created: int,
    expires: int | None = None,
    label: str = "sig1",
) -> dict[str, str]:
    """The headers `Signature-Input` and `Signature` of a message; times in seconds since 1970."""
    until = "" if expires is None else f";expires={expires}"
    parameters = f'({" ".join(components)});created={created}{until};keyid="{keyid}"'
    signature = base64.b64encode(key.sign(signature_base(message, components, parameters))).decode()
    return {"Signature-Input": f"{label}={parameters}", "Signature": f"{label}=:{signature}:"}


def read_signature(message: Message, label: str | None = None) -> Signed:
    """The signature of a message, that of a label where there are several; RecpruneError where there is none."""
    inputs, signatures = (_fields(message, name) for name in ("signature-input", "signature"))
    if label is None:
        if len(inputs) != 1:
            raise RecpruneError(f"the message has {len(inputs)} signatures; say which: {', '.join(inputs) or '(none)'}")
        label = next(iter(inputs))
    if label not in inputs or label not in signatures:
        raise RecpruneError(f"the message has no signature {label!r}; there are: {', '.join(inputs) or '(none)'}")
    match = _INPUT.fullmatch(f"{label}={inputs[label]}")
    assert match is not None
    components = match[3].split()
    if not all(_COMPONENT.fullmatch(part) for part in components) or len(set(components)) < len(components):
        raise RecpruneError(f"the components of signature {label!r} cannot be read: {match[3]}")
    found = _PARAMETER.findall(match[4])
    parameters = {name: int(number) if number else text for name, number, text in found}
    if len(parameters) < len(found):
        raise RecpruneError(f"signature {label!r} has a parameter twice")
    try:
        signature = base64.b64decode(signatures[label], validate=True)
    except binascii.Error as error:
        raise RecpruneError(f"signature {label!r} cannot be read: {error}") from error
    return Signed(tuple(components), parameters, match[2], signature)


def check(message: Message, signed: Signed, key: Ed25519PublicKey) -> None:
    """Raise RecpruneError where the signature is not that of the message by this key. Times are not looked at."""
    from cryptography.exceptions import InvalidSignature

    if signed.parameters.get("alg", "ed25519") != "ed25519":
        raise RecpruneError(f"signatures by {signed.parameters['alg']!r} are not known here; known is 'ed25519'")
    try:
        key.verify(signed.signature, signature_base(message, signed.components, signed.input))
    except InvalidSignature:
        raise RecpruneError("the signature does not fit the message: content, context or key are others") from None


def _fields(message: Message, name: str) -> dict[str, str]:
    """The members of a header by their labels; each must be read to its last letter."""
    text = message.header(name)
    if text is None:
        raise RecpruneError(f"the message is not signed: it has no header {name!r}")
    if len(text) > _LIMIT:
        raise RecpruneError(f"header {name!r} is longer than {_LIMIT} characters")
    pattern = _INPUT if name == "signature-input" else _SIGNATURE
    found: dict[str, str] = {}
    at = 0
    while match := pattern.match(text, at):
        if match[1] in found:
            raise RecpruneError(f"header {name!r} has {match[1]!r} twice")
        found[match[1]] = match[2]
        at = match.end()
        if at == len(text):
            return found
        comma = re.compile(r"[ \t]*,[ \t]*").match(text, at)
        if comma is None:
            break
        at = comma.end()
    raise RecpruneError(f"header {name!r} cannot be read: {text[:60]!r}")
