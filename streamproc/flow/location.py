"""Where in the user's file a verb was called."""

from __future__ import annotations

import inspect
import linecache
import os
from pathlib import Path

from streamproc.errors import Location

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep


def caller() -> Location:
    """The line that called into this package: the innermost frame outside of it."""
    frame = inspect.currentframe()
    while frame and frame.f_back and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    assert frame is not None
    return line_of(frame.f_code.co_filename, frame.f_lineno)


def line_of(file: str, line: int) -> Location:
    """A line with its text; the path as seen from the current folder if it is below it."""
    text = linecache.getline(file, line).strip()
    below = file.startswith(str(Path.cwd()) + os.sep)
    return Location(os.path.relpath(file) if below else file, line, text)
