"""The folder the demo writes to: emptied only if the demo itself has made it."""

from __future__ import annotations

import shutil
from pathlib import Path

from streamproc.errors import ConfigError

MARKER = ".streamproc-demo"


def prepare(folder: Path) -> None:
    """Make the folder, or empty it if the demo has marked it as its own.

    Raises:
        ConfigError: it holds something else, it is a file, or it can't be written.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()):
            if not (folder / MARKER).is_file():
                raise ConfigError(
                    "SP220",
                    f'"{folder}" is not empty and was not made by the demo: it is left as it is',
                    fix=f"streamproc demo --lake {folder}-demo",
                )
            _empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text("Made by `streamproc demo`, which empties this folder when it runs again.\n")
    except OSError as error:
        raise ConfigError(
            "SP221",
            f'"{folder}" can\'t be used: {error.strerror}',
            fix="give a folder that can be written: streamproc demo --lake FOLDER",
        ) from error


def _empty(folder: Path) -> None:
    """Everything but the marker, so that an interrupted clean-up can be taken up again."""
    for child in folder.iterdir():
        if child.name == MARKER:
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
