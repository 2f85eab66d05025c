"""Commits on real tables: their three outcomes, and owners who don't know yet that they are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from streamproc.errors import Fenced, TableError
from streamproc.position import before
from streamproc.sinks.base import Claim
from streamproc.sinks.delta import table as table_module
from streamproc.sinks.delta import verify
from streamproc.sinks.delta.committing import Part, commit
from streamproc.sinks.delta.log import Commit, Log

if TYPE_CHECKING:
    from tests.unit.sinks.conftest import Lake

Refuses = Callable[..., TableError]
Faulty = Callable[..., list[str]]


def test_rows_and_v_arrive_together(lake: Lake) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    for i in range(0, 30, 10):
        state = lake.put(sink, i, i + 10)["a"]
        assert lake.table().transaction_version("a") == state.v == before(i + 10)
        assert state.version == lake.version()
    assert lake.rows() == list(range(30))
    assert verify(lake.uri).ok


def test_all_tasks_share_a_commit_and_advance_in_it(lake: Lake) -> None:
    sink = lake.open("w1")
    sink.claim([Claim(task, "T", 0, None, True) for task in "abc"])
    sink.write("a", lake.batch("a", 0, 5), before(5), {"in": 5})
    sink.write("b", None, before(3), {"in": 3})
    version = lake.version()
    states = sink.commit().result()
    assert {task: state.v for task, state in states.items()} == {"a": before(5), "b": before(3), "c": before(0)}
    assert lake.version() == version + 1


def test_nothing_to_write_is_no_commit(lake: Lake) -> None:
    sink = lake.open("w1")
    claimed = lake.claim(sink, first=True)
    sink.write("a", lake.batch("a", 0, 0), before(9), {})
    assert sink.commit().result() == {"a": claimed}
    assert lake.version() == claimed.version


@pytest.mark.parametrize("when", ["after", "before"])
def test_an_answer_that_is_lost(lake: Lake, faulty: Faulty, when: str) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    hits = faulty(when)
    assert lake.put(sink, 0, 5)["a"].v == before(5)
    assert hits == [when]
    assert len(lake.slept) == (0 if when == "after" else 1)  # landed, or tried again
    lake.put(sink, 5, 7)
    assert lake.rows() == list(range(7))
    assert verify(lake.uri).ok


def test_retries_are_bounded_and_nothing_is_lost(
    lake: Lake, faulty: Faulty, refuses: Refuses, caplog: pytest.LogCaptureFixture
) -> None:
    sink = lake.open("w1")
    known = lake.claim(sink, first=True)
    faulty("before", times=100)
    refuses(lambda: lake.put(sink, 0, 5), "SP508", "connection reset", "nothing is lost")
    assert 25 < sum(lake.slept) < 40
    assert max(lake.slept) == 5
    assert len([r for r in caplog.records if "trying again" in r.getMessage()]) == len(lake.slept)
    refuses(lambda: sink.write("a", None, before(6), {}), "SP508")  # it stays broken
    faulty("before", times=0)
    again = lake.open("w2")
    lake.claim(again, confirmed=known)
    lake.put(again, 0, 5)
    assert lake.rows() == list(range(5))


@pytest.mark.parametrize("when", ["after", "before"])
def test_a_panic_says_as_little_as_an_answer_that_is_lost(lake: Lake, faulty: Faulty, when: str) -> None:
    """It is no Exception. Here it happens in a commit that nobody waits for."""
    sink = lake.open("w1", rows_flush=5)
    lake.claim(sink, first=True)
    hits = faulty(when, error=pl.exceptions.PanicException("a lock is poisoned"))
    sink.write("a", lake.batch("a", 0, 5), before(5), {})
    assert hits == [when]
    lake.put(sink, 5, 12)
    assert lake.rows() == list(range(12))
    assert verify(lake.uri).ok


@pytest.mark.parametrize("where", ["reload", "checkpoint"])
@pytest.mark.parametrize("own_thread", [True, False])
def test_a_panic_elsewhere_stops_the_sink(
    lake: Lake, faulty: Faulty, refuses: Refuses, monkeypatch: pytest.MonkeyPatch, where: str, own_thread: bool
) -> None:
    sink = lake.open("w1", rows_flush=5, **({"executor": None} if own_thread else {}))
    known = lake.claim(sink, first=True)

    def panic(self: Any) -> None:
        raise pl.exceptions.PanicException("a lock is poisoned")

    monkeypatch.setattr(table_module.Table, where, panic)
    sink._owner._maintenance._commits = 50
    faulty("after", times=1 if where == "reload" else 0)
    sink.write("a", lake.batch("a", 0, 5), before(5), {})
    refuses(lambda: sink.commit().result(20), "SP510", lake.uri)
    refuses(lambda: lake.put(sink, 5, 6), "SP510")
    monkeypatch.undo()
    again = lake.open("w2")
    lake.claim(again, confirmed=known)
    lake.put(again, 0, 6)
    assert lake.rows() == list(range(6))


def test_an_interrupt_is_no_outcome(lake: Lake, faulty: Faulty) -> None:
    sink = lake.open("w1")
    known = lake.claim(sink, first=True)
    faulty("after", error=KeyboardInterrupt())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            lake.put(sink, 0, 5)
    again = lake.open("w2")
    assert lake.claim(again, confirmed=known).v == before(5)


def test_a_log_that_can_t_be_read_for_a_moment(lake: Lake, monkeypatch: pytest.MonkeyPatch, faulty: Faulty) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    real, hits = Log.read, []

    def read(self: Log, version: int) -> Commit | None:
        hits.append(version)
        if len(hits) <= 3:
            raise OSError("stale file handle")
        return real(self, version)

    monkeypatch.setattr(Log, "read", read)
    faulty("after")
    assert lake.put(sink, 0, 5)["a"].v == before(5)
    assert len(lake.slept) == 3
    assert lake.rows() == list(range(5))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Generic error: No space left on device (os error 28)", "make room"),
        ("Generic error: Permission denied (os error 13)", "the right to write"),
        ("Generic S3 error: <Code>NoSuchBucket</Code>", "mend the cause"),
    ],
)
def test_what_is_hopeless_is_not_tried_again(
    lake: Lake, faulty: Faulty, refuses: Refuses, error: str, words: str
) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    hits = faulty("before", error=OSError(error), times=100)
    refuses(lambda: lake.put(sink, 0, 5), "SP508", error, words)
    assert len(hits) == 1
    assert lake.slept == []


def test_a_zombie_writes_nothing(lake: Lake) -> None:
    zombie, owner = lake.open("w1"), lake.open("w2")
    known = lake.claim(zombie, first=True)
    lake.claim(owner, confirmed=known)
    for _ in range(3):
        with pytest.raises(Fenced) as caught:
            lake.put(zombie, 0, 5)
        assert caught.value.tasks == {"a"}
    lake.put(owner, 0, 5)
    with pytest.raises(Fenced):
        lake.put(zombie, 0, 5)
    assert lake.rows() == list(range(5))
    assert verify(lake.uri).ok


def test_a_zombie_whose_v_looks_right_on_a_fresh_handle(lake: Lake, faulty: Faulty) -> None:
    """The claim left v as it was, and the zombie's exception makes it take a fresh handle: only the epoch tells."""
    zombie, owner = lake.open("w1"), lake.open("w2")
    known = lake.claim(zombie, first=True)
    faulty("before", then=lambda: lake.claim(owner, confirmed=known) and None)
    with pytest.raises(Fenced):
        lake.put(zombie, 0, 5)
    lake.put(owner, 0, 5)
    assert lake.rows() == list(range(5))


