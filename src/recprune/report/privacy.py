"""What an attacker learns, before and after: audit.json in, sentences and tables out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from recprune.report.html import esc, html_table
from recprune.report.words import count, number, plural, signed

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["audit_table", "findings", "privacy"]

Audit = Mapping[str, Any]
_HOW = (
    "LiRA asks how sure a model is of something, beside models that were trained with it and without it (offline: without "
    "it alone); the loss threshold asks how sure it is, and nothing else. Another attack may find more, none finds less."
)
_CAPTION = "AUC .5 is guessing; found by chance are .001 and .01; 95 % intervals in brackets"
_ATTACKS = {"loss": "loss threshold", "offline": "LiRA offline", "ratio": "LiRA online"}
_SURE = 2000  # units in all models: from here on half of them, those not in training, are a thousand
_HEAD = ("Attack", "On", "AUC", "Found at 0.1 % false alarms", "at 1 %")


def findings(audit: Audit) -> list[tuple[bool, str]]:
    """Plain sentences, each with whether it says that compression made something worse."""
    return [*_of_members(audit), *_of_attributes(audit), *_of_rows(audit)]


def _of_members(audit: Audit) -> Iterator[tuple[bool, str]]:
    for kind, found in audit["membership"].items():
        of = found["attacks"]["ratio"]
        values, differences = of["values"], of["differences"]
        before, after, both = (values[model] for model in ("original", "compressed", "both"))
        what = "an interaction that" if kind == "interactions" else "a user (all that the user did) who"
        other = "one that" if kind == "interactions" else "one who"
        yield (
            False,
            f"Shown {what} was in training and {other} was not, an attacker with {audit['shadows']} shadow "
            f"models picks the right one in {_percent(before['auc'])} of all cases from the original, in "
            f"{_percent(after['auc'])} from the compressed model. Guessing is right in 50 %.{_nothing(before, after)}",
        )
        change = differences["compressed - original"]["auc"]
        word = "about as much of {} as" if change["low"] <= 0 <= change["high"] else "more of {} than"
        word = "less of {} than" if change["high"] < 0 else word
        yield (
            change["low"] > 0,
            f"The compressed model tells {word.format(kind)} the original: AUC {signed(change['value'], 3)} "
            f"({_signed_ends(change)}).",
        )
        if found["units"] * audit["shadows"] >= _SURE:
            sure = (_percent(side["tpr@0.1%"], 2) for side in (before, after))
            yield (
                differences["compressed - original"]["tpr@0.1%"]["low"] > 0,
                "Where an attacker must be nearly sure, one false alarm in a thousand, they find "
                f"{next(sure)} of the {kind} that were in training from the original, {next(sure)} from the compressed; by "
                "chance 0.10 %.",
            )
        first_gain, gain = (differences[f"both - {side}"]["auc"] for side in ("original", "compressed"))
        line = (
            f"Who holds both models has AUC {number(both['auc']['value'], 3)} on {kind}: {signed(first_gain['value'], 3)} "
            f"({_signed_ends(first_gain)}) against the original alone, {signed(gain['value'], 3)} ({_signed_ends(gain)}) "
            "against the compressed alone"
        )
        more = first_gain["low"] > 0 and gain["low"] > 0
        if more:
            line += ". Together they tell more than either"
        elif change["high"] < 0 and gain["low"] > 0:
            line += ". Where the original is known too, the compression protects nobody"
        yield more, f"{line}."


def _of_attributes(audit: Audit) -> Iterator[tuple[bool, str]]:
    for name, of in audit["attributes"].items():
        what = "age group" if name == "age" else name
        before, after = of["gain"]["original"], of["gain"].get("compressed")
        line = (
            f"The {what} of a user is guessed right in {_percent(of['accuracy']['original'])} of {count(of['users'])} cases "
            f"from the user's row in the original"
        )
        line += (
            f", {_percent(of['accuracy']['compressed'])} in the compressed"
            if after
            else "; the compressed has no such rows"
        )
        line += f"; who always says the most frequent of {of['classes']} is right in {_percent(of['majority'])}."
        if max(side["low"] for side in (before, after) if side) <= 0:
            line += " That is no better than guessing."
        yield bool(after and after["low"] > before["high"]), line


def _of_rows(audit: Audit) -> Iterator[tuple[bool, str]]:
    found = audit["rare_rows"]
    sums = {
        side: [sum(t[side][key] for t in found["tables"]) for key in ("rare", "rows")]
        for side in ("original", "compressed")
    }
    if sums["original"][1]:
        (before, of), (after, left) = sums["original"], sums["compressed"]
        yield (
            after > before,
            f"{count(before)} of {plural(of, 'row')} in the original's tables of ids rest on fewer than {found['k']} users; "
            f"in the compressed {count(after)} of {count(left)}.",
        )


def _nothing(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    blind = [name for name, side in (("original", before), ("compressed", after)) if side["auc"]["low"] <= 0.5]
    if len(blind) == 2:
        return " From neither can they do better."
    return f" From the {blind[0]} they cannot do better." if blind else ""


def _signed_ends(value: Mapping[str, float]) -> str:
    return f"95 % {signed(value['low'], 3)} to {signed(value['high'], 3)}"


def _percent(value: Mapping[str, float], places: int = 1) -> str:
    return f"{100 * value['value']:.{places}f} %"


def _rows(found: Mapping[str, Any], key: str) -> Iterator[tuple[str, ...]]:
    for attack, of in found[key].items():
        for model, values in of["values"].items():
            shown = (values[m] for m in ("auc", "tpr@0.1%", "tpr@1%"))
            yield _ATTACKS[attack], model, *map(_with_ends, shown)


def _with_ends(value: Mapping[str, float]) -> str:
    """Without a space between the ends, so that a narrow terminal never breaks them apart."""
    return f"{number(value['value'], 3)} [{number(value['low'], 3)},{number(value['high'], 3)}]"


def privacy(task: Mapping[str, Any]) -> str:
    """The section of a task's chapter; "" where no audit was made."""
    if "privacy" not in task:
        return ""
    audit = task["privacy"]
    said = findings(audit)
    worse = "".join(f"<li><b>▼ Worse:</b> {esc(line)}</li>" for bad, line in said if bad)
    html = f'<div class="alert"><b>Compression made it worse:</b><ul>{worse}</ul></div>' if worse else ""
    html += "".join(f"<p>{esc(line)}</p>" for bad, line in said if not bad)
    for kind, found in audit["membership"].items():
        asked = f"{count(found['units'])} {kind}"
        titles = {
            "attacks": f"Was it in training? {asked}, {audit['shadows']} shadow models attacked in turn",
            "shipped": f"The shipped models themselves: {asked}, those of training against those of test",
        }
        for key, title in titles.items():
            if key in found:
                html += _folded(title, html_table(_CAPTION, _HEAD, _rows(found, key), (2, 3, 4)))
    rare = audit["rare_rows"]
    lines = [
        (f"<code>{esc(table['table'])}</code>", *(_of_all(table[side]) for side in ("original", "compressed")))
        for table in rare["tables"]
    ]
    if lines:
        caption = "A row of its own in a table of ids; the shared row counts for none"
        title = f"Rows that rest on fewer than {rare['k']} users"
        html += _folded(title, html_table(caption, ("Table", "Original", "Compressed"), lines, (1, 2)))
    html += f'<p class="note">{_HOW}</p>' + "".join(f'<p class="note">{esc(line)}</p>' for line in audit["notes"])
    return html


