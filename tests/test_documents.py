"""YAML as people write it, and as nobody does."""

import pytest

from recprune.documents import read_yaml
from recprune.errors import RecpruneError


def read(tmp_path, text):
    path = tmp_path / "given.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


def test_what_is_written_is_read(tmp_path):
    text = "base: &b {k: 1}\nother: {<<: *b, k: 2}\nlist: [*b, {k: 3}]\n1: a\n'1': b\n"
    expected = {"base": {"k": 1}, "other": {"k": 2}, "list": [{"k": 1}, {"k": 3}], 1: "a", "1": "b"}
    assert read(tmp_path, text) == expected
    assert read(tmp_path, "") is None


@pytest.mark.parametrize("text", ["a: 1\nb: {x: 1, y: 2, x: 3}\n", "a: 1\nb: [{x: 1, 'x': 2}]\n"])
def test_a_key_twice_is_named(tmp_path, text):
    with pytest.raises(RecpruneError, match=r"names 'x' twice in the mapping from line 2 on"):
        read(tmp_path, text)


def test_very_many_keys_take_no_time(tmp_path):
    assert len(read(tmp_path, "\n".join(f"k{i}: 1" for i in range(20_000)))) == 20_000
