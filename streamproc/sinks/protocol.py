"""Laws 4 and 6 as decision tables: what a sink does with a claim, a batch, a reload and an exception.

Theory of operation. A table remembers three numbers for each task, atomically with its rows:

| transaction id | holds |
|---|---|
| `<task>` | v: the table holds all rows of the task at positions below it; `FORGOTTEN` after a reset |
| `<task>#owner` | the epoch: how often the task was claimed |
| `<task>#topic` | a hash of the id of the topic that v belongs to |

**Claim.** Who wants to write for a task reads the three, raises the epoch by one and writes all three, compare-and-swap
against what it read. From then on every commit re-asserts v and epoch of *all* tasks it owns. Two commits on the same
snapshot that name the same id can't both succeed, so a commit of an older owner is refused, however late it comes.

**Expected v.** An owner knows the v of its tasks, since nobody else may change it. It looks again only when it must:
after an exception, and on a fresh handle. Then it looks at the epoch first. A zombie may well find the v that it
expects, because a claim leaves v as it is; the epoch tells.

**Outcomes.** A commit is done, refused or unknown. An exception does not say which: a connection may break after the
commit has landed. So the table is read again; each commit carries the id of its writer, and what the table says
decides. Nothing is ever committed twice because an answer was lost.

All functions are pure. What they answer is carried out in `delta/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from streamproc.sinks.base import Claim

FORGOTTEN = -1
"""v of a task that a reset has made new. (A table can't drop a transaction id.)"""


def owner_id(task: str) -> str:
    """Transaction id of a task's epoch."""
    return f"{task}#owner"


def topic_id(task: str) -> str:
    """Transaction id of the hash of a task's topic."""
    return f"{task}#topic"


def topic_hash(topic: str) -> int:
    """Stable 63-bit hash of a topic's id.

    >>> topic_hash("a") == topic_hash("a") != topic_hash("b")
    True
    """
    return int.from_bytes(sha256(topic.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class InTable:
    """What a table holds of a task: None (epoch: 0) where it holds nothing."""

    v: int | None = None
    epoch: int = 0
    topic: int | None = None


class OnClaim(Enum):
    """May the task write to this table?"""

    NEW = "table knows nothing of the task: v = start"
    RESUME = "v = that of the table; what is replayed below it is trimmed"
    RESTART = "table was left out for a while: v = start; what is between was not written"
    DELETED = "refuse: the table that state knows is not there"
    REMADE = "refuse: this is not the table that state knows"
    OTHER_TOPIC = "refuse: v belongs to a topic that has been made anew"
    LOST_STATE = "refuse: table knows the task, state does not"
    LOST_ROWS = "refuse: table is behind what was durable in it"
    OTHER_CODE = "refuse: rows of other code are ahead of the start"


def on_claim(claim: Claim, table: InTable, id: str, version: int) -> OnClaim:
    """Decide on a claim of a table with identity `id` ("": there is none) at `version`. The first row that fits counts:

    | confirmed | table | then |
    |---|---|---|
    | some v | none | DELETED |
    | of another table id | any | REMADE |
    | - | v of another topic | OTHER_TOPIC |
    | newer than `version` | any | LOST_ROWS |
    | some v | no v, or below it | LOST_ROWS |
    | - | no v | NEW |
    | - | v; `first` | LOST_STATE |
    | nothing | v < start | RESTART |
    | - | v > start; not `same_code` | OTHER_CODE |
    | - | v | RESUME |

    RESTART: state remembers every table that the task has written up to its last checkpoint. One that it does not
    remember, though the table knows the task, was no part of the topology when that checkpoint was made.
    """
    known = claim.confirmed
    if known is not None and not id:
        return OnClaim.DELETED
    if known is not None and known.id != id:
        return OnClaim.REMADE
    if table.v is not None and table.topic != topic_hash(claim.topic_id):
        return OnClaim.OTHER_TOPIC
    if known is not None and (known.version > version or table.v is None or table.v < known.v):
        return OnClaim.LOST_ROWS
    if table.v is None:
        return OnClaim.NEW
    if claim.first:
        return OnClaim.LOST_STATE
    if known is None and table.v < claim.start:
        return OnClaim.RESTART
    if table.v > claim.start and not claim.same_code:
        return OnClaim.OTHER_CODE
    return OnClaim.RESUME


class OnBatch(Enum):
    """What is to be written of a batch?"""

    SKIP = "nothing: all there"
    TRIM = "rows at positions >= v"
    WRITE = "all of it"


def on_batch(v: int, start: int, end: int) -> OnBatch:
    """Decide on a batch of positions [start, end) for a table that holds everything below `v`.

    | v | then |
    |---|---|
    | v >= end | SKIP |
    | start < v < end | TRIM |
    | v <= start | WRITE; the commit covers [v, end) |
    """
    if v >= end:
        return OnBatch.SKIP
    return OnBatch.TRIM if v > start else OnBatch.WRITE


class OnReload(Enum):
    """Is the task still ours?"""

    MINE = "go on"
    FENCED = "drop the task"


def on_reload(epoch_seen: int, my_epoch: int, v_seen: int | None, expected: int) -> OnReload:
    """Decide what a fresh handle means, when no commit of ours is under way.

    | epoch | v | then |
    |---|---|---|
    | another | any | FENCED |
    | mine | not the expected one | FENCED: altered behind our back |
    | mine | expected | MINE |
    """
    return OnReload.MINE if (epoch_seen, v_seen) == (my_epoch, expected) else OnReload.FENCED


class AfterException(Enum):
    """What has become of a commit that raised?"""

    LANDED = "it is durable"
    RETRY = "it is not there, and may be tried again"
    FENCED = "drop the task"


def after_exception(
    *, epoch_seen: int, my_epoch: int, v_seen: int | None, v_before: int, end: int, writer_seen: str, my_writer: str
) -> AfterException:
    """Decide on a task of a commit [v_before, end) that raised, from a table read afterwards.

    `writer_seen` is the writer of the last commit since that names the task, "" if there is none.

    | epoch | v | writer | then |
    |---|---|---|---|
    | another | any | any | FENCED |
    | mine | end | mine | LANDED |
    | mine | v_before | not mine | RETRY |
    | mine | else | | FENCED: altered behind our back |
    """
    if epoch_seen != my_epoch:
        return AfterException.FENCED
    if v_seen == end and writer_seen == my_writer:
        return AfterException.LANDED
    if v_seen == v_before and writer_seen != my_writer:
        return AfterException.RETRY
    return AfterException.FENCED


def after_claim(*, epoch_seen: int, epoch_read: int, writer_seen: str, my_writer: str) -> AfterException:
    """Decide on a claim that raised. Two that claim at once write the same epoch: the writer tells whose it is.

    | epoch | writer | then |
    |---|---|---|
    | as read | any | RETRY |
    | raised by one | mine | LANDED |
    | else | | FENCED: another was faster |
    """
    if epoch_seen == epoch_read:
        return AfterException.RETRY
    mine = epoch_seen == epoch_read + 1 and writer_seen == my_writer
    return AfterException.LANDED if mine else AfterException.FENCED
