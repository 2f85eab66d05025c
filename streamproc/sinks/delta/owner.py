"""Who owns which tasks of one table, and what every commit of an owner says. Everything here happens on one thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from streamproc.sinks.base import TableState
from streamproc.sinks.delta.handle import FORMAT
from streamproc.sinks.delta.maintenance import Maintenance
from streamproc.sinks.delta.table import Table
from streamproc.sinks.protocol import OnReload, on_reload, owner_id


@dataclass(slots=True)
class Owned:
    """A task that is ours: the epoch that we raised it to, and v as we last read or wrote it."""

    epoch: int
    v: int


class Owner:
    """Owner of some tasks in a table; `claiming` adds tasks, `committing` rows of them.

    Args:
        table: nobody else uses it.
        writer: id of this writer, in each commit.
    """

    def __init__(self, table: Table, writer: str) -> None:
        self.table = table
        self.writer = writer
        self.owned: dict[str, Owned] = {}
        self.lost: set[str] = set()
        """Tasks that turned out to be another's, until they are released or claimed again."""
        self._looked_at = table.version
        self._maintenance = Maintenance()

    def states(self, tasks: Iterable[str]) -> dict[str, TableState]:
        """What is durable of those tasks that are ours."""
        return {
            task: TableState(self.table.id, self._looked_at, self.owned[task].v, self.owned[task].epoch)
            for task in tasks
            if task in self.owned
        }

    def release(self, tasks: Iterable[str]) -> None:
        """Forget tasks."""
        for task in tasks:
            self.owned.pop(task, None)
            self.lost.discard(task)

    def lose(self, tasks: Iterable[str]) -> None:
        """Drop tasks that are another's by now."""
        for task in tasks:
            del self.owned[task]
            self.lost.add(task)

    def reload(self) -> None:
        """Take a fresh handle. Raises as `Table.reload` and `look`."""
        self.table.reload()
        self._recheck()
        self.look()

    def landed(self, owned: dict[str, Owned], before: int) -> None:
        """A commit on a handle at `before` has made us own this. Unless the handle moved by just that one, look at what
        else it has jumped over."""
        self.owned = owned
        self.count()
        if self.table.version != before + 1:
            self._recheck()
        self.look(own=before + 1)

    def look(self, own: int | None = None) -> None:
        """Look at commits up to the handle's version; `own` needs no look if it is the only one.

        Raises:
            TableError: somebody else altered rows.
        """
        version = self.table.version
        if self.owned and (own is None or version != own or self._looked_at != own - 1):
            self.table.check_foreign(self._looked_at + 1, version)
        self._looked_at = version

    def count(self) -> None:
        """Count a commit, see `maintain`."""
        self._maintenance.committed()

    def maintain(self) -> None:
        """Checkpoint the log, if it is time, and go on with a fresh handle."""
        if self._maintenance.is_due:
            self._maintenance.run(self.table)
            self.reload()

    def metadata(self, owned: Mapping[str, Owned]) -> dict[str, Any]:
        """What each commit says of itself."""
        epochs = {task: o.epoch for task, o in owned.items()}
        return {"format": FORMAT, "topology": self.table.topology, "writer": self.writer, "epochs": epochs}

    def _recheck(self) -> None:
        """Drop the tasks that are no longer ours, as of the handle."""
        seen = {task: self.table.read(task) for task in self.owned}
        self.lose(
            [
                task
                for task, owned in self.owned.items()
                if on_reload(seen[task].epoch, owned.epoch, seen[task].v, owned.v) is OnReload.FENCED
            ]
        )


def txns(owned: Mapping[str, Owned]) -> dict[str, int]:
    """Transaction ids that each commit sets: v and epoch of all tasks."""
    return {task: o.v for task, o in owned.items()} | {owner_id(task): o.epoch for task, o in owned.items()}
