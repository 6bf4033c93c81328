import copy
import re
from html.parser import HTMLParser

import pytest

from recprune.errors import RecpruneError
from recprune.report import render_report, write_report
from recprune.report.charts import byte_bars, forest, frontier_chart, sensitivity_chart
from recprune.report.html import esc
from recprune.report.words import headline, size, worse_slices

VOID = {"meta", "br", "line", "circle", "path", "rect", "polyline", "polygon"}


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and that every one is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        if name not in VOID:
            assert self.open.pop() == name

    def handle_data(self, text):
        self.texts.append(text)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(summary):
    return Page(render_report(summary))


def test_the_page_asks_the_network_for_nothing(summary):
    text = render_report(summary)
    names = {name for name, _ in Page(text).elements}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "audio", "video"}
    for _, attributes in Page(text).elements:
        assert not {"src", "srcset", "poster", "data", "action", "background"} & set(attributes)
        assert all(not key.startswith("on") for key in attributes)
        assert attributes.get("href", "#").startswith("#")
    css = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert "url(" not in css
    assert "@import" not in css
    assert "default-src 'none'" in text


def test_links_lead_somewhere_and_ids_are_unique(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in page.elements if "href" in a} <= set(ids)


def test_the_headline_in_words(summary):
    assert headline("like", summary["tasks"]["like"]) == (
        "like is 96 times smaller: 41.3 MB became 430 kB. "
        "AUC .7690 → .7687 (\N{MINUS SIGN}.0003, 95 % \N{MINUS SIGN}.0011 to +.0005)."
    )
    larger = copy.deepcopy(summary["tasks"]["like"])
    larger["size"]["ratio"]["disk"] = 0.5
    assert headline("like", larger).startswith("like is 2.0 times larger")


def test_everything_asked_for_is_told(summary, page):
    text = page.text
    for part in (
        "Will this reader rate this book 8 or more?",
        "Book-Crossing",
        "users whose rows are all of one class left out",
        "8,112 left out",
        "gate failed: auc:0.001",
        "Drop the block 'work': on validation its loss costs nothing.",
        "185,973 book × 16 book.factor",
        "dropped: the same as book",
        "User mean + book mean".lower(),
        "nearly every work is one book",
        "Reader 11676",
        "9.12 ms",
        "0, 1, 2",
        "torch 2.13.0",
        "▼ significantly worse: coverage@20 on the whole test",
        "every user has labels of one class",
        "4.4 × smaller than the smallest peer with AUC at most .0005 worse (width 2, ids >= 3)",
    ):
        assert part in text, part
    titles = [a for name, a in page.elements if name == "svg" and a.get("role") == "img"]
    assert all(a["aria-label"] for a in titles)
    assert sum(name == "table" for name, _ in page.elements) == sum(name == "caption" for name, _ in page.elements)


def test_a_slice_that_got_significantly_worse_is_named_in_red_and_in_words(summary):
    hard = summary["tasks"]["like-ids"]
    found = {(name, metric) for name, metric, _ in worse_slices(hard)}
    assert {("books:tail", "auc"), ("readers:cold", "auc")} <= found
    rows = [(name, "", part["metrics"]["auc"]) for name, part in hard["slices"].items()]
    plot = forest("AUC", rows)
    red = re.findall(r'<tr role="row" class="bad"><th[^>]*>(\S+)', plot)
    assert set(red) == {name for name, metric in found if metric == "auc"}
    assert plot.count("▼ significantly worse") == len(red)
    assert "Significantly worse in" in render_report(summary)


def value(v, low, high, higher=True):
    side = {"value": 0.7, "low": 0.6, "high": 0.8}
    difference = {"value": v, "low": low, "high": high}
    return {"original": side, "compressed": side, "difference": difference, "higher_is_better": higher}


def positions(plot):
    found = re.findall(
        r'class="line" style="left:([\d.]+)%;width:([\d.]+)%"></i><i class="dot" style="left:([\d.]+)%"', plot
    )
    return [tuple(float(x) for x in row) for row in found]


def test_intervals_are_drawn_where_they_are():
    # The longest arm, .009, times 1.1 rounds up to a scale of .01.
    plot = forest("AUC", [("a", "", value(0.0, -0.005, 0.009)), ("b", "", value(0.005, 0.0, 0.009))])
    assert positions(plot) == [(25.0, 70.0, 50.0), (50.0, 45.0, 75.0)]


def test_worse_is_to_the_left_for_losses_too():
    plot = forest("LogLoss", [("a", "", value(0.005, 0.0025, 0.009, higher=False))])
    assert positions(plot) == [(5.0, 32.5, 25.0)]
    assert 'class="bad"' in plot


def test_what_goes_beyond_the_scale_gets_an_arrow():
    rows = [(str(i), "", value(0.0, -0.005, 0.009)) for i in range(9)] + [("tiny", "", value(0.2, -0.5, 0.9))]
    plot = forest("AUC", rows)
    assert positions(plot)[-1] == (0.0, 100.0, 100.0)
    assert plot.count("<i class='cut") == 2


def test_bytes_bars_are_to_scale():
    bars = byte_bars([("tables", 900, 5), ("gone", 0, 0), ("<ids>", 100, 5)])
    assert [float(x) for x in re.findall(r"width:([\d.]+)%", bars)] == [90.0, 10.0, 0.5, 0.5, 50.0, 50.0]
    assert "magnified 100 times" in bars
    assert "&lt;ids&gt;: 100 B → 5 B" in bars


def test_trees_are_called_trees(summary):
    task = summary["tasks"]["like"]
    trees = [part | ({"kind": "trees"} if part["kind"] == "layer" else {}) for part in task["plan"]]
    before, after = (
        render_report(summary | {"tasks": {"like": task | {"plan": plan}}}) for plan in (task["plan"], trees)
    )
    line = "</span>dense layers: "
    assert line in before
    assert before.replace(line, "</span>trees: ") == after


