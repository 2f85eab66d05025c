"""Chunks in a dict, for the in-memory driver: what survives is what another store over the same dict sees."""

from __future__ import annotations

from collections.abc import Iterable

from streamproc.state.damage import missing


class MemoryChunks:
    """A `ChunkStore` over a dict of (task, id) -> bytes.

    Args:
        chunks: shared by stores that stand for processes on the same lake; a fresh one by default.
    """

    def __init__(self, chunks: dict[tuple[str, str], bytes] | None = None) -> None:
        self.chunks = {} if chunks is None else chunks

    def put(self, task: str, id: str, data: bytes) -> None:
        self.chunks[task, id] = data

    def get(self, task: str, id: str) -> bytes:
        try:
            return self.chunks[task, id]
        except KeyError:
            raise missing(task, id) from None

    def fetch(self, task: str, ids: Iterable[str]) -> None:
        for id in ids:
            self.get(task, id)

    def list(self, task: str) -> frozenset[str]:
        return frozenset(id for owner, id in self.chunks if owner == task)

    def delete(self, task: str, ids: Iterable[str]) -> None:
        for id in ids:
            self.chunks.pop((task, id), None)

    def drop(self, task: str) -> None:
        pass

    def close(self) -> None:
        pass
