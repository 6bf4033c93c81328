"""HTTP Message Signatures by the vectors of the standards, and what may not be read as one."""

import base64
import json
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.trust.keys import as_jwk, private_key, public_keys
from recprune.trust.messages import Message, check, content_digest, parse_response, read_signature, sign, signature_base

# RFC 9421, appendix B.1.4 and B.2: the key test-key-ed25519, and the test request.
PRIVATE = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""
PUBLIC_X = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"
REQUEST = Message(
    {
        "Host": "example.com",
        "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "Content-Type": "application/json",
        "Content-Length": "18",
    },
    method="POST",
    url="/foo?param=Value&Pet=dog",
)
COVERED = ('"date"', '"@method"', '"@path"', '"@authority"', '"content-type"', '"content-length"')
INPUT = (
    'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
    ';created=1618884473;keyid="test-key-ed25519"'
)
SIGNATURE = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
BASE = b"""\
"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length")\
;created=1618884473;keyid="test-key-ed25519\""""


@pytest.fixture
def key(tmp_path):
    (tmp_path / "key").write_text(PRIVATE)
    return private_key(tmp_path / "key")


@pytest.fixture
def public(tmp_path):
    (tmp_path / "keys").write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": PUBLIC_X, "kid": "k"}]}))
    return public_keys(tmp_path / "keys")["k"]


def with_signature(message, input_=INPUT, signature=SIGNATURE):
    return Message(
        {**message.headers, "Signature-Input": input_, "Signature": signature},
        message.method, message.url, message.status, message.request,
    )  # fmt: skip


# RFC 9421, B.2.6


def test_the_signature_base_of_the_standard():
    assert signature_base(REQUEST, COVERED, INPUT.partition("=")[2]) == BASE


def test_the_standards_vector_is_what_we_sign(key):
    found = sign(REQUEST, COVERED, key, "test-key-ed25519", 1618884473, label="sig-b26")
    assert found == {"Signature-Input": INPUT, "Signature": SIGNATURE}


def test_the_standards_vector_is_verified(public):
    signed = read_signature(with_signature(REQUEST))
    assert signed.components == COVERED
    assert signed.parameters == {"created": 1618884473, "keyid": "test-key-ed25519"}
    check(with_signature(REQUEST), signed, public)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: Message({**m.headers, "Date": "Tue, 20 Apr 2021 02:07:56 GMT"}, m.method, m.url),
        lambda m: Message(m.headers, "PUT", m.url),
        lambda m: Message(m.headers, m.method, "/bar"),
        lambda m: Message({**m.headers, "Host": "example.org"}, m.method, m.url),
        lambda m: Message({**m.headers, "Content-Length": "19"}, m.method, m.url),
        lambda m: with_signature(m, INPUT.replace("1618884473", "1618884474")),
        lambda m: with_signature(m, INPUT.replace("test-key", "best-key")),
        lambda m: with_signature(m, INPUT.replace('"date" ', "")),
        lambda m: with_signature(m, signature=SIGNATURE.replace("wqcA", "xqcA")),
        lambda m: with_signature(m, signature="sig-b26=::"),
    ],
)
def test_the_standards_vector_changed(public, change):
    message = change(with_signature(REQUEST))
    with pytest.raises(RecpruneError, match="does not fit the message"):
        check(message, read_signature(message), public)


# RFC 8032, 7.1, through our key files; RFC 8037, appendix A.3; RFC 9530

VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_rfc_8032(tmp_path, secret, public, message, signature):
    pem = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "key").write_bytes(pem)
    x = base64.urlsafe_b64encode(bytes.fromhex(public)).rstrip(b"=").decode()
    (tmp_path / "keys").write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}))
    key = private_key(tmp_path / "key")
    assert key.sign(bytes.fromhex(message)).hex() == signature
    (known,) = public_keys(tmp_path / "keys").values()
    assert isinstance(known, Ed25519PublicKey)
    known.verify(bytes.fromhex(signature), bytes.fromhex(message))


def test_the_thumbprint_of_rfc_8037():
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS[0][0]))
    assert (
        as_jwk(key).thumbprint()
        == as_jwk(key.public_key()).thumbprint()
        == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    )


def test_the_content_digests_of_rfc_9530():
    assert content_digest(b'{"hello": "world"}') == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    assert content_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


# Components


@pytest.mark.parametrize(
    ("identifier", "value"),
    [
        ('"@method"', "GET"),
        ('"@path"', "/a%20b"),
        ('"@query"', "?x=1&y"),
        ('"@authority"', "www.example.com"),
        ('"@scheme"', "https"),
        ('"@target-uri"', "https://WWW.example.com:443/a%20b?x=1&y"),
    ],
)
def test_derived_components(identifier, value):
    message = Message({}, "GET", "https://WWW.example.com:443/a%20b?x=1&y")
    assert message.component(identifier) == value
    answer = Message({}, status=200, request=message)
    assert answer.component('"@status"') == "200"
    assert answer.component(identifier[:-1] + '";req') == value


