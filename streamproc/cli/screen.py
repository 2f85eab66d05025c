"""What a person sees: standard output for answers, standard error for everything else; secrets on neither."""

from __future__ import annotations

import os
import signal
import tempfile
import traceback
from collections.abc import Iterable

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from streamproc.errors import StreamprocError
from streamproc.telemetry import Redact

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
_redact = Redact()


def hide(secrets: Iterable[str]) -> None:
    """From now on these values are masked in errors and tracebacks."""
    global _redact  # noqa: PLW0603 - one screen, one set of secrets in a process
    _redact = Redact(secrets)


def say(line: str, style: str = "") -> None:
    """A line of the answer; no markup."""
    out.print(Text(line, style=style))


def note(line: str, style: str = "dim") -> None:
    """A line beside the answer."""
    err.print(Text(line, style=style))


def many(number: int, what: str) -> str:
    """A number of things.

    >>> many(1, "task"), many(1200, "row")
    ('1 task', '1,200 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def confirm(question: str) -> None:
    """Ask, and go on only with a yes.

    Raises:
        typer.Abort: no, or Ctrl-C. Polars handles SIGINT too, in a way that would let the terminal go on waiting.
    """
    signal.siginterrupt(signal.SIGINT, True)
    typer.confirm(question, abort=True)


def error(failure: StreamprocError) -> None:
    """An error as it is."""
    first, *rest = _redact.text(str(failure)).splitlines()
    head, bracket, message = first.partition("] ")
    err.print(f"[bold red]{escape(head + bracket)}[/]{escape(message)}")
    for line in rest:
        err.print(Text(line, style="green" if line.startswith("  fix: ") else ""))


def crash(failure: BaseException) -> None:
    """An unexpected exception: one line, and where the rest of it is."""
    summary, place = keep(failure)
    err.print(Text(f"unexpected error: {summary}", style="bold red"))
    err.print(Text(f"  this is a defect of streamproc; {place}"))


def keep(failure: BaseException) -> tuple[str, str]:
    """Write an unexpected exception's traceback to a file: its summary in one line, and where the file is."""
    text = _redact.text("".join(traceback.format_exception(failure)))
    summary = _redact.text(f"{type(failure).__name__}: {failure}".splitlines()[0])
    try:
        handle, path = tempfile.mkstemp(prefix="streamproc-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as full:
        return summary, f"the traceback can't be kept: {full.strerror}"
    return summary, f"the traceback is in {path}"
