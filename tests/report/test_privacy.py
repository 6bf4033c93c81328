"""What an audit found, in words: numbers by hand in, sentences out."""

import copy

import pytest
from rich.console import Console

from recprune.report import audit_table
from recprune.report.privacy import findings, privacy


def value(v, half=0.01):
    return {"value": v, "low": v - half, "high": v + half}


def measures(auc, sure=0.004, half=0.01):
    return {"auc": value(auc, half), "tpr@0.1%": value(sure, 0.001), "tpr@1%": value(0.03)}


def attack(original, compressed, both):
    return {
        "values": {"original": measures(original), "compressed": measures(compressed, 0.001), "both": measures(both)},
        "differences": {
            "compressed - original": measures(compressed - original, -0.003),
            "both - original": measures(both - original),
            "both - compressed": measures(both - compressed),
        },
    }


def audit(original=0.74, compressed=0.58, both=0.74):
    return {
        "task": "like",
        "question": "",
        "shadows": 16,
        "manifests": {},
        "membership": {"interactions": {"units": 10_000, "attacks": {"ratio": attack(original, compressed, both)}}},
        "attributes": {
            "country": {
                "users": 900,
                "classes": 10,
                "majority": value(0.7),
                "accuracy": {"original": value(0.75), "compressed": value(0.7)},
                "gain": {"original": value(0.05), "compressed": value(0.0)},
            }
        },
        "rare_rows": {
            "k": 5,
            "tables": [{"table": "<b>", "original": {"rows": 90, "rare": 40}, "compressed": {"rows": 50, "rare": 3}}],
        },
        "notes": ["to know"],
    }


def said(found):
    return " ".join(line for _, line in findings(found))


def worse(found):
    return [line for bad, line in findings(found) if bad]


def test_what_is_told_less_is_said_and_undone_by_the_original():
    text = said(audit())
    assert "in 74.0 % of all cases from the original, in 58.0 % from the compressed model" in text
    assert "tells less of interactions than the original: AUC \N{MINUS SIGN}.160" in text
    assert (
        "they find 0.40 % of the interactions that were in training from the original, 0.10 % from the compressed"
        in text
    )
    assert "Where the original is known too, the compression protects nobody." in text
    assert "guessed right in 75.0 % of 900 cases" in text
    assert "the most frequent of 10 is right in 70.0 %." in text
    assert (
        "40 of 90 rows in the original's tables of ids rest on fewer than 5 users; in the compressed 3 of 50." in text
    )
    assert worse(audit()) == []


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((0.6, 0.7, 0.7), "tells more of interactions than the original: AUC +.100"),
        ((0.6, 0.6, 0.7), "Together they tell more than either."),
    ],
)
def test_what_got_worse_is_marked(numbers, sentence):
    found = audit(*numbers)
    (line,) = worse(found)
    assert sentence in line
    page = privacy({"privacy": found})
    assert "Compression made it worse" in page
    assert page.index(sentence) < page.index("Shown an interaction")


def test_no_difference_is_no_finding():
    text = said(audit(0.5, 0.5, 0.5))
    assert "From neither can they do better." in text
    assert "tells about as much of interactions as the original" in text
    assert "protects nobody" not in text
    assert worse(audit(0.5, 0.5, 0.5)) == []
    found = audit()
    found["attributes"]["country"]["gain"]["original"] = value(0.0)
    assert "That is no better than guessing." in said(found)


def test_one_in_a_thousand_is_not_told_of_fewer_than_a_thousand():
    found = audit()
    found["membership"]["interactions"]["units"] = 100
    assert "one false alarm in a thousand" not in said(found)


def test_rows_and_attributes_that_tell_more_are_worse():
    found = copy.deepcopy(audit())
    found["rare_rows"]["tables"][0]["compressed"]["rare"] = 41
    found["attributes"]["country"]["gain"]["compressed"] = value(0.1)
    assert len(worse(found)) == 2


def test_the_page_escapes_and_is_empty_without_an_audit():
    page = privacy({"privacy": audit()})
    assert "<code>&lt;b&gt;</code>" in page
    assert privacy({}) == ""


def test_the_terminal_has_tables_and_sentences(capsys):
    console = Console(width=80)
    console.print(audit_table(audit(0.6, 0.7, 0.7)))
    text = capsys.readouterr().out
    assert "like: 10,000 interactions, shadow models in turn" in text
    assert "[.590,.610]" in text
    assert "- WORSE: The compressed model tells more" in text
