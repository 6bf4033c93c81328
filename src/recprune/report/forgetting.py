"""Whether forgotten users are still told apart: forgetting.json in, sentences and a table out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from recprune.evaluation import told_apart
from recprune.report.html import esc, html_table
from recprune.report.words import count, plural

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["forgetting", "forgetting_table"]

Evidence = Mapping[str, Any]
_SIDES = ("original", "compressed")
_HEAD = ("user", "model", "before", "as far out", "after", "as far out")
_CAPTION = (
    "standard deviations above what models say that never saw the user, "
    "and the share of users never seen who lie as far out"
)


def findings(evidence: Evidence) -> Iterator[tuple[bool, str]]:
    """Plain sentences, each with whether it says that forgetting failed."""
    asked = [entry for entry in evidence["users"] if entry["asked"]]
    if never := len(evidence["users"]) - len(asked):
        yield False, f"{plural(never, 'user')} had nothing in the training of this task: there is nothing to tell."
    for side in _SIDES:
        places = [_models(entry)[side] for entry in asked if side in entry]
        if not places:
            continue
        before, after = (sum(told_apart({side: of}, when) for of in places) for when in ("before", "after"))
        line = (
            f"Of {plural(len(places), 'forgotten user')} the {side} model told {count(before)} apart from users never seen, "
            f"and tells {count(after)} now."
        )
        yield after > 0, line
        if after:
            yield (
                False,
                "It was trained without any of them: one in a hundred of those never seen is told apart by chance.",
            )
    if repaired := evidence.get("repair"):
        told = f"{count(sum(map(told_apart, repaired)))} of {plural(len(repaired), 'user')}"
        yield False, f"A short repair still told {told} apart, so the model was trained from scratch."


def _models(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {side: entry[side] for side in _SIDES if side in entry}


def _rows(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for number, entry in enumerate(evidence["users"], 1):
        for side, of in _models(entry).items():
            places = [of[when] for when in ("before", "after")]
            cells = [
                cell for place in places for cell in (f"{place['deviations']:+.1f}", f"{100 * place['further']:.1f} %")
            ]
            yield f"{number}", side, *cells


def _how(evidence: Evidence) -> str:
    beside = max((entry.get("beside", 0) for entry in evidence["users"]), default=0)
    return (
        f"{evidence['models']} models were trained without the forgotten users, and each with some of {count(beside)} "
        "others who did about as much. A user is told apart where fewer than 1 % of those whom a model never saw lie as "
        "far out; one in a hundred of these does so by chance."
    )


def forgetting(task: Mapping[str, Any]) -> str:
    """The section of a task's chapter; "" where nobody was forgotten."""
    if "forgetting" not in task:
        return ""
    evidence = task["forgetting"]
    html = "".join(f"<p>{'<b>▼</b> ' if bad else ''}{esc(line)}</p>" for bad, line in findings(evidence))
    head = tuple(cell.capitalize() for cell in _HEAD)
    table = html_table(_CAPTION.capitalize(), head, _rows(evidence), (2, 3, 4, 5))
    return html + table + f'<p class="note">{_how(evidence)}</p>'


def forgetting_table(evidence: Evidence) -> Group:
    """For the terminal: each user and model before and after, and what it means in sentences."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{evidence['task']}: {_CAPTION}"), title_justify="left")
    for i, head in enumerate(_HEAD):
        table.add_column(head, justify="right" if i > 1 else "left")
    for row in _rows(evidence):
        table.add_row(*map(Text, row))
    lines = [Text(f"- {line}", style="bold red" if bad else "") for bad, line in findings(evidence)]
    return Group(table, *lines, Text(f"- {_how(evidence)}", style="dim"))