def _of_all(side: Mapping[str, int]) -> str:
    return f"{count(side['rare'])} of {count(side['rows'])}"


def _folded(title: str, table: str) -> str:
    return f"<details><summary>{esc(title)}</summary>{table}</details>"


def audit_table(audit: Audit) -> Group:
    """For the terminal: each attack on each model, and what it means in sentences; what got worse is red."""
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    blocks: list[RenderableType] = []
    for kind, found in audit["membership"].items():
        for key, title in (("attacks", "shadow models in turn"), ("shipped", "the shipped models")):
            if key not in found:
                continue
            table = Table(title=Text(f"{audit['task']}: {count(found['units'])} {kind}, {title}"), title_justify="left")
            for i, head in enumerate(("attack", "on", "AUC", "found at 0.1%", "at 1%")):
                table.add_column(head, justify="right" if i > 1 else "left")
            for row in _rows(found, key):
                table.add_row(*(Text(cell.replace("−", "-")) for cell in row))
            blocks.append(table)
    for bad, line in findings(audit):
        plain = line.replace("−", "-")
        blocks.append(Text(f"- {'WORSE: ' if bad else ''}{plain}", style="bold red" if bad else ""))
    blocks += [Text(f"- {line}", style="dim") for line in audit["notes"]]
    return Group(*blocks)
