"""Names are printed as they are, results and what happens each where it belongs."""

import io
import time
from contextlib import closing

import pytest
from rich.console import Console

from recprune.cli import common
from recprune.cli.main import main
from recprune.evaluation import write_summary
from tests.evaluation.test_summary import minimal, value

TASK = "{kind: next_item, recipes: {a: {steps: []}}, ship: a, gate: 'ndcg@10:1%'}"


@pytest.fixture
def type_(tmp_path, monkeypatch, capsys):
    """Type a command in an empty folder; gives the status, and what was said on stdout and on stderr."""
    monkeypatch.chdir(tmp_path)

    def typed(*arguments):
        monkeypatch.setattr("sys.argv", ["recprune", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return typed


def test_a_log_whose_names_have_brackets(type_, tmp_path):
    (tmp_path / "br[/x]").mkdir(parents=True)
    (tmp_path / "br[/x]/log.csv").write_text("user,item\na,b\n", encoding="utf-8")
    (tmp_path / "br[/x]/log.yaml").write_text("{name: 'toy[/z] [red]', file: log.csv, user: user, item: item}")
    code, out, err = type_("data", "br[/x]/log.yaml")
    assert (code, err) == (0, "")
    assert "toy[/z] [red] (unknown)" in out
    code, out, err = type_("data", "nope[/x].yaml")
    assert (code, out) == (2, "")
    assert "nor the YAML of a log at nope[/x].yaml" in err


def test_a_report_whose_names_have_brackets(type_, tmp_path):
    summary = minimal()
    like = summary["tasks"].pop("like")
    summary["tasks"]["[/like]"] = like | {"slices": {"[red]": like["slices"]["books:tail"]}}
    write_summary(summary, tmp_path / "summary.json")
    (tmp_path / "br[/x]").mkdir(parents=True)
    code, out, err = type_("report", "summary.json", "--out", "br[/x]/page.html")
    assert (code, err) == (0, "")
    assert "[/like]" in out
    assert "[red]" in out
    assert out.endswith("report: br[/x]/page.html\n")


def test_slices_whose_names_have_brackets(type_, tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text(f"{{name: r, data: log.yaml, tasks: {{t: {TASK}}}}}", encoding="utf-8")
    metric = {"original": value(0.5), "compressed": value(0.4), "difference": value(-0.1), "higher_is_better": True}
    part = "countries:[/es] spain"
    found = {"metrics": {"ndcg@10": metric}, "slices": {part: {"metrics": {"ndcg@10": metric}}}}
    found["worse"] = [(part, "ndcg@10")]

    def stage(run, name, stage):
        run.say(name, f"{stage}: [/done]")
        return found

    monkeypatch.setattr("recprune.pipeline.run.Run.stage", stage)
    code, out, err = type_("evaluate", "run.yaml")
    assert (code, err) == (1, "t  evaluate: [/done]\n")
    assert out.splitlines()[0].strip() == "t"
    assert f"significantly worse: {part}: ndcg@10 -0.1000\nfailed: ndcg@10" in out


def test_no_line_moves_while_a_result_is_shown(monkeypatch):
    """On a terminal, where it would be drawn over."""
    screen = io.StringIO()
    monkeypatch.setattr(common, "progress", Console(file=screen, force_terminal=True, markup=False, width=80))

    class Run:
        def stage(self, name, stage):
            self.say(name, f"{stage} [/x]")
            time.sleep(0.2)  # twelve pictures a second
            return {stage: name}

    with closing(common.results(Run(), "[/t]", "train", "peers")) as found:
        assert next(found) == ("[/t]", {"train": "[/t]", "peers": "[/t]"})
        shown = screen.getvalue()
        assert "train [/x]" in shown
        time.sleep(0.2)
        assert screen.getvalue() == shown