def test_a_commit_that_landed_before_another_claimed(lake: Lake, faulty: Faulty) -> None:
    """The rows of "a" are there and its new owner knows it; "b" was not claimed, its rows are not written twice."""
    sink, owner = lake.open("w1"), lake.open("w2")
    known = sink.claim([Claim(task, "T", 0, None, True) for task in "ab"])
    faulty("after", then=lambda: lake.claim(owner, confirmed=known["a"]) and None)
    sink.write("a", lake.batch("a", 0, 5), before(5), {})
    sink.write("b", lake.batch("b", 0, 5), before(5), {})
    with pytest.raises(Fenced) as caught:
        sink.commit().result()
    assert caught.value.tasks == {"a"}
    sink.release("a")
    lake.put(owner, 0, 7)
    assert lake.put(sink, 5, 8, "b")["b"].v == before(8)
    assert (lake.rows("a"), lake.rows("b")) == (list(range(7)), list(range(8)))
    assert verify(lake.uri).ok


def test_the_rows_of_the_other_tasks_are_tried_again(lake: Lake) -> None:
    sink, owner = lake.open("w1"), lake.open("w2")
    known = sink.claim([Claim(task, "T", 0, None, True) for task in "ab"])
    lake.claim(owner, confirmed=known["a"])
    sink.write("a", lake.batch("a", 0, 5), before(5), {})
    sink.write("b", lake.batch("b", 0, 5), before(5), {})
    with pytest.raises(Fenced) as caught:
        sink.commit().result()
    assert caught.value.tasks == {"a"}
    assert lake.rows("b") == []
    sink.release("a")
    assert set(sink.commit().result()) == {"b"}
    assert (lake.rows("a"), lake.rows("b")) == ([], list(range(5)))


