"""The decision tables, exhaustively over small orderings, against the laws said in other words."""

from __future__ import annotations

from itertools import product

import pytest

from streamproc.sinks.base import Claim, TableState
from streamproc.sinks.protocol import (
    AfterException,
    InTable,
    OnBatch,
    OnClaim,
    OnReload,
    after_claim,
    after_exception,
    on_batch,
    on_claim,
    on_reload,
    topic_hash,
)

POINTS = range(5)


def test_a_batch_leaves_each_position_in_the_table_once() -> None:
    for v, start, end in product(POINTS, POINTS, POINTS):
        if start >= end:
            continue
        held = set(range(v))
        decision = on_batch(v, start, end)
        batch = set(range(start, end))
        kept = {OnBatch.SKIP: set(), OnBatch.TRIM: {p for p in batch if p >= v}, OnBatch.WRITE: batch}[decision]
        assert not kept & held, (v, start, end)
        assert batch <= kept | held, (v, start, end)
        assert (decision is OnBatch.SKIP) == (not kept)


def test_an_empty_range_is_skipped_or_writes_nothing() -> None:
    assert on_batch(3, 2, 2) is OnBatch.SKIP
    assert on_batch(1, 2, 2) is OnBatch.WRITE  # no rows can be in it


def test_only_who_has_epoch_and_v_goes_on() -> None:
    for epoch, mine, v, expected in product(range(3), range(3), (None, *POINTS), POINTS):
        assert (on_reload(epoch, mine, v, expected) is OnReload.MINE) == (epoch == mine and v == expected)


def test_after_an_exception() -> None:
    for epoch, v, writer, before, end in product((1, 2), (None, *POINTS), ("", "me", "you"), POINTS, POINTS):
        if end < before:
            continue
        found = after_exception(
            epoch_seen=epoch, my_epoch=1, v_seen=v, v_before=before, end=end, writer_seen=writer, my_writer="me"
        )
        if epoch == 2:
            assert found is AfterException.FENCED  # whatever v says
        elif found is AfterException.LANDED:
            assert (v, writer) == (end, "me")
        elif found is AfterException.RETRY:
            assert v == before
            assert writer != "me"
        else:
            assert v not in (before, end) or (v == end) != (writer == "me") or v == before


def test_a_landed_commit_is_never_tried_again_and_one_that_is_not_there_never_taken_for_done() -> None:
    for before, end in product(POINTS, POINTS):
        if before > end:
            continue
        there = after_exception(
            epoch_seen=1, my_epoch=1, v_seen=end, v_before=before, end=end, writer_seen="me", my_writer="me"
        )
        absent = after_exception(
            epoch_seen=1, my_epoch=1, v_seen=before, v_before=before, end=end, writer_seen="", my_writer="me"
        )
        assert (there, absent) == (AfterException.LANDED, AfterException.RETRY)


def test_of_two_claims_with_the_same_epoch_one_has_landed() -> None:
    for seen, writer in product(range(4), ("me", "you")):
        mine = after_claim(epoch_seen=seen, epoch_read=1, writer_seen=writer, my_writer="me")
        yours = after_claim(epoch_seen=seen, epoch_read=1, writer_seen=writer, my_writer="you")
        if seen == 1:
            assert {mine, yours} == {AfterException.RETRY}
        else:
            assert [mine, yours].count(AfterException.LANDED) == (1 if seen == 2 else 0)
            assert AfterException.RETRY not in (mine, yours)


TOPIC = topic_hash("T")


@pytest.mark.parametrize(
    ("table", "confirmed", "first", "same_code", "expected"),
    [
        (InTable(), None, True, True, OnClaim.NEW),
        (InTable(), None, False, True, OnClaim.NEW),
        (InTable(None, 3, TOPIC), None, True, True, OnClaim.NEW),  # after a reset
        (InTable(5, 1, TOPIC), None, True, True, OnClaim.LOST_STATE),
        (InTable(5, 1, TOPIC), None, False, True, OnClaim.RESUME),
        (InTable(5, 1, TOPIC), TableState("id", 7, 5, 1), False, True, OnClaim.RESUME),
        (InTable(4, 1, TOPIC), TableState("id", 7, 4, 1), False, True, OnClaim.RESUME),  # a quiet table
        (InTable(4, 1, TOPIC), None, False, True, OnClaim.RESTART),  # a table that was left out for a while
        (InTable(4, 1, TOPIC), None, False, False, OnClaim.RESTART),
        (InTable(4, 1, TOPIC), None, True, True, OnClaim.LOST_STATE),
        (InTable(4, 1, topic_hash("U")), None, False, True, OnClaim.OTHER_TOPIC),
        (InTable(4, 1, TOPIC), TableState("id", 7, 5, 1), False, True, OnClaim.LOST_ROWS),
        (InTable(), TableState("id", 7, 5, 1), False, True, OnClaim.LOST_ROWS),
        (InTable(5, 1, TOPIC), TableState("id", 9, 5, 1), False, True, OnClaim.LOST_ROWS),  # an older version of it
        (InTable(5, 1, TOPIC), TableState("other", 7, 5, 1), False, True, OnClaim.REMADE),
        (InTable(5, 1, topic_hash("U")), None, False, True, OnClaim.OTHER_TOPIC),
        (InTable(5, 1, topic_hash("U")), TableState("id", 7, 5, 1), False, True, OnClaim.OTHER_TOPIC),
        (InTable(6, 1, TOPIC), TableState("id", 7, 5, 1), False, True, OnClaim.RESUME),
        (InTable(6, 1, TOPIC), TableState("id", 7, 5, 1), False, False, OnClaim.OTHER_CODE),
        (InTable(5, 1, TOPIC), TableState("id", 7, 5, 1), False, False, OnClaim.RESUME),
    ],
)
def test_claims(table: InTable, confirmed: TableState | None, first: bool, same_code: bool, expected: OnClaim) -> None:
    assert on_claim(Claim("a", "T", 5, confirmed, first, same_code), table, "id", 8) is expected


def test_a_missing_table_is_new_only_to_who_never_wrote_there() -> None:
    known = TableState("id", 7, 5, 1)
    for first, same_code in product((True, False), (True, False)):
        for confirmed, expected in ((None, OnClaim.NEW), (known, OnClaim.DELETED)):
            assert on_claim(Claim("a", "T", 5, confirmed, first, same_code), InTable(), "", -1) is expected


def test_no_claim_is_accepted_on_a_table_that_lacks_what_state_relies_on() -> None:
    for v, known, start, first in product((None, *POINTS), (None, *POINTS), POINTS, (True, False)):
        confirmed = None if known is None else TableState("id", 1, known, 1)
        verdict = on_claim(Claim("a", "T", start, confirmed, first), InTable(v, 1, TOPIC), "id", 1)
        if verdict is OnClaim.RESUME:
            assert v is not None
            assert v >= (start if known is None else known)
            assert not first
        if verdict is OnClaim.NEW:
            assert v is None
            assert known is None
        if verdict is OnClaim.RESTART:
            assert known is None
            assert v is not None
            assert v < start
            assert not first


def test_the_hash_of_a_topic_is_positive_63_bits_and_stable() -> None:
    assert topic_hash("T") == 8293760814184528278  # tables hold it: it may never change
    assert all(0 <= topic_hash(str(i)) < 2**63 for i in range(1000))
