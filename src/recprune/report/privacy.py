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
_ATTACKS = {
    "loss": "threshold on the loss",
    "offline": "LiRA, models without it",
    "ratio": "LiRA, models with and without it",
}
_MODELS = {"original": "the original", "compressed": "the compressed", "both": "both"}
_HEAD = ("Attack", "Who is attacked", "AUC", "Found at 0.1 % false alarms", "at 1 %")


def findings(audit: Audit) -> list[tuple[bool, str]]:
    """Plain sentences, each with whether it says that compression made something worse."""
    return [*_of_members(audit), *_of_attributes(audit), *_of_rows(audit)]


def _of_members(audit: Audit) -> Iterator[tuple[bool, str]]:
    for kind, found in audit["membership"].items():
        of = found["attacks"]["ratio"]
        values, differences = of["values"], of["differences"]
        before, after, both = (values[model] for model in ("original", "compressed", "both"))
        what = "an interaction" if kind == "interactions" else "a user"
        held = "" if kind == "interactions" else ", with all that the user did"
        yield (
            False,
            f"Shown {what} that was in training and one that was not{held}, an attacker with {audit['shadows']} shadow "
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
        rate, first = after["tpr@0.1%"], before["tpr@0.1%"]
        yield (
            differences["compressed - original"]["tpr@0.1%"]["low"] > 0,
            f"Where an attacker must be nearly sure, one false alarm in a thousand, they find {_percent(first, 2)} of the "
            f"{kind} that were in training from the original, {_percent(rate, 2)} from the compressed; by chance 0.10 %.",
        )
        first_gain, gain = (differences[f"both - {side}"]["auc"] for side in ("original", "compressed"))
        line = (
            f"Who holds both models has AUC {number(both['auc']['value'], 3)} on {kind}: {signed(first_gain['value'], 3)} "
            f"({_signed_ends(first_gain)}) beside the original alone, {signed(gain['value'], 3)} ({_signed_ends(gain)}) "
            "beside the compressed alone"
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
            yield _ATTACKS[attack], _MODELS[model], *(f"{number(v['value'], 3)} ({_ends(v)})" for v in shown)


def _ends(value: Mapping[str, float]) -> str:
    return f"{number(value['low'], 3)} to {number(value['high'], 3)}"


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
        caption = (
            f"Was it in training? {count(found['units'])} {kind}, {audit['shadows']} shadow models attacked in turn"
        )
        html += _folded(caption, html_table(caption, _HEAD, _rows(found, "attacks"), (2, 3, 4)))
        if "shipped" in found:
            caption = f"The shipped models themselves, {kind} of training against those of test"
            html += _folded(caption, html_table(caption, _HEAD, _rows(found, "shipped"), (2, 3, 4)))
    rare = audit["rare_rows"]
    lines = [
        (
            f"<code>{esc(t['table'])}</code>",
            *(f"{count(t[s]['rare'])} of {count(t[s]['rows'])}" for s in ("original", "compressed")),
        )
        for t in rare["tables"]
    ]
    if lines:
        caption = f"Rows that rest on fewer than {rare['k']} users, of all rows of their own"
        html += _folded(caption, html_table(caption, ("Table", "Original", "Compressed"), lines, (1, 2)))
    html += "".join(f'<p class="note">{esc(line)}</p>' for line in audit["notes"])
    return html


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
            for i, head in enumerate(("attack", "of", "AUC", "TPR at 0.1 % FPR", "at 1 %")):
                table.add_column(head, justify="right" if i > 1 else "left")
            for row in _rows(found, key):
                table.add_row(*(Text(cell.replace("−", "-")) for cell in row))
            blocks.append(table)
    for bad, line in findings(audit):
        plain = line.replace("−", "-")
        blocks.append(Text(f"- {'WORSE: ' if bad else ''}{plain}", style="bold red" if bad else ""))
    blocks += [Text(f"- {line}", style="dim") for line in audit["notes"]]
    return Group(*blocks)