def test_another_port_and_an_empty_path_and_query():
    message = Message({}, "GET", "http://example.com:8080")
    assert [message.component(f'"@{name}"') for name in ("authority", "path", "query")] == [
        "example.com:8080",
        "/",
        "?",
    ]


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ('"@query-param";name="a"', "not known here"),
        ('"x";sf', "not known here"),
        ('"x";req;req', "not known here"),
        ("x", "not known here"),
        ('"X"', "not known here"),
        ('"@made-up"', "which the message lacks"),
        ('"@status"', "which the message lacks"),
        ('"absent"', "which the message lacks"),
        ('"twice"', "which the message lacks"),
        ('"@method";req', "give the request that was answered"),
        ('"broken"', "what cannot be signed"),
        ('"letters"', "what cannot be signed"),
    ],
)
def test_components_that_cannot_be_signed(identifier, message):
    headers = {"twice": "1", "Twice": "2", "broken": 'x\n"@path": /other', "letters": "ü"}
    with pytest.raises(RecpruneError, match=message):
        Message(headers, "GET", "/").component(identifier)


@pytest.mark.parametrize("url", ["http://[::1", "http://a:port/", "http://a:99999/"])
def test_what_is_no_url(url):
    with pytest.raises(RecpruneError, match="is no URL"):
        Message({}, "GET", url).component('"@path"')


# What is no signature


PIECES = [*'=();":, \\-ü\t1', "sig", '"a"', "created", "AA==", '"@path";req']


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.lists(st.sampled_from(PIECES)).map("".join))
def test_whatever_stands_in_the_headers_is_read_or_refused(input_, signature):
    message = Message({"signature-input": input_, "signature": signature})
    with suppress(RecpruneError):
        found = read_signature(message)
        assert f"sig={found.input}" in input_ or found.input in input_


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_a_response_or_refused(content):
    with suppress(RecpruneError):
        message, body = parse_response(b"HTTP/1.1 " + content)
        assert 100 <= message.status < 600
        assert content.endswith(body)


@pytest.mark.parametrize(
    ("input_", "signature", "message"),
    [
        (None, SIGNATURE, "not signed: it has no header 'signature-input'"),
        (INPUT, None, "not signed: it has no header 'signature'"),
        ("", "", "cannot be read"),
        ("sig=", "sig=::", "cannot be read"),
        ('sig=("a"', "sig=:AA==:", "cannot be read"),
        ('sig=("a");created', "sig=:AA==:", "cannot be read"),
        ('sig=("a");created=1.5', "sig=:AA==:", "cannot be read"),
        ('sig=("a");created=' + "9" * 16, "sig=:AA==:", "cannot be read"),
        ('sig=("a")x', "sig=:AA==:", "cannot be read"),
        ('sig=("a"),', "sig=:AA==:", "cannot be read"),
        ('sig=("a"), sig=("b")', "sig=:AA==:", "'sig' twice"),
        ('sig=("a" "a")', "sig=:AA==:", "components .* cannot be read"),
        ("sig=(a)", "sig=:AA==:", "components .* cannot be read"),
        ('sig=("a");created=1;created=2', "sig=:AA==:", "parameter twice"),
        ('sig=("a")', "sig=:A:", "cannot be read"),
        ('sig=("a")', "sig=:AA\n==:", "cannot be read"),
        ('sig=("a")', "other=:AA==:", "no signature 'sig'"),
        ('one=("a"), two=("a")', "one=:AA==:, two=:AA==:", "2 signatures; say which: one, two"),
        ('sig=("a")' + ";x=1" * 3000, "sig=:AA==:", "longer than 8192"),
    ],
)
def test_what_is_no_signature(input_, signature, message):
    headers = {"signature-input": input_, "signature": signature}
    with pytest.raises(RecpruneError, match=message):
        read_signature(Message({name: value for name, value in headers.items() if value is not None}))


def test_parameters_are_ascii():
    with pytest.raises(RecpruneError, match="the parameters of a signature must be ASCII"):
        signature_base(Message({}, status=200), ['"@status"'], '("@status");keyid="a\xa0"')


def test_one_of_several_by_its_label():
    message = Message({"signature-input": 'one=("a") , two=("b";req)', "signature": "two=:AQ==:,one=:Ag==:"})
    assert read_signature(message, "two").signature == b"\1"
    assert read_signature(message, "two").components == ('"b";req',)
    with pytest.raises(RecpruneError, match="no signature 'three'; there are: one, two"):
        read_signature(message, "three")


def test_another_algorithm_is_refused(public):
    message = with_signature(REQUEST, INPUT + ';alg="hmac-sha256"')
    with pytest.raises(RecpruneError, match="'hmac-sha256' are not known here"):
        check(message, read_signature(message), public)
