"""What judges the engine must not be the engine."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_answers_share_nothing_with_the_engine(file: Path) -> None:
    imported = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import may lead anywhere"
            imported.add(str(node.module).split(".")[0])
    assert imported <= sys.stdlib_module_names | {"pytest"}
