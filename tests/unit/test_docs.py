"""What the pages say is true: their examples run, and they leave out no setting and no error."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streamproc
from streamproc import config

ROOT = Path(streamproc.__file__).parents[1]
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def examples(page: str) -> list[str]:
    return CODE.findall((ROOT / page).read_text())


def test_the_readme_s_topology_passes_the_readme_s_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    topology, test = examples("README.md")
    (tmp_path / "trucks.py").write_text(topology)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(test, names)
    run: Callable[[], None] = names["test_a_crash_changes_nothing"]
    run()


def test_a_verb_can_be_added_by_the_page(tmp_path: Path) -> None:
    operator, node, method, place = examples("docs/architecture.md")
    package = tmp_path / "streamproc"
    shutil.copytree(ROOT / "streamproc", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "operators/fill_null.py").write_text(operator)
    with (package / "flow/nodes.py").open("a") as file:
        file.write(node)
    stream = package / "flow/stream.py"
    stream.write_text(stream.read_text().replace("    def drop(", f"{method}\n    def drop(", 1))
    steps = package / "plan/steps.py"
    head = "from streamproc.operators.filter import Filter\n"
    new = "from streamproc.operators.fill_null import FillNull\n"
    steps.write_text(steps.read_text().replace(head, new + head) + place)
    (tmp_path / "used.py").write_text(USED)
    done = subprocess.run(
        [sys.executable, "used.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "[(0, 'x'), (2, None)]\n", done.stderr


USED = """
import polars as pl
import streamproc as sp
from streamproc.testing import TopologyTest

topology = sp.Topology("t")
topology.read_kafka("in", format=sp.Json({"a": pl.Int64, "b": pl.String})).fill_null(a=0).write_delta("out")
with TopologyTest(topology) as t:
    t.send("in", [{"b": "x"}, {"a": 2}])
    t.run()
    print(t.table("out").rows())
"""


def test_every_setting_is_in_the_reference() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    missing = [row.key for row in config.load(environ={}).shown() if f"`{row.key}`" not in page]
    assert missing == []


def test_every_error_has_its_way_out() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    explained = set(re.findall(r"SP\d{3}", page)) | {f"SP{n}" for n in range(601, 607)}
    raised = {code for file in ROOT.glob("streamproc/**/*.py") for code in re.findall(r'"(SP\d{3})"', file.read_text())}
    assert {code for code in raised - explained if not code.startswith("SP1")} == set()


def test_everything_that_a_page_names_is_there() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
