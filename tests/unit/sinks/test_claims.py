"""Claims on real tables."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from streamproc.errors import Fenced, TableError
from streamproc.position import before
from streamproc.sinks.base import Claim
from streamproc.sinks.delta import table as table_module

if TYPE_CHECKING:
    from tests.unit.sinks.conftest import Lake

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
    refuses(lambda: lake.claim(sink, start=11), "SP507", "lost rows")
    refuses(lambda: lake.claim(sink, start=10, confirmed=replace(known, version=99)), "SP507", "version 99")


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
def test_a_claim_whose_answer_is_lost(lake: Lake, monkeypatch: pytest.MonkeyPatch, landed: bool) -> None:
    real, hits = table_module.Table.touch, []

    def touch(self: Any, *args: Any) -> None:
        if hits:
            return real(self, *args)
        hits.append(1)
        if landed:
            real(self, *args)
        raise OSError("operation timed out")

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
    assert 3 < len(lake.slept) < 20
