"""Keeps commits fast: without log checkpoints and fresh handles they get ten times slower within some hundreds."""

from __future__ import annotations

import logging

from deltalake.exceptions import DeltaError

from streamproc.sinks.delta.table import Table

EVERY_COMMITS = 50

_log = logging.getLogger(__name__)


class Maintenance:
    """Counts the commits of one writer since its last checkpoint of the log."""

    def __init__(self) -> None:
        self._commits = 0

    @property
    def is_due(self) -> bool:
        """True once enough commits have been made."""
        return self._commits >= EVERY_COMMITS

    def committed(self) -> None:
        """Count a commit."""
        self._commits += 1

    def run(self, table: Table) -> None:
        """Checkpoint the log. One that fails costs speed, not rows: the next is tried after as many commits."""
        self._commits = 0
        try:
            table.checkpoint()
        except (DeltaError, OSError) as error:
            _log.warning("checkpoint of the log of %s failed: %s", table.uri, error)
