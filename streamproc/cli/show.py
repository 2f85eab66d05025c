"""`streamproc show`: some rows of a table."""

from __future__ import annotations

from typing import Annotated

import typer

from streamproc.cli import screen, tables
from streamproc.cli.options import ConfigFile, Sets, settings


def show(
    table: Annotated[str, typer.Argument(help='Table below the lake, e.g. "gold/truck_minutes".', show_default=False)],
    n: Annotated[int, typer.Option("-n", help="How many rows.", min=1, max=1000)] = 10,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Show some rows of a table."""
    found = tables.handle(tables.lake_of(settings(config, sets)), table)
    rows = tables.rows(found, n)
    screen.say(f"{table}, version {found.version()}, {found.count():,} rows", "bold")
    screen.say(tables.text(rows, screen.out.width))
