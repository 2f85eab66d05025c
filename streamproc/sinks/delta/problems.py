"""What can be wrong with a table, in the user's words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from streamproc.errors import Fenced, TableError
from streamproc.position import offset_of
from streamproc.sinks.base import Claim
from streamproc.sinks.delta.log import Commit
from streamproc.sinks.protocol import InTable, OnClaim

_FULL = ("no space left", "os error 28", "os error 122", "file too large", "os error 27", "quota exceeded")
_CLOSED = ("permission denied", "os error 13", "read-only file system", "os error 30", "accessdenied", "forbidden")

_WRONG = ("not a directory", "os error 20", "nosuchbucket", "invalidaccesskeyid", "signaturedoesnotmatch")

_COLOUR = re.compile("\x1b\\[[0-9;]*m")

_RESET = "`streamproc reset` shows what it would forget and what would be read again, then does it"


def is_hopeless(error: BaseException) -> bool:
    """True if trying again at once can't help: disk full, no right to write, no such place."""
    text = str(error).lower()
    return any(sign in text for sign in _FULL + _CLOSED + _WRONG)


def unreachable(uri: str, error: BaseException, doing: str) -> TableError:
    """The lake can't be written or read. `doing` is "written" or "read"."""
    text = str(error).lower()
    if any(sign in text for sign in _FULL):
        fix = "make room (or raise the limit on file size) and start again: nothing is lost"
    elif any(sign in text for sign in _CLOSED):
        fix = "give this user the right to write there and start again: nothing is lost"
    else:
        fix = "mend the cause and start again: nothing is lost, it goes on where the table is"
    plain = _COLOUR.sub("", str(error)) or type(error).__name__
    lines = [line.strip()[:500] for line in plain.splitlines() if line.strip()]
    return TableError("SP508", f'table "{uri}" can\'t be {doing}', detail=lines[:4], fix=fix)


def stuck(uri: str, seconds: float) -> TableError:
    """A commit, or what waits behind it, does not come to an end."""
    return TableError(
        "SP508",
        f'table "{uri}" is not taking rows',
        detail=[f"a commit has been under way for {seconds:g} s or more"],
        fix="see to the lake and start again: nothing is lost, it goes on where the table is",
    )


def missing(uri: str) -> TableError:
    """There is no table."""
    return TableError("SP511", f'there is no Delta table at "{uri}"', fix="check the name and the lake")


def deleted(uri: str, detail: Iterable[str] = ()) -> TableError:
    """The table is no longer there."""
    return TableError(
        "SP506", f'table "{uri}" was deleted', detail=detail, fix=f"put it back from a backup, or: {_RESET}"
    )


def remade(uri: str, expected: str, found: str) -> TableError:
    """There is another table in its place."""
    return TableError(
        "SP506",
        f'table "{uri}" was made anew',
        detail=[f"its id is {found}, that of the table written so far was {expected}"],
        fix=f"put the old table back, or: {_RESET}",
    )


def altered(uri: str, commits: Iterable[Commit]) -> TableError:
    """Somebody changed or removed rows."""
    return TableError(
        "SP507",
        f'table "{uri}" was altered: it may lack rows or hold some twice',
        detail=[f"version {c.version}: {c.operation or 'unknown operation'}" for c in commits],
        fix=f"if you meant it, accept the table as it is or fill it anew: {_RESET}",
    )


def schema_differs(uri: str, lines: Iterable[str]) -> TableError:
    """The table is not as planned."""
    return TableError(
        "SP502",
        f'table "{uri}" exists and is not as planned',
        detail=lines,
        fix="change the topology or the table until they agree, or write to another table",
    )


def owned_by_other(uri: str, owner: str, topology: str) -> TableError:
    """Another topology writes there."""
    return TableError(
        "SP503",
        f'table "{uri}" belongs to topology "{owner}", not to "{topology}"',
        fix="write to another table; two topologies can't share one",
    )


def refused(uri: str, id: str, version: int, *, claim: Claim, table: InTable, verdict: OnClaim) -> TableError:
    """A claim that `on_claim` refuses."""
    known = claim.confirmed
    task, start = f'task "{claim.task}"', offset_of(claim.start)
    if known and verdict is OnClaim.DELETED:
        return deleted(uri, [f"state knows that it held all rows of {task} below offset {offset_of(known.v)}"])
    if known and verdict is OnClaim.REMADE:
        return remade(uri, known.id, id)
    holds = "nothing" if table.v is None else f"rows below offset {offset_of(table.v)}"
    detail = [f"the table (version {version}) holds {holds}, the task goes on at offset {start}"]
    if known:
        detail.append(f"state knows of rows below offset {offset_of(known.v)} at version {known.version}")
    if verdict is OnClaim.OTHER_TOPIC:
        message, code = f'topic of {task} was made anew: table "{uri}" holds rows of the old one', "SP504"
    elif verdict is OnClaim.LOST_STATE:
        message, code = f'{task} has lost its state: table "{uri}" holds rows of it', "SP505"
    elif verdict is OnClaim.LOST_ROWS:
        message, code = f'table "{uri}" has lost rows of {task}', "SP507"
    else:
        message, code = f'table "{uri}" is ahead of {task}, whose code has changed', "SP509"
        detail = [f"offsets {start} to {offset_of(table.v or 0) - 1} were written by other code, before a crash"]
        return TableError(code, message, detail=detail, fix=f"run the old version until it has drained, or: {_RESET}")
    return TableError(code, message, detail=detail, fix=f"bring back what is missing, or: {_RESET}")


def fenced(uri: str, tasks: Iterable[str]) -> Fenced:
    """Tasks are another's."""
    names = sorted(tasks)
    return Fenced(
        "SP701",
        f'another process owns tasks of table "{uri}"',
        tasks=names,
        detail=[f'task "{name}"' for name in names],
        fix="two jobs of one name? stop one; a task that has moved to another process goes on there",
    )
