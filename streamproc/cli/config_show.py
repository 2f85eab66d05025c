"""`streamproc config show`: every setting, and where it came from."""

from __future__ import annotations

from streamproc.cli import screen
from streamproc.cli.options import ConfigFile, Sets, settings


def show(config: ConfigFile = None, sets: Sets = None) -> None:
    """Show every setting and where it came from; secrets are hidden."""
    rows = settings(config, sets).shown()
    key_width = max(len(row.key) for row in rows)
    value_width = min(40, max(len(row.value) for row in rows))
    for row in rows:
        screen.say(f"{row.key:<{key_width}}  {row.value:<{value_width}}  {row.origin}")
