"""Slots: which of the processes on this machine a worker is, over restarts.

A worker takes the first free folder `slot-N` of the state directory, by a lock that dies with the process. The folder
holds a random id made once. A successor in the same slot so has the identity of the process before, which makes Kafka
abort what that left open and hand its partitions over at once; and two live processes never share one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streamproc.errors import StateError

SLOTS_MAX = 256


@dataclass(frozen=True)
class Slot:
    """A slot that is ours until it is closed or the process ends.

    Args:
        path: its folder; local state goes there.
        id: random, made once.
    """

    path: Path
    id: str
    _lock: IO[str]

    def identity(self, topology: str) -> str:
        """`transactional.id` and `group.instance.id` of a worker of that topology in this slot."""
        return f"{topology}-{self.id}"

    def close(self) -> None:
        """Let others have it."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def take(state_dir: Path) -> Slot:
    """Take the first free slot.

    Raises:
        StateError: the state directory can't be written, or all slots are taken.
    """
    try:
        for number in range(SLOTS_MAX):
            folder = state_dir / f"slot-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            if lock := _lock(folder / "lock"):
                return Slot(folder, _id(folder / "id"), lock)
    except OSError as error:
        raise StateError(
            "SP420",
            f'the state directory "{state_dir}" can\'t be used: {error.strerror}',
            fix="make it writable, or set state_dir to another folder",
        ) from error
    raise StateError(
        "SP421", f'all {SLOTS_MAX} slots of "{state_dir}" are taken', fix="stop a worker, or use another state_dir"
    )


def _lock(path: Path) -> IO[str] | None:
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _id(path: Path) -> str:
    if path.exists() and (id := path.read_text().strip()):
        return id
    id = secrets.token_hex(8)
    part = path.with_suffix(".part")
    with part.open("w") as file:
        file.write(id)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return id
