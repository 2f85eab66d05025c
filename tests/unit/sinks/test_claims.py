"""Claims on real tables."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import DeltaTable

from streamproc.errors import Fenced, TableError
from streamproc.position import before
from streamproc.sinks.base import Claim
from streamproc.sinks.delta import table as table_module
from streamproc.sinks.delta import verify

if TYPE_CHECKING:
    from tests.unit.sinks.conftest import Lake

Panic = pl.exceptions.PanicException
"""Of Rust: a BaseException."""

Refuses = Callable[..., TableError]


def test_a_new_task_starts_where_it_says(lake: Lake) -> None:
    sink = lake.open("w1")
    state = lake.claim(sink, start=7, first=True)
    table = lake.table()
    assert (state.v, state.epoch, state.version, state.id) == (before(7), 1, table.version(), table.metadata().id)
    assert table.transaction_version("a") == before(7)
    assert table.transaction_version("a#owner") == 1


def test_several_tasks_are_claimed_in_one_commit(lake: Lake) -> None:
    sink = lake.open("w1")
    states = sink.claim([Claim(f"t{i}", "T", before(i), None, True) for i in range(5)])
    assert [states[f"t{i}"].v for i in range(5)] == [before(i) for i in range(5)]
    assert lake.version() == 1
    assert sink.claim([]) == {}


def test_each_owner_raises_the_epoch_and_finds_v(lake: Lake) -> None:
    first = lake.open("w1")
    lake.claim(first, first=True)
    known = lake.put(first, 0, 10)["a"]
    second = lake.claim(lake.open("w2"), start=10, confirmed=known)
    assert (second.v, second.epoch) == (before(10), 2)


def test_a_table_ahead_of_the_checkpoint_trims_what_is_replayed(lake: Lake) -> None:
    crashed = lake.open("w1")
    confirmed = lake.claim(crashed, first=True)
    lake.put(crashed, 0, 10)
    sink = lake.open("w2")
    assert lake.claim(sink, start=0, confirmed=confirmed).v == before(10)
    version = lake.version()
    lake.put(sink, 0, 5)
    assert lake.version() == version  # skipped: all there
    assert lake.put(sink, 5, 12)["a"].v == before(12)  # trimmed
    lake.put(sink, 12, 15)
    assert lake.rows() == list(range(15))


def test_a_quiet_table_catches_up_with_its_next_rows(lake: Lake) -> None:
    sink = lake.open("w1")
    known = lake.claim(sink, first=True)
    sink.write("a", None, before(50), {})
    assert sink.commit().result()["a"].v == before(0)
    again = lake.open("w2")
    assert lake.claim(again, start=50, confirmed=known).v == before(0)
    assert lake.put(again, 50, 60)["a"].v == before(60)


def test_state_lost(lake: Lake, refuses: Refuses) -> None:
    first = lake.open("w1")
    lake.claim(first, first=True)
    lake.put(first, 0, 10)
    refuses(lambda: lake.claim(lake.open("w2"), first=True), "SP505", '"a"', "lost its state", "streamproc reset")


def test_rows_lost(lake: Lake, refuses: Refuses) -> None:
    first = lake.open("w1")
    lake.claim(first, first=True)
    known = lake.put(first, 0, 10)["a"]
    sink = lake.open("w2")
    refuses(
        lambda: lake.claim(sink, start=20, confirmed=replace(known, v=before(20))), "SP507", "lost rows", "offset 20"
    )
    refuses(lambda: lake.claim(sink, "b", start=20, confirmed=known), "SP507", "lost rows", '"b"')
    refuses(lambda: lake.claim(sink, start=10, confirmed=replace(known, version=99)), "SP507", "version 99")


def test_a_table_that_was_left_out_goes_on_where_the_task_is(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    before_it = lake.open("w1")
    lake.claim(before_it, first=True)
    lake.put(before_it, 0, 3)
    back = lake.open("w2")
    state = lake.claim(back, start=6, same_code=False)
    assert (state.v, state.epoch) == (before(6), 2)
    assert lake.table().transaction_version("a") == before(6)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "a goes on at offset 6" in line
    assert "from offset 3" in line
    known = lake.put(back, 6, 9)["a"]
    assert lake.rows() == [0, 1, 2, 6, 7, 8]
    found = verify(lake.uri)
    assert (found.problems, found.tasks) == ((), {"a": before(9)})
    assert [(r.task, r.start, r.end, r.version) for r in found.restarts] == [("a", before(3), before(6), 3)]
    with pytest.raises(Fenced):
        lake.put(before_it, 3, 6)
    assert lake.claim(lake.open("w3"), start=9, confirmed=known).v == before(9)  # and that is that
    assert len(verify(lake.uri).restarts) == 1


def test_only_the_tasks_that_were_left_out_start_anew(lake: Lake) -> None:
    first = lake.open("w1")
    first.claim([Claim(task, "T", 0, None, True) for task in "ab"])
    lake.put(first, 0, 9, "a")
    lake.put(first, 0, 3, "b")
    states = lake.open("w2").claim([Claim(task, "T", before(6), None, False) for task in "abc"])
    assert {task: state.v for task, state in states.items()} == {"a": before(9), "b": before(6), "c": before(6)}
    assert [r.task for r in verify(lake.uri).restarts] == ["b"]


def test_a_check_says_what_the_claim_would_and_changes_nothing(lake: Lake, refuses: Refuses) -> None:
    first = lake.open("w1")
    lake.claim(first, first=True)
    known = lake.put(first, 0, 10)["a"]
    sink, version = lake.open("w2"), lake.version()
    refused = {
        "SP505": Claim("a", "T", 0, None, True),
        "SP507": Claim("a", "T", before(20), replace(known, v=before(20)), False),
        "SP504": Claim("a", "U", before(10), known, False),
        "SP506": Claim("a", "T", before(10), replace(known, id="another"), False),
        "SP509": Claim("a", "T", before(9), known, False, same_code=False),
    }
    for code, claim in refused.items():
        refuses(lambda claim=claim: sink.check([Claim("b", "T", 0, None, True), claim]), code)
        refuses(lambda claim=claim: sink.claim([Claim("b", "T", 0, None, True), claim]), code)
    sink.check([Claim("a", "T", before(10), known, False), Claim("b", "T", 0, None, True)])
    sink.check([])
    assert lake.version() == version
    lake.put(first, 10, 12)  # it is still the owner's
    assert lake.rows() == list(range(12))


def test_a_check_sees_what_others_did_since_the_table_was_opened(lake: Lake, refuses: Refuses) -> None:
    sink, other = lake.open("w1"), lake.open("w2")
    known = lake.claim(other, first=True)
    refuses(lambda: sink.check([Claim("a", "T", 0, None, True)]), "SP505")
    lake.put(other, 0, 5)
    lake.table().delete("n = 3")
    refuses(lambda: sink.check([Claim("a", "T", before(5), known, False)]), "SP507", "DELETE")


def test_a_check_keeps_what_is_owned_and_finds_what_is_lost(lake: Lake) -> None:
    sink, other = lake.open("w1"), lake.open("w2")
    known = sink.claim([Claim(task, "T", 0, None, True) for task in "ab"])
    sink.write("a", lake.batch("a", 0, 5), before(5), {})
    lake.claim(other, "b", confirmed=known["b"])
    sink.check([Claim("c", "T", 0, None, True)])
    with pytest.raises(Fenced) as caught:
        sink.write("a", lake.batch("a", 5, 7), before(7), {})
    assert caught.value.tasks == {"b"}
    sink.release("b")
    sink.commit().result()
    assert lake.rows("a") == list(range(7))  # what was written when it was told is taken


def test_a_task_that_was_claimed_and_never_written_is_released(lake: Lake) -> None:
    """A takeover that fails at another table: the task goes elsewhere, and those that stay are not disturbed."""
    sink, other = lake.open("w1"), lake.open("w2")
    lake.claim(sink, "a", first=True)
    known = lake.claim(sink, "b", first=True)
    sink.release("b")
    sink.release("never claimed")
    lake.claim(other, "b", confirmed=known)
    lake.put(other, 0, 3, "b")
    assert set(lake.put(sink, 0, 5, "a")) == {"a"}
    with pytest.raises(Fenced):
        lake.put(sink, 0, 3, "b")
    assert (lake.rows("a"), lake.rows("b")) == (list(range(5)), list(range(3)))


@pytest.mark.parametrize("tasks", ["a", "ab"])
def test_a_claim_that_fails_owns_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch, tasks: str) -> None:
    """Also of tasks that nobody was faster with, and of those that were ours before."""
    sink, other = lake.open("w1"), lake.open("w2")
    known = sink.claim([Claim(task, "T", 0, None, True) for task in "ac"])
    sink.write("a", lake.batch("a", 0, 5), before(5), {})
    real = DeltaTable.update_incremental

    def update(self: DeltaTable) -> None:
        monkeypatch.setattr(DeltaTable, "update_incremental", real)
        lake.claim(other, "a")
        real(self)

    monkeypatch.setattr(DeltaTable, "update_incremental", update)
    with pytest.raises(Fenced):
        sink.claim([Claim(task, "T", 0, known.get(task), False) for task in tasks])
    assert set(sink._owner.owned) == {"c"}
    with pytest.raises(Fenced):
        lake.put(sink, 5, 6, "a")
    lake.claim(other, "b")
    assert set(lake.put(sink, 0, 5, "c")) == {"c"}
    assert (lake.rows("a"), lake.rows("c")) == ([], list(range(5)))


def test_another_table_in_its_place(lake: Lake, refuses: Refuses) -> None:
    sink = lake.open("w1")
    known = lake.claim(sink, first=True)
    refuses(lambda: lake.claim(sink, confirmed=replace(known, id="another")), "SP506", "made anew", "another")


def test_topic_made_anew(lake: Lake, refuses: Refuses) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    known = lake.put(sink, 0, 10)["a"]
    refuses(lambda: lake.claim(sink, start=10, confirmed=known, topic="U"), "SP504", "made anew", "streamproc reset")


def test_other_code_may_not_follow_a_crash(lake: Lake, refuses: Refuses) -> None:
    crashed = lake.open("w1")
    lake.claim(crashed, first=True)
    known = lake.put(crashed, 0, 10)["a"]
    lake.put(crashed, 10, 13)
    sink = lake.open("w2")
    refuses(
        lambda: lake.claim(sink, start=10, confirmed=known, same_code=False), "SP509", "offsets 10 to 12", "old version"
    )
    assert lake.claim(sink, start=13, confirmed=known, same_code=False).v == before(13)


def test_of_many_claims_at_once_all_get_an_epoch_of_their_own_or_are_fenced(lake: Lake) -> None:
    sinks = [lake.open(f"w{i}", executor=None, sleep=lambda _: None) for i in range(4)]

    def claim(sink: Any) -> int:
        try:
            return lake.claim(sink).epoch
        except Fenced:
            return 0

    with ThreadPoolExecutor(4) as pool:
        epochs = [epoch for epoch in pool.map(claim, sinks) if epoch]
    assert epochs
    assert sorted(epochs) == list(range(1, len(epochs) + 1))
    assert lake.table().transaction_version("a#owner") == len(epochs)


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("error", [OSError("operation timed out"), Panic("a lock is poisoned")])
def test_a_claim_whose_answer_is_lost(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, landed: bool, error: BaseException
) -> None:
    real, hits = table_module.Table.touch, []

    def touch(self: Any, *args: Any) -> None:
        if hits:
            return real(self, *args)
        hits.append(1)
        if landed:
            real(self, *args)
        raise error

    monkeypatch.setattr(table_module.Table, "touch", touch)
    sink = lake.open("w1")
    assert lake.claim(sink, first=True).epoch == 1
    assert (len(lake.slept), lake.version()) == (0 if landed else 1, 1)
    lake.put(sink, 0, 3)
    assert lake.rows() == [0, 1, 2]


def test_a_claim_that_another_was_faster_with(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = lake.open("slow"), lake.open("fast")
    real = table_module.Table.touch

    def touch(self: Any, *args: Any) -> None:
        monkeypatch.setattr(table_module.Table, "touch", real)
        lake.claim(fast, first=True)
        real(self, *args)

    monkeypatch.setattr(table_module.Table, "touch", touch)
    with pytest.raises(Fenced) as caught:
        lake.claim(slow, first=True)
    assert caught.value.tasks == {"a"}
    lake.put(fast, 0, 3)
    assert lake.rows() == [0, 1, 2]


def test_a_claim_that_is_overtaken_before_it_is_read_back(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handle then stands beyond the other's claim, so the compare-and-swap would not refuse the next commit."""
    slow, fast = lake.open("slow"), lake.open("fast")
    real = DeltaTable.update_incremental

    def update(self: DeltaTable) -> None:
        monkeypatch.setattr(DeltaTable, "update_incremental", real)
        lake.claim(fast)
        real(self)

    monkeypatch.setattr(DeltaTable, "update_incremental", update)
    with pytest.raises(Fenced):
        lake.claim(slow, first=True)
    lake.put(fast, 0, 3)
    assert lake.rows() == [0, 1, 2]


def test_claims_that_never_get_through_end(lake: Lake, monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> None:
    def touch(self: Any, *args: Any) -> None:
        raise OSError("connection refused")

    sink = lake.open("w1")
    monkeypatch.setattr(table_module.Table, "touch", touch)
    refuses(lambda: lake.claim(sink, first=True), "SP508", lake.uri, "connection refused")
    assert 25 < sum(lake.slept) < 40
