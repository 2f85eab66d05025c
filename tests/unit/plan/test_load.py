from __future__ import annotations

from pathlib import Path

import pytest

import streamproc as sp
from streamproc.plan import load_topology


def write(folder: Path, text: str) -> Path:
    file = folder / "my-flow.py"
    file.write_text("import polars as pl\nimport streamproc as sp\n" + text)
    return file


@pytest.mark.parametrize("text", ["topology = sp.Topology('a')\nother = sp.Topology('b')", "mine = sp.Topology('a')"])
def test_the_topology_of_a_file(tmp_path: Path, text: str) -> None:
    assert load_topology(write(tmp_path, text)).name == "a"


def test_a_file_is_read_anew_and_may_import_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "shared_names_of_this_test.py").write_text("NAME = 'a'")
    file = write(tmp_path, "from shared_names_of_this_test import NAME\ntopology = sp.Topology(NAME)")
    assert load_topology(file).name == "a"
    assert load_topology(str(write(tmp_path, "topology = sp.Topology('b')"))).name == "b"


@pytest.mark.parametrize(
    ("text", "code", "message", "line"),
    [
        ("x = 1\nd = {}['key']", "SP102", "raised KeyError: 'key'", "d = {}['key']"),
        ("def f():\n    return 1 / 0\nf()", "SP102", "raised ZeroDivisionError", "return 1 / 0"),
        ("topology = sp.Topology(", "SP102", "raised SyntaxError", "topology = sp.Topology("),
        ("raise SystemExit(3)", "SP102", "raised SystemExit", "raise SystemExit(3)"),
        ("w = sp.tumbling('soon')", "SP102", "'soon' is not a duration", "w = sp.tumbling('soon')"),
        ("f = sp.Json({'a': pl.Int64}, required='b')", "SP123", "required column", "f = sp.Json("),
        ("t = sp.Topology('a b')", "SP101", "'a b' is not a name", "t = sp.Topology('a b')"),
    ],
)
def test_a_file_that_raises_shows_its_own_line(tmp_path: Path, text: str, code: str, message: str, line: str) -> None:
    with pytest.raises(sp.TopologyError) as caught:
        load_topology(write(tmp_path, text))
    error = caught.value
    assert error.code == code
    assert message in error.message
    assert error.location is not None
    assert line in error.location.text
    assert error.location.file.endswith("my-flow.py")


def test_no_topology_and_several(tmp_path: Path) -> None:
    with pytest.raises(sp.TopologyError, match="SP103") as none:
        load_topology(write(tmp_path, ""))
    assert "no topology" in none.value.message
    with pytest.raises(sp.TopologyError, match="SP103") as several:
        load_topology(write(tmp_path, "a = sp.Topology('a')\nb = sp.Topology('b')"))
    assert several.value.detail == ("found: a, b",)


def test_a_missing_file_names_those_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(sp.TopologyError) as caught:
        load_topology(tmp_path / "flow.py")
    assert "flow.py" in caught.value.message
    assert "my-flow.py" in caught.value.fix


def test_the_path_is_shown_as_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sp.TopologyError) as caught:
        load_topology(write(tmp_path, "1 / 0").name)
    assert str(caught.value.location) == "my-flow.py:3   1 / 0"
