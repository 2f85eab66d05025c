"""The way in. Quick to import: a signal while everything else is being imported ends the process at once and quietly.

It is installed as `streamproc_entry` too, since to import anything of `streamproc` takes its time already.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command of this process."""
    signal.signal(signal.SIGINT, _end_now)
    signal.signal(signal.SIGTERM, _end_now)
    from streamproc.cli.main import main as command

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end)
    command()


def _end_now(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
