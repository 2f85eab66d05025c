"""Checksums around chunks, and what is said when one is missing or damaged."""

from __future__ import annotations

import zlib

from streamproc.errors import StateError

_MAGIC = b"SPC1"
_FIX = "bring the file back from a copy of the lake, or `streamproc reset` the topology"


def seal(data: bytes) -> bytes:
    """Chunk with its checksum in front.

    >>> unseal(seal(b"rows"), "task", "chunk")
    b'rows'
    """
    return _MAGIC + zlib.crc32(data).to_bytes(4, "big") + data


def unseal(sealed: bytes, task: str, id: str) -> bytes:
    """The chunk inside.

    Raises:
        StateError: it is not what was written.
    """
    data = sealed[8:]
    if sealed[:4] != _MAGIC or zlib.crc32(data).to_bytes(4, "big") != sealed[4:8]:
        raise StateError(
            "SP403",
            f'chunk "{id}" of the state of {task} is damaged',
            detail=[f"{len(sealed)} bytes do not match their checksum"],
            fix=_FIX,
        )
    return data


def missing(task: str, id: str) -> StateError:
    """The error for a chunk that a manifest names and nobody has."""
    return StateError("SP402", f'chunk "{id}" of the state of {task} is missing', fix=_FIX)
