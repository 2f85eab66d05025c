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
        ("w = sp.tumbling('soon')", "SP101", "'soon' is not a duration", "w = sp.tumbling('soon')"),
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


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("s.fliter(1)", 'did you mean "filter"?'),
        ("s.with_column(1)", 'did you mean "with_columns"?'),
        ("t.read_kafak('x')", 'did you mean "read_kafka"?'),
        ("t.write_delta('x')", "topology.read_kafka(...).write_delta(...)"),
        ("sp.tumblin('1m')", 'did you mean "tumbling"?'),
        ("sp.hopping('1m')", "hopping is not available in this version"),
        ("s.join(s)", "join is not available in this version"),
        ("from streamproc import Debezium", "Debezium is not available in this version"),
        ("from streamproc import Jsn", 'did you mean "Json"?'),
        ("g.count()", ".agg(n=sp.count())"),
        ("g.sum('n')", '.agg(n=sp.sum("column"))'),
        ("s.with_watermark('t')", "with_watermark(..., lateness=...)"),
        ("s.with_watermark('t', '10s')", "with_watermark takes these by name: lateness=, ahead="),
        ("s.with_watermark('t', latenes='10s')", 'did you mean "lateness"?'),
        ("t.read_kafka('x')", "read_kafka(..., format=...)"),
        ("s.map_batches(len)", "map_batches(..., schema=...)"),
        ("sp.Json()", "Json(..., schema=...)"),
        ("sp.sum()", "sum(..., value=...)"),
        ("[].fliter", "correct the line"),
        ("len()", "correct the line"),
    ],
)
def test_what_was_probably_meant_is_named(tmp_path: Path, line: str, fix: str) -> None:
    head = "t = sp.Topology('a')\ns = t.read_kafka('x', format=sp.Raw())\ng = s.group_by(sp.tumbling('1m'))\n"
    with pytest.raises(sp.TopologyError) as caught:
        load_topology(write(tmp_path, head + line))
    assert (caught.value.code, caught.value.fix) == ("SP102", fix)
    assert caught.value.location is not None
    assert caught.value.location.text == line


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