def test_the_handle_does_not_jump_over_a_claim(lake: Lake) -> None:
    """ "a" moves on while only "b" has rows: all owned tasks are re-asserted, so the jump is refused."""
    sink, owner = lake.open("w1"), lake.open("w2")
    known = sink.claim([Claim(task, "T", 0, None, True) for task in "ab"])
    lake.claim(owner, confirmed=known["a"])
    lake.put(owner, 0, 5)
    with pytest.raises(Fenced):
        lake.put(sink, 0, 5, "b")
    assert lake.rows("b") == []
    with pytest.raises(Fenced):
        sink.write("a", lake.batch("a", 0, 5), before(5), {})
    sink.release("a")
    assert sink.commit().result()["b"].v == before(5)
    assert (lake.rows("a"), lake.rows("b")) == (list(range(5)), list(range(5)))


def test_a_task_that_is_lost_and_has_nothing_to_write_holds_nobody_up(lake: Lake) -> None:
    """The caller hears of tasks that it writes only: what it is told to be durable must be."""
    sink, owner = lake.open("w1"), lake.open("w2")
    known = sink.claim([Claim(task, "T", 0, None, True) for task in "ab"])
    lake.claim(owner, "b", confirmed=known["b"])
    owner = sink._owner
    states = commit(owner, {"a": Part(before(5), {}, [lake.batch("a", 0, 5)])})
    assert states["a"].v == before(5)
    assert (lake.rows("a"), owner.lost) == (list(range(5)), {"b"})


def test_two_owners_of_different_tasks_don_t_disturb_each_other(lake: Lake) -> None:
    one, two = lake.open("w1"), lake.open("w2")
    lake.claim(one, "a", first=True)
    lake.claim(two, "b", first=True)
    for i in range(20):
        lake.put(one, i, i + 1, "a")
        lake.put(two, i, i + 1, "b")
    assert lake.rows("a") == lake.rows("b") == list(range(20))
    assert verify(lake.uri).ok


def test_claiming_more_finds_what_was_lost_meanwhile(lake: Lake) -> None:
    sink, owner = lake.open("w1"), lake.open("w2")
    known = lake.claim(sink, "a", first=True)
    lake.claim(owner, "a", confirmed=known)
    assert lake.claim(sink, "b", first=True).epoch == 1
    with pytest.raises(Fenced) as caught:
        lake.put(sink, 0, 5, "b")
    assert caught.value.tasks == {"a"}
    sink.commit().result()  # of the other task nothing is lost
    assert lake.rows("b") == list(range(5))


def test_a_zombie_finds_out_at_its_maintenance(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    zombie, owner = lake.open("w1"), lake.open("w2")
    known = lake.claim(zombie, first=True)
    lake.claim(owner, confirmed=known)
    zombie._owner._maintenance._commits = 50
    zombie.commit().result()  # nothing to write
    with pytest.raises(Fenced):
        zombie.write("a", lake.batch("a", 0, 5), before(5), {})


def test_a_released_task_is_forgotten_with_its_rows(lake: Lake) -> None:
    sink, other = lake.open("w1"), lake.open("w2")
    known = sink.claim([Claim(task, "T", 0, None, True) for task in "ab"])
    sink.write("a", lake.batch("a", 0, 5), before(5), {})
    sink.release("a")
    lake.claim(other, "a", confirmed=known["a"])
    assert set(lake.put(sink, 0, 5, "b")) == {"b"}
    assert lake.rows("a") == []
    back = lake.claim(sink, "a", confirmed=known["a"])
    assert back.epoch == 3
    lake.put(sink, 0, 2, "a")
    assert lake.rows("a") == [0, 1]


def test_counters_are_in_the_commit(lake: Lake) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    lake.put(sink, 0, 5)
    lake.put(sink, 5, 9)
    part = lake.table().history(1)[0]["streamproc"]["tasks"]["a"]
    assert part == {"from": before(5), "to": before(9), "rows": 4, "counters": {"in": 9}}
    assert verify(lake.uri).counters == {"a": {"in": 9}}
