"""How `run` ends with an error where its output is a log: one JSON line, like all the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import typer

from streamproc import telemetry
from streamproc.cli import screen
from streamproc.errors import StreamprocError

_log = structlog.get_logger("streamproc.run")


@contextmanager
def logged() -> Iterator[None]:
    """Off a terminal the error that ends this block becomes the last line of the log; on one it goes on as it is.

    Raises:
        typer.Exit: with 1 after an error for the user, 2 after a defect.
    """
    if screen.err.is_terminal:
        yield
        return
    telemetry.configure()  # until the settings are read, which may fail too
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except StreamprocError as failure:
        _log.error(
            "failed",
            code=failure.code,
            message=failure.message,
            detail=failure.detail,
            fix=failure.fix,
            location=str(failure.location) if failure.location else None,
        )
        raise typer.Exit(1) from None
    except Exception as failure:  # noqa: BLE001 - the last place that can tell
        summary, place = screen.keep(failure)
        detail = ["this is a defect of streamproc", place]
        _log.error("failed", code=None, message=summary, detail=detail, fix="please report it", location=None)
        raise typer.Exit(2) from None
