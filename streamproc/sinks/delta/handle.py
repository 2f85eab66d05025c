"""Handles of delta-rs: load one, and what every commit of ours has in common."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError

from streamproc.sinks.delta.log import METADATA
from streamproc.sinks.delta.retry import BRIEF, Retry, Sleep

OWNER = "streamproc.topology"
"""Table property that names the topology that writes it."""

FORMAT = 1
"""Of our entry in a commit's metadata."""

COMMIT_RETRIES = 100
"""Of delta-rs, against other writers. With transaction ids a repeat of one's own commit is refused, not doubled."""

NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
pause: Sleep = time.sleep


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


def load(
    uri: str,
    storage_options: Mapping[str, str] | None = None,
    sleep: Sleep = pause,
    pauses: Sequence[float] = BRIEF,
) -> DeltaTable | None:
    """A fresh handle, or None if there is no table. Under fast commits of others loading may fail for a moment.

    Raises:
        TableError: it can't be read.
    """
    retry = Retry(uri, "read", sleep, pauses)
    while True:
        try:
            return DeltaTable(uri, storage_options=dict(storage_options or {}))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            retry.after(error)
