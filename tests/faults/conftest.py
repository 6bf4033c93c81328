"""Toy runs to break: made once, copied for each fault."""

import shutil

import pytest

from tests.faults.harness import command, facts
from tests.pipeline.toy import write_log

RANKER = """
name: toy
data: log.yaml
tasks:
  next:
    kind: next_item
    min_reads: 3
    l2: 5
    gate: ndcg@10:90%
    ship: few
    recipes:
      few: {steps: [{keep_top: {target: item_weights, per_column: 8}}]}
      codes: {steps: [{quantize: {target: item_weights, bits: 8}}]}
"""
TABLES = """
name: toy
data: log.yaml
tasks:
  like:
    kind: like
    min_readings: 1
    gate: auc:0.9
    ship: codes
    recipes: {codes: {steps: [{codebook: {target: "tables.*.factor", bits: 4}}]}}
"""
AUDIT = ("--shadows", "4", "--rows", "40", "--users", "10")
SEARCH = ("--trials", "4", "--retrain", "0", "--max-drop")
USERS = "user,item\n" + "".join(f"u{i % 3},b{i:02}\n" for i in range(9))


class Toy:
    """A toy run: `fresh`, and after each of some commands. Every folder is made once, and `copy` is broken."""

    def __init__(self, root, task, config, drop):
        self.root, self.task = root, task
        self.commands = {
            "train": ("train", "toy.yaml"),
            "compress": ("compress", "toy.yaml"),
            "run": ("run", "toy.yaml"),
            "audit": ("audit", "toy.yaml", "--task", task, *AUDIT),
            "search": ("search", "toy.yaml", "--task", task, *SEARCH, drop),
        }
        fresh = root / "fresh"
        fresh.mkdir(parents=True)
        write_log(fresh, 60, 30)
        (fresh / "toy.yaml").write_text(config, encoding="utf-8")
        (fresh / "users.csv").write_text(USERS, encoding="utf-8")
        self._facts = {}

    def after(self, *names):
        """The folder after these commands."""
        folder = self.root / ("-".join(names) or "fresh")
        if not folder.exists():
            made = shutil.copytree(self.after(*names[:-1]), self.root / "making")
            ended = command(made, *self.commands[names[-1]])
            assert ended.status == 0, ended
            made.rename(folder)
        return folder

    def facts(self, *names):
        """What is there after these commands."""
        if names not in self._facts:
            self._facts[names] = facts(self.after(*names))
        return self._facts[names]

    def copy(self, target, *names):
        """The folder after these commands, to break."""
        return shutil.copytree(self.after(*names), target)


@pytest.fixture(scope="session")
def ranker(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("faults") / "ranker", "next", RANKER, "ndcg@10:90%")


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("faults") / "tables", "like", TABLES, "auc:0.3")
