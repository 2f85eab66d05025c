"""Proves from the Delta log alone that a table holds each position of each task once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deltalake.exceptions import TableNotFoundError

from streamproc.errors import TableError
from streamproc.position import offset_of
from streamproc.sinks.delta import problems
from streamproc.sinks.delta.log import Commit, Log
from streamproc.sinks.protocol import FORGOTTEN, owner_id


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must not be.

    Args:
        version: of the commit where it shows.
        kind: "gap", "overlap", "regression", "epoch", "file twice", "rows", "log" or "altered"; or "missing": the
            table, or a task that other tables of its topology know.
        task: id of the task, "" if it concerns the table.
        text: all of it in one line.
    """

    version: int
    kind: str
    task: str
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Positions that a task went past while the table was no part of its topology.

    Args:
        version: of the claim that went on behind them.
        task: id of the task.
        start: its v before.
        end: its v since.
    """

    version: int
    task: str
    start: int
    end: int

    def __str__(self) -> str:
        span = f"from {_place(self.start)} to {_place(self.end)}"
        return f"version {self.version}: {self.task}: {span} not written by this topology"


@dataclass(frozen=True, slots=True)
class Verification:
    """What the log of a table says.

    Args:
        since: first version that is spoken for; above 0 if earlier log entries have been cleaned.
        version: last version.
        commits: versions read, those of others included.
        tasks: v of each task, None for one that a reset has forgotten.
        rows: rows that the tasks' commits wrote in this time.
        problems: by version; empty if all is well.
        counters: newest counters of each task.
        restarts: what tasks have left out, by version; no problem.
    """

    since: int
    version: int
    commits: int
    tasks: Mapping[str, int | None]
    rows: int
    problems: tuple[Problem, ...]
    counters: Mapping[str, Mapping[str, Any]]
    restarts: tuple[LeftOut, ...] = ()

    @property
    def ok(self) -> bool:
        """True if there is no problem."""
        return not self.problems

    def count(self, kind: str) -> int:
        """Problems of a kind."""
        return sum(problem.kind == kind for problem in self.problems)


def verify(uri: str, storage_options: Mapping[str, str] | None = None) -> Verification:
    """Check the log of the table at `uri`.

    Raises:
        TableError: there is no Delta table, or its log can't be read.
    """
    try:
        log = Log(uri, storage_options)
        versions = log.versions()
        if not versions:
            raise problems.missing(uri)
        commits = (commit for version in versions if (commit := log.read(version)) is not None)
        return check(commits)
    except TableNotFoundError as error:
        raise problems.missing(uri) from error
    except (OSError, ValueError, KeyError) as error:
        raise TableError("SP508", f'the log of table "{uri}" can\'t be read', detail=[str(error)]) from error


def counters(uri: str, storage_options: Mapping[str, str] | None = None) -> Mapping[str, Mapping[str, Any]]:
    """Newest cumulative counters of each task, as commits carry them. Raises as `verify`."""
    return verify(uri, storage_options).counters


def check(commits: Iterable[Commit]) -> Verification:
    """The same for commits in the order of their versions."""
    state = _State()
    for commit in commits:
        state.follow(commit)
    problems = tuple(sorted(state.problems, key=lambda problem: problem.version))
    return Verification(
        state.since,
        state.version,
        state.commits,
        state.v,
        state.rows,
        problems,
        state.counters,
        tuple(state.restarts),
    )


@dataclass
class _State:
    since: int = 0
    version: int = -1
    commits: int = 0
    rows: int = 0
    v: dict[str, int | None] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    counters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    restarts: list[LeftOut] = field(default_factory=list)

    def follow(self, commit: Commit) -> None:
        if self.commits == 0:
            self.since = commit.version
        elif commit.version != self.version + 1:
            self._problem(commit, "log", "", f"versions {self.version + 1} to {commit.version - 1} are missing")
        self.version = commit.version
        self.commits += 1
        self._files(commit)
        metadata = commit.metadata
        if "reset" in metadata:
            self._reset(metadata["reset"])
        elif not metadata and commit.alters(""):
            self._problem(commit, "altered", "", f"{commit.operation or 'a commit'} of somebody else altered rows")
        self._epochs(commit)
        self._restarts(commit)
        for task, v in metadata.get("v", {}).items():
            self._range(commit, task, v, v)
        for task, part in metadata.get("tasks", {}).items():
            self._range(commit, task, part["from"], part["to"])
            self.counters[task] = part.get("counters", {})
        if metadata.get("tasks"):
            self._rows(commit)
        self._txns(commit)

    def _range(self, commit: Commit, task: str, start: int, end: int) -> None:
        expected = self.v.get(task)
        span = f"{_place(start)} to {_place(end)}"
        if end < start:
            self._problem(commit, "regression", task, f"goes back: {span}")
        elif expected is not None and start > expected:
            self._problem(
                commit, "gap", task, f"writes {span}, but {_place(expected)} was reached: the rest is missing"
            )
        elif expected is not None and start < expected:
            kind = "regression" if end < expected or start == end else "overlap"
            self._problem(commit, kind, task, f"writes {span}, but {_place(expected)} was reached already")
        self.v[task] = max(end, expected or 0)

    def _restarts(self, commit: Commit) -> None:
        """From where the task was before; from then on its positions are those of the claim."""
        for task, v in commit.metadata.get("restarts", {}).items():
            self._range(commit, task, v, v)
            end = commit.metadata["v"][task]
            self.restarts.append(LeftOut(commit.version, task, v, end))
            self.v[task] = end

    def _reset(self, tasks: Mapping[str, int | None]) -> None:
        self.v.update(tasks)
        self.problems = [problem for problem in self.problems if problem.kind != "altered"]

    def _epochs(self, commit: Commit) -> None:
        for task, epoch in commit.metadata.get("epochs", {}).items():
            last = self.epochs.get(task, 0)
            if epoch < last:
                self._problem(commit, "epoch", task, f"was written by owner {epoch}, after owner {last}")
            self.epochs[task] = max(epoch, last)

    def _txns(self, commit: Commit) -> None:
        """What the table remembers must be what the commit says of itself."""
        claimed, written = commit.metadata.get("v", {}), commit.metadata.get("tasks", {})
        for task in commit.metadata.get("epochs", {}):
            said = claimed.get(task, written[task]["to"] if task in written else self.v.get(task))
            stored = commit.txns.get(task)
            if stored is None or owner_id(task) not in commit.txns:
                self._problem(commit, "regression", task, "the commit does not re-assert position and owner")
            elif (None if stored == FORGOTTEN else stored) != said and said is not None:
                self._problem(commit, "regression", task, f"the table remembers {_place(stored)}, not {_place(said)}")

    def _files(self, commit: Commit) -> None:
        for path in commit.removed:
            self.files.discard(path)
        for file in commit.added:
            if file.path in self.files:
                self._problem(commit, "file twice", "", f"adds a file that is in the table already: {file.path}")
            self.files.add(file.path)

    def _rows(self, commit: Commit) -> None:
        said = sum(int(part["rows"]) for part in commit.metadata["tasks"].values())
        self.rows += said
        counts = [file.rows for file in commit.added]
        found = {sum(rows for rows in counts if rows is not None)} if None not in counts else set()
        found |= {commit.rows_written} if commit.rows_written is not None else set()
        for rows in found - {said}:
            self._problem(commit, "rows", "", f"says that it wrote {said} rows, its files hold {rows}")

    def _problem(self, commit: Commit, kind: str, task: str, text: str) -> None:
        of = f" {task}:" if task else ""
        self.problems.append(Problem(commit.version, kind, task, f"version {commit.version}:{of} {text}"))


def _place(position: int) -> str:
    """A position for people: the offset, and the marker if it is not on a record's border.

    >>> _place(7 << 20), _place((7 << 20) + 3)
    ('offset 7', 'offset 7 + 3')
    """
    rest = position - (offset_of(position) << 20)
    return f"offset {offset_of(position)}" + (f" + {rest}" if rest else "")
