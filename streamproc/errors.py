"""Every error a user can meet: what is wrong, the detail, what to do.

```
StreamprocError             base; `code` is stable, `fix` says what to do
├── TopologyError   SP1xx   the topology file is wrong; knows the user's file and line
├── ConfigError     SP2xx   a setting is missing, unknown or invalid
├── LogError        SP3xx   Kafka: topic missing, recreated, truncated; broker not reachable
├── StateError      SP4xx   state does not fit its topology, topic or position; a chunk is missing
├── TableError      SP5xx   a Delta table differs, belongs to another, has lost rows or can't be written
├── DataError       SP6xx   a record or a user's function made the run stop (`on_fail="stop"`)
└── Fenced          SP7xx   another process owns what this one was about to write; nothing was written
```

A retry helps for none of them as it stands, except where `fix` says so: what can be retried has been retried before
it gets here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A line of the user's file.

    Args:
        file: path as the interpreter knows it.
        line: line number, from 1.
        text: the line itself, stripped; empty if the source can't be read.
    """

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f"   {self.text}" if self.text else "")


class StreamprocError(Exception):
    """Base of all errors meant for a user.

    Args:
        code: stable code such as "SP104".
        message: what is wrong, one line, lower case, identifiers in double quotes.
        detail: further lines.
        fix: what to do about it.
        location: line of the user's file, where there is one.

    >>> print(TopologyError("SP104", 'unknown column "a"', detail=["columns here: b"], fix='did you mean "b"?'))
    error[SP104] unknown column "a"
      columns here: b
      fix: did you mean "b"?
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        detail: Iterable[str] = (),
        fix: str = "",
        location: Location | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.detail = tuple(detail)
        self.fix = fix
        self.location = location
        super().__init__(code, message)

    def __str__(self) -> str:
        lines = [f"error[{self.code}] {self.message}"]
        if self.location:
            lines.append(f"  {self.location}")
        lines += [f"  {line}" for line in self.detail]
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class TopologyError(StreamprocError):
    """The topology file is wrong.

    `more` are further errors in it that do not follow from this one: they are shown with it.
    """

    more: tuple[TopologyError, ...] = ()

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *map(str, self.more)])


class ConfigError(StreamprocError):
    """A setting is missing, unknown or invalid."""


class LogError(StreamprocError):
    """The log in Kafka is not what it must be, or can't be reached."""


class StateError(StreamprocError):
    """State does not fit its topology, topic or position."""


class TableError(StreamprocError):
    """A table differs, belongs to another, has lost rows or can't be written."""


class DataError(StreamprocError):
    """A record or a user's function made the run stop.

    `position` is that of the first record that must not take effect: what is before it is committed, nothing else.
    `skippable` is False where skipping that record would not help: it only closed the window that is at fault.
    `step` is the id of the step that raised it; the task knows it, operators do not.
    """

    def __init__(
        self, code: str, message: str, *, position: int, skippable: bool = True, step: str = "", **more: object
    ) -> None:
        super().__init__(code, message, **more)  # type: ignore[arg-type]
        self.position = position
        self.skippable = skippable
        self.step = step


class Fenced(StreamprocError):
    """Another process owns `tasks`; nothing of theirs was written by this call.

    Args:
        tasks: ids of the tasks to drop, with their state, and to ask for again.
    """

    def __init__(self, code: str, message: str, *, tasks: Iterable[str], **more: object) -> None:
        super().__init__(code, message, **more)  # type: ignore[arg-type]
        self.tasks = frozenset(tasks)
