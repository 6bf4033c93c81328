import io

import pytest
from rich.console import Console

from recprune.report import summary_table


def printed(summary, width=120, color=False):
    console = Console(file=io.StringIO(), width=width, force_terminal=color, color_system="standard" if color else None)
    console.print(summary_table(summary))
    return console.file.getvalue()


def line(text, start):
    return next(row for row in text.splitlines() if start in row)


def test_bytes_quality_slices_and_time_stand_side_by_side(summary):
    text = printed(summary)
    cells = [cell.strip() for cell in line(text, "bytes on disk").split("│")[1:-1]]
    assert cells == ["bytes on disk", "41.3 MB", "430 kB", "96 x smaller"]
    cells = [cell.strip() for cell in line(text, "│ AUC   ").split("│")[1:-1]]
    assert cells == ["AUC", ".7690 [.7610,.7770]", ".7687 [.7607,.7767]", "-.0003 [-.0011,+.0005]"]
    assert "books:tail" in text
    cells = [cell.strip() for cell in line(text, "time p50").split("│")[1:-1]]
    assert cells == ["time p50", "412 us", "268 us", "1.5 x faster"]
    assert "gate auc:0.001: passed (drop .0003, allowed .0010)" in text
    assert "gate auc:0.001: FAILED (drop .0041, allowed .0010)" in text
    assert "advantage with NDCG@10 no worse: 3.2 times smaller than plain magnitude, 64 a column" not in text
    assert "advantage with NDCG@10 no worse: 3.2 times smaller than plain magnitude, 32 a column" in text


def test_a_worse_slice_is_red_and_says_so(summary):
    text = printed(summary, color=True)
    named = line(text, "significantly worse: books:tail, AUC")
    assert "\x1b[1;31m" in named
    assert "-.0032 (-.0047 to -.0017)" in named


def test_text_is_never_read_as_markup(summary):
    task = summary["tasks"]["like"]
    text = printed({**summary, "tasks": {"[red]x[/red]": task}})
    assert "[red]x[/red]" in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_line_is_wider_than_the_terminal(summary, width):
    assert max(len(row) for row in printed(summary, width).splitlines()) <= width
