"""Logs: one JSON object a line to stderr, or readable lines where a person looks on. Secrets are cut out of both."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

MASK = "**********"
_SECRET_NAMES = (
    "password",
    "secret",
    "token",
    "jaas",
    "credential",
    "sasl.username",
    "access_key",
    "account_key",
    "sas_key",
)


def configure(
    *,
    secrets: Iterable[str] = (),
    stream: io.TextIOBase | None = None,
    json: bool | None = None,
    level: int = logging.INFO,
) -> None:
    """Set up the logs of this process; the standard library's loggers go the same way.

    Args:
        secrets: values that are masked wherever they appear.
        stream: where lines go, by default stderr.
        json: one JSON object a line; by default unless the stream is a terminal.
        level: what is logged, as in `logging`.
    """
    out = stream or _Stderr()
    as_json = not out.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    last: list[Processor] = [structlog.processors.format_exc_info, Redact(secrets), render]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))  # other people's libraries
    logging.getLogger("streamproc").setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _Stderr(io.TextIOBase):
    """Standard error as of each write: while something moves on the screen, lines go above it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


class Redact:
    """Masks secrets in a log line: known values wherever they stand, and whatever is kept under a telling name.

    >>> Redact(["hunter2"])(None, "info", {"event": "login with hunter2", "sasl.password": "x", "n": 1})
    {'event': 'login with **********', 'sasl.password': '**********', 'n': 1}
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first: a secret may be part of another. Very short ones would mask half of every line.
        self._secrets = sorted((s for s in secrets if len(s) > 3), key=len, reverse=True)

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        """A structlog processor."""
        return {key: self._clean(key, value) for key, value in event.items()}

    def _clean(self, key: str, value: Any) -> Any:
        if any(name in key.lower() for name in _SECRET_NAMES):
            return MASK
        if isinstance(value, dict):
            return {k: self._clean(str(k), v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean("", v) for v in value]
        if isinstance(value, int | float | bool) or value is None:
            return value
        return self.text(str(value))

    def text(self, text: str) -> str:
        """The text with known secrets masked."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text