def test_without_kinds_the_bars_show_the_largest_parts(summary):
    task = summary["tasks"]["like"]
    plan = [{key: value for key, value in part.items() if key != "kind"} for part in task["plan"]]
    text = Page(render_report(summary | {"tasks": {"like": task | {"plan": plan}}})).text
    largest = sorted(plan, key=lambda p: -p["bytes_before"])[:4]
    rest = task["size"]["original"]["disk_bytes"] - sum(p["bytes_before"] for p in largest)
    assert f"the rest of the files: {size(rest)} →" in text
    assert f"{largest[3]['part']}: {size(largest[3]['bytes_before'])} →" in text


def test_the_frontier_has_a_mark_for_each_point(summary):
    task = summary["tasks"]["like"]
    chart = frontier_chart(task["frontier"], "auc", 41_280_000, -0.001, 1000)
    kinds = [p["kind"] for p in task["frontier"]]
    assert chart.count('<circle class="ours"') == kinds.count("ours")
    assert chart.count('<path class="peer"') == kinds.count("peer")
    assert chart.count('<circle class="chosen"') == 1
    assert "popularity (\N{MINUS SIGN}.0900)" in chart  # far below: on the edge, with its number
    assert frontier_chart([], "auc", 1, None, 1000) == ""
    same = {"value": 0.0, "low": 0.0, "high": 0.0}
    one = {"name": "codes", "kind": "ours", "disk_bytes": 10, "differences": {"auc": same}, "chosen": True}
    assert frontier_chart([one], "auc", 20, None, 1000).count("<svg") == 1


@pytest.mark.parametrize("keeps", [(1, 0.25, 0.0625), (1, 0.5, 0.0123), (0.0625,)])
def test_no_mark_below_a_chart_is_cut_off(summary, keeps):
    """A letter is 6.1 wide on average, so "6.25 %" reaches 18.3 to either side: 16 was not enough."""
    points = [{"keep": keep, "difference": -0.01 * i} for i, keep in enumerate(keeps)]
    charts = [sensitivity_chart({"part": "bits of a value", "points": points}, -0.02, 0)]
    for disk in range(10_000, 1_000_000, 45_678):
        charts += [
            frontier_chart(summary["tasks"]["like"]["frontier"], "auc", disk, None, width) for width in (360, 1000)
        ]
    for chart in charts:
        width = int(re.search(r'viewBox="0 0 (\d+)', chart)[1])
        texts = re.findall(r'<text x="([\d.]+)" y="\d+" text-anchor="middle">(.*?)</text>', chart)
        assert texts
        assert all(float(x) + 6.1 * len(text) / 2 <= width + 0.05 for x, text in texts)
    assert "6.25 %" in charts[0] or "1.23 %" in charts[0]


def test_nothing_from_data_becomes_markup(summary):
    nasty = "\"'><script>alert(1)</script><img src=x onerror=y>\n"
    keep = {"kind", "metric", "rule"}

    def poison(node, key=""):
        if isinstance(node, dict):
            names = ("slices", "peers", "versions", "machine", "undefined", "repairs", "tasks")
            return {(nasty + k if key in names and "@" not in k else k): poison(v, k) for k, v in node.items()}
        if isinstance(node, list):
            return [poison(v, key) for v in node]
        return nasty + node if isinstance(node, str) and key not in keep else node

    bad = poison(summary)
    page = Page(render_report(bad))
    names = {name for name, _ in page.elements}
    assert not names & {"script", "img"}
    assert all(not key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert "<script>alert(1)" in page.text


def test_escape():
    assert esc("a<b>&\"'\n\x00") == "a&lt;b&gt;&amp;&quot;&#x27;  "


def test_the_strict_part_alone_is_enough(summary):
    small = {key: summary[key] for key in ("format", "name", "machine", "versions", "seeds")}
    strict = ("size", "metrics", "slices", "scoring", "peers", "frontier", "advantage", "gate")
    small["tasks"] = {name: {key: task[key] for key in strict} for name, task in summary["tasks"].items()}
    assert (
        "What was asked" not in Page(render_report(small | {"tasks": {"next book": small["tasks"]["next book"]}})).text
    )
    bare = {"peers": {}, "frontier": [], "advantage": [], "slices": {}, "gate": {"passed": True, "rules": []}}
    small["tasks"] = {name: task | bare for name, task in small["tasks"].items()}
    text = Page(render_report(small)).text
    assert "96 times smaller" in text
    assert "no gate was set" in text


def test_writing_is_whole_or_not_at_all(summary, tmp_path):
    path = tmp_path / "runs" / "report.html"
    write_report(summary, path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>\n")
    assert len(text) < 600_000
    with pytest.raises(RecpruneError, match="summary"):
        write_report({**summary, "tasks": {}}, path)
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_many_curves_and_findings_are_folded_not_lost(summary):
    task = summary["tasks"]["like"]
    found = Page(render_report(summary | {"tasks": {"like": task}}))
    parts = [
        a["aria-label"].split(":")[0] for n, a in found.elements if n == "svg" and "kept" in a.get("aria-label", "")
    ]
    assert sorted(parts) == sorted(curve["part"] for curve in task["sensitivity"])
    assert parts[:4] == ["bias", "pairs", "book.factor", "user.factor"]  # the most harmful first
    assert f"{len(parts) - 12} curves of less harm" in found.text
    assert all(line in found.text for line in task["analysis"]["findings"])
    assert f"{len(task['analysis']['findings']) - 12} findings more" in found.text
