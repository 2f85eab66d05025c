"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamproc import config, telemetry
from streamproc.cli import screen

TopologyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Python file with a topology.", show_default=False)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML file with settings.", show_default=False)
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. lake=./lake. Repeatable.", show_default=False),
]


def settings(file: Path | None, sets: list[str] | None) -> config.Config:
    """The settings of this command; sets up logs and keeps secrets off the screen."""
    loaded = config.load(file, sets=sets or ())
    screen.hide(loaded.secrets())
    telemetry.configure(secrets=loaded.secrets())
    return loaded
