"""Whether forgotten users are still told apart, in sentences and tables."""

from rich.console import Console

from recprune.report import forgetting_table
from recprune.report.forgetting import findings, forgetting


def place(deviations, further):
    return {"deviations": deviations, "above": 0.5, "further": further}


def evidence(after=0.4):
    entry = {"asked": 15, "beside": 200}
    for side, before in (("original", 6.0), ("compressed", 2.0)):
        entry[side] = {"before": place(before, 0.0), "after": place(0.3, after)}
    return {"task": "like <ids>", "models": 4, "users": [entry, {"asked": 0}], "manifests": {}}


def test_what_was_told_and_is_no_longer():
    said = {line: bad for bad, line in findings(evidence())}
    assert said == {
        "1 user had nothing in the training of this task: there is nothing to tell.": False,
        "Of 1 forgotten user the original model told 1 apart from users never seen, and tells 0 now.": False,
        "Of 1 forgotten user the compressed model told 1 apart from users never seen, and tells 0 now.": False,
    }


def test_who_is_still_told_apart_is_marked():
    found = evidence(0.009)
    assert [bad for bad, _ in findings(found)] == [False, True, False, True, False]
    assert "<b>▼</b> Of 1 forgotten user" in forgetting({"forgetting": found})


def test_a_repair_that_was_not_enough_is_told():
    found = evidence() | {"repair": evidence(0.001)["users"]}
    assert list(findings(found))[-1] == (
        False,
        "A short repair still told 1 of 2 users apart, so the model was trained from scratch.",
    )


def test_the_page_has_a_row_for_each_user_and_model_and_nothing_where_nobody_was_forgotten():
    page = forgetting({"forgetting": evidence()})
    assert page.count("<tr ") == 3  # the head, and two models
    assert "+6.0" in page
    assert "40.0 %" in page
    assert forgetting({}) == ""


def test_the_terminal_has_the_same(capsys):
    Console(width=200).print(forgetting_table(evidence()))
    out = capsys.readouterr().out
    assert "like <ids>" in out
    assert "+2.0" in out
    assert "tells 0 now" in out
