"""The structure that docs/architecture.md shows, held by its imports: who may know whom, who may touch the world."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streamproc

ROOT = Path(streamproc.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def _part(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


KNOWS = {
    "errors": set(),
    "position": set(),
    "operators": {"errors", "position", "formats", "flow"},
    "formats": {"errors", "position", "operators"},
    "flow": {"errors", "formats", "operators", "position"},
    "plan": {"errors", "position", "flow", "formats", "operators"},
    "sinks": {"errors", "position", "plan"},
    "state": {"errors", "position", "operators", "plan", "sinks"},
}
"""What each part may import; parts that are not named are edges and may import anything."""

WORLD = {"time", "random", "secrets", "uuid", "threading", "socket", "asyncio", "multiprocessing", "signal", "select"}
EDGES = {
    "cli",
    "config.py",
    "runtime/job.py",
    "runtime/kafka",
    "sinks/background.py",
    "sinks/delta/handle.py",
    "telemetry.py",
}
"""Where clocks, chance, threads and sockets are allowed."""


def _imports(file: Path) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", [file for file in FILES if _part(file) in KNOWS], ids=_name)
def test_a_part_knows_only_what_it_may(file: Path) -> None:
    part = _part(file)
    known = {name.split(".")[1] for name in _imports(file) if name.startswith("streamproc.")}
    assert known - {part} <= KNOWS[part]


def _is_edge(file: Path) -> bool:
    return any(_name(file) == edge or _name(file).startswith(edge + "/") for edge in EDGES)


@pytest.mark.parametrize("file", [file for file in FILES if not _is_edge(file)], ids=_name)
def test_the_world_is_touched_at_the_edges_only(file: Path) -> None:
    assert {name.split(".")[0] for name in _imports(file)} & WORLD == set()
    clocks = {"now", "utcnow", "today"}
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date"}
    }
    assert calls & clocks == set()
