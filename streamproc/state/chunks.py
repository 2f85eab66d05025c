"""The seam of chunk stores: immutable byte strings under unique ids, by task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class ChunkStore(Protocol):
    """Chunks of all tasks of one job."""

    def put(self, task: str, id: str, data: bytes) -> None:
        """Store a chunk; it survives this process when this returns.

        Raises:
            StateError: it can't be written.
        """
        ...

    def get(self, task: str, id: str) -> bytes:
        """Bytes of a chunk.

        Raises:
            StateError: it is missing or damaged; named, with the way out.
        """
        ...

    def fetch(self, task: str, ids: Iterable[str]) -> None:
        """Restore: have these chunks at hand, and nothing else of the task.

        Raises:
            StateError: one of them is missing or damaged.
        """
        ...

    def list(self, task: str) -> frozenset[str]:
        """Ids of all chunks of the task that survive this process."""
        ...

    def delete(self, task: str, ids: Iterable[str]) -> None:
        """Forget chunks for good; those that are gone already are fine."""
        ...

    def drop(self, task: str) -> None:
        """The task has gone elsewhere: forget what is at hand, keep what survives."""
        ...

    def close(self) -> None:
        """Let go of files and locks; what survives stays."""
        ...
