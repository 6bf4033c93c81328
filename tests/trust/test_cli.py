"""Keys, signatures, recommendations and verification as a user types them."""

import json

import polars as pl
import pytest

from recprune.artifact import Artifact, lay_out, write
from recprune.cli.main import main
from recprune.trust import AnswerSigner, Message, verify_artifact

from ..small import next_item


@pytest.fixture
def type_(tmp_path, monkeypatch, capsys):
    """Type a command in an empty folder that holds the artifact `ranker`; gives the status and what was said.

    That is stdout where all went well, stderr where it did not, and nothing is said on the other.
    """
    laid, vocabularies = lay_out(next_item())
    write(Artifact(laid.weights, laid.graph, vocabularies), tmp_path / "ranker")
    monkeypatch.chdir(tmp_path)

    def typed(*arguments):
        monkeypatch.setattr("sys.argv", ["recprune", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        good, other = (out, err) if caught.value.code == 0 else (err, out)
        assert other == ""
        return caught.value.code, good

    return typed


def test_from_keys_to_verified_recommendations(type_, tmp_path):
    assert type_("keygen", "release")[0] == 0
    assert type_("keygen", "serving", "--for", "answers")[0] == 0
    assert type_("keygen", "release") == (2, "error: release.pub is there already; it is not overwritten\n")
    code, said = type_("sign", "ranker", "--key", "release")
    assert code == 0
    digest = verify_artifact(tmp_path / "ranker", tmp_path / "release.pub")
    assert digest in said
    assert digest in type_("verify", "ranker", "--key", "release.pub", "--artifact", digest)[1]
    code, said = type_("verify", "ranker", "--key", "release.pub", "--artifact", "00")
    assert (code, said) == (2, f"error: ranker is signed, but it is artifact {digest}, not 00\n")
    code, said = type_("verify", "ranker", "--key", "release.pub", "--request", "POST /top_k")
    assert (code, said) == (2, "error: ranker is an artifact: --request and --data are for answers\n")

    (tmp_path / "users.csv").write_text("user,item\nü,a\nv,d\nü,b\nw,unheard of\n", encoding="utf-8")
    code, said = type_(
        "recommend", "ranker", "--users", "users.csv", "--out", "recs.parquet", "--k", "2", "--sign", "serving",
        "--require-signature", "release.pub",
    )  # fmt: skip
    assert (code, said.splitlines()[0]) == (0, "3 users, 6 recommendations: recs.parquet")
    # As in tests/runtime: rows of a and b sum to [3, 3, 3, 0.5], the row of d is [0, 0.5, 4, 0], popularity is b, c, d.
    assert pl.read_parquet(tmp_path / "recs.parquet").rows() == [
        ("ü", 1, "c", 3.0, False),
        ("ü", 2, "d", 0.5, False),
        ("v", 1, "c", 4.0, False),
        ("v", 2, "b", 0.5, False),
        ("w", 1, "b", 4.0, True),
        ("w", 2, "c", 3.0, True),
    ]
    code, said = type_("verify", "recs.parquet", "--key", "serving.jwks", "--artifact", digest)
    assert code == 0
    assert f"of artifact {digest}" in said
    content = bytearray((tmp_path / "recs.parquet").read_bytes())
    content[50] ^= 1
    (tmp_path / "recs.parquet").write_bytes(content)
    code, said = type_("verify", "recs.parquet", "--key", "serving.jwks")
    assert (code, said) == (2, "error: recs.parquet is not the file that was signed: its SHA-256 differs\n")

    (tmp_path / "ranker" / "extra").write_text("")
    code, said = type_(
        "recommend", "ranker", "--users", "users.csv", "--out", "new.csv", "--require-signature", "release.pub"
    )
    assert (code, len(said.splitlines())) == (2, 1)
    assert "'extra' was added: the signature does not cover it" in said
    assert not (tmp_path / "new.csv").exists()


def test_users_from_parquet_and_lists_as_csv(type_, tmp_path):
    pl.DataFrame({"user": [7, 7, None], "item": ["d", None, "a"]}).write_parquet(tmp_path / "users.parquet")
    assert type_("recommend", "ranker", "--users", "users.parquet", "--out", "recs.csv", "--k", "1")[0] == 0
    assert (tmp_path / "recs.csv").read_text() == "user,rank,item,score,fallback\n7,1,c,4.0,false\n"
    assert type_("verify", "recs.csv", "--key", "none.jwks")[0] == 2


def test_lists_of_rounded_scores(type_, tmp_path):
    # The row of d is [0, 0.5, 4, 0]: to no decimals a and b are equal, and a is the first of the catalogue.
    (tmp_path / "users.csv").write_text("user,item\nv,d\n", encoding="utf-8")
    asked = ("recommend", "ranker", "--users", "users.csv", "--out", "recs.csv", "--k", "2", "--decimals")
    assert type_(*asked, "0")[0] == 0
    assert (tmp_path / "recs.csv").read_text() == "user,rank,item,score,fallback\nv,1,c,4.0,false\nv,2,a,0.0,false\n"
    assert type_(*asked, "9") == (2, "error: decimals must be a whole number from 0 to 6, got 9\n")


def test_answers_in_files(type_, tmp_path):
    type_("keygen", "serving", "--for", "answers")
    signer = AnswerSigner(tmp_path / "serving", "a" * 64)
    (tmp_path / "answer.jws").write_text(signer.jws({"items": ["a"]}))
    code, said = type_("verify", "answer.jws", "--key", "serving.jwks")
    assert code == 0
    assert json.loads(said.splitlines()[0]) == {"items": ["a"]}

    (tmp_path / "asked.json").write_bytes(b'{"history":["a"]}')
    body = b'{"items":["b"]}\r\n\r\n'
    headers = signer.headers(body, Message({}, "POST", "/top_k?k=1"), b'{"history":["a"]}')
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    (tmp_path / "answer.http").write_bytes(f"HTTP/1.1 200 OK\r\n{head}Server: x\r\n\r\n".encode() + body)
    verified = ("verify", "answer.http", "--key", "serving.jwks", "--data", "asked.json", "--request")
    code, said = type_(*verified, "POST /top_k?k=1")
    assert (code, "verified: answer.http" in said) == (0, True)
    assert type_(*verified, "POST /top_k?k=2") == (
        2, "error: the signature does not fit the message: content, context or key are others\n",
    )  # fmt: skip


def test_names_with_brackets_are_names(type_, tmp_path):
    folder = tmp_path / "br[/x]"
    folder.mkdir(parents=True)
    (folder / "users.csv").write_text("user,item\nv,d\n", encoding="utf-8")
    key, lists = "br[/x]/[red]", "br[/x]/recs.csv"
    assert type_("keygen", key) == (0, f"private key: {key} (keep it secret)\npublic key: {key}.pub\n")
    assert type_("keygen", key) == (2, f"error: {key}.pub is there already; it is not overwritten\n")
    assert type_("keygen", "br[/x]/[b]", "--for", "answers")[0] == 0
    (tmp_path / "ranker").rename(folder / "[bold]")
    assert type_("sign", "br[/x]/[bold]", "--key", key)[1].startswith("signed: br[/x]/[bold], SHA-256")
    assert type_("verify", "br[/x]/[bold]", "--key", f"{key}.pub")[1].startswith("verified: br[/x]/[bold], SHA-256")
    asked = ("recommend", "br[/x]/[bold]", "--users", "br[/x]/users.csv", "--out", lists, "--k", "1")
    said = f"1 users, 1 recommendations: {lists}\nsigned: {lists}.jws\n"
    assert type_(*asked, "--sign", "br[/x]/[b]") == (0, said)
    assert type_("verify", lists, "--key", "br[/x]/[b].jwks")[1].startswith(f"verified: {lists}, by key")


def test_how_long_lists_hold_has_a_bound(type_, tmp_path):
    type_("keygen", "serving", "--for", "answers")
    (tmp_path / "users.csv").write_text("user,item\nv,d\n", encoding="utf-8")
    asked = ("recommend", "ranker", "--users", "users.csv", "--out", "recs.csv", "--sign", "serving", "--days")
    for days in ("99999999999999", "36501", "0"):
        code, said = type_(*asked, days)
        assert (code, len(said.splitlines())) == (2, 1)
        assert "--days must be from 1 to 36500, got " + days in said
        assert not (tmp_path / "recs.csv").exists()
    assert type_(*asked, "36500")[0] == 0
    assert type_("verify", "recs.csv", "--key", "serving.jwks")[0] == 0


def test_a_time_beyond_all_dates_is_a_number(type_, tmp_path, monkeypatch):
    type_("keygen", "serving", "--for", "answers")
    monkeypatch.setattr("recprune.trust.answers.LONGEST_DAYS", 10**15)  # as another's program may sign
    signer = AnswerSigner(tmp_path / "serving", "a" * 64, 10**15)
    (tmp_path / "answer.jws").write_text(signer.jws({}, now=1))
    code, said = type_("verify", "answer.jws", "--key", "serving.jwks")
    assert code == 0
    assert said.endswith("until 1000000000000001 seconds after 1970\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["keygen", "x", "--for", "cats"], "unknown purpose of a key 'cats'"),
        (["keygen", "x", "--add-to", "keys.jwks"], "only keys for answers are kept in sets"),
        (["keygen", "x", "--for", "answers", "--add-to", "keys.jwks"], "cannot read the key keys.jwks"),
        (["sign", "ranker"], "say what to sign with: --key KEY or --sigstore"),
        (["sign", "ranker", "--key", "none"], "cannot read the key none"),
        (["sign", "none", "--key", "none"], "is no artifact"),
        (["verify", "ranker"], "say whom to trust: --key KEY, or --identity WHO --issuer URL"),
        (["verify", "ranker", "--key", "none"], "is not signed: it has no signature.json"),
        (["verify", "ranker", "--identity", "me"], "sigstore needs an identity and the issuer"),
        (["verify", "none"], "say which keys to trust"),
        (["recommend", "ranker", "--users", "none", "--out", "x.csv"], "no such file: none"),
        (
            ["recommend", "ranker", "--users", "bad.csv", "--out", "x.csv"],
            "bad.csv has no column 'user'; columns are:",
        ),
        (["recommend", "ranker", "--users", "bad.csv", "--out", "x.txt"], "as .parquet or .csv, got x.txt"),
        (["recommend", "none", "--users", "bad.csv", "--out", "x.csv"], "is no artifact"),
        (
            ["recommend", "ranker", "--users", "bad.csv", "--out", "x.csv", "--require-signature", "k.pub"],
            "is not signed: it has no signature.json",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(type_, tmp_path, arguments, said):
    (tmp_path / "bad.csv").write_text("reader,item\nu,a\n")
    code, output = type_(*arguments)
    assert code == 2
    assert said in output
    assert len(output.splitlines()) == 1
