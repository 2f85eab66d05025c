"""Topologies that come with streamproc: beside the package in a checkout, a package of their own once installed."""

from __future__ import annotations

import os
from pathlib import Path

import streamproc
from streamproc.errors import TopologyError


def path(name: str) -> Path:
    """File of a shipped topology, as short as it can be written from here.

    Raises:
        TopologyError: there is none of this name.
    """
    root = Path(streamproc.__file__).resolve().parents[1]
    # A checkout comes first: an editable installation has a copy as well, which may be old.
    folder = root / "topologies" if (root / "pyproject.toml").is_file() else root / "streamproc_topologies"
    file = folder / f"{name}.py"
    if not file.is_file():
        names = ", ".join(sorted(found.stem for found in folder.glob("[a-z]*.py")))
        raise TopologyError("SP190", f'no shipped topology "{name}"', detail=[f"there are: {names}"])
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else Path(relative)
