"""Handles of delta-rs: load one, and what every commit of ours has in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError

from streamproc.sinks.delta import problems
from streamproc.sinks.delta.log import METADATA

OWNER = "streamproc.topology"
"""Table property that names the topology that writes it."""

ATTEMPTS = 6
BACK_OFF_S = 0.05
COMMIT_RETRIES = 100
"""Of delta-rs, against other writers. With transaction ids a repeat of one's own commit is refused, not doubled."""

NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
Sleep = Callable[[float], None]
pause: Sleep = time.sleep
"""Waits, in seconds, between attempts. Simulations bring their own."""


def uri_of(lake: str, name: str) -> str:
    """Where a table is: `lake` is a folder or a URL of an object store, `name` a relative path.

    >>> uri_of("s3://bucket/lake/", "silver/readings")
    's3://bucket/lake/silver/readings'
    """
    return f"{lake.rstrip('/')}/{name}"


def properties(txns: Mapping[str, int], metadata: Mapping[str, Any], retries: int = COMMIT_RETRIES) -> CommitProperties:
    """Of a commit that sets `txns`, with our entry in its metadata."""
    return CommitProperties(
        custom_metadata={METADATA: dict(metadata)},
        max_commit_retries=retries,
        app_transactions=[Transaction(id, version) for id, version in txns.items()],
    )


def load(uri: str, storage_options: Mapping[str, str] | None = None, sleep: Sleep = pause) -> DeltaTable | None:
    """A fresh handle, or None if there is no table. Under fast commits of others loading may fail for a moment.

    Raises:
        TableError: it can't be read.
    """
    for attempt in range(ATTEMPTS):
        try:
            return DeltaTable(uri, storage_options=dict(storage_options or {}))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            if attempt == ATTEMPTS - 1 or problems.is_hopeless(error):
                raise problems.unreachable(uri, error, "read") from error
            sleep(BACK_OFF_S * 2**attempt)
    raise AssertionError("not reached")
