"""`with_watermark`: which rows it believes, and the running watermark record by record."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc import position
from streamproc.operators.batch import NEVER, TIME
from streamproc.operators.watermark import WithWatermark
from tests.unit.operators.driving import FAR, Chain, S, Source, at, cuts, near_edges, several

SCHEMA = {"time": TIME, "n": pl.Int64()}


def source(*records: list[int | None], timestamps: list[int] | None = None) -> Source:
    rows = [[{"time": time, "n": i} for i, time in enumerate(record)] for record in records]
    return Source(SCHEMA, rows, timestamps or ())


def run(stream: Source, lateness: int = 10 * S, ahead: int = 0, way: list = ()) -> object:  # type: ignore[type-arg, assignment]
    return Chain(lambda: [WithWatermark("time", lateness, ahead)]).run(stream, way)


def test_the_watermark_follows_the_largest_event_time_record_by_record() -> None:
    seen = run(source([100 * S], [90 * S], [100 * S], [130 * S]))
    assert seen.track == [(at(0), 90 * S), (at(3), 120 * S)]
    assert len(seen.rows) == 4


def test_a_record_of_several_rows_raises_it_once() -> None:
    seen = run(source([10 * S, 30 * S, 20 * S], []))
    assert seen.track == [(at(0), 20 * S)]


def test_before_the_first_event_time_there_is_none() -> None:
    operator = WithWatermark("time", S, 0)
    marks = operator.process(source([]).batch(0, 1)).batch.watermarks
    assert marks is not None
    assert marks.before == marks.last == NEVER


def test_rows_without_event_time_are_rejected() -> None:
    seen = run(source([S], [None], [2 * S]))
    assert [row["n"] for row in seen.rows] == [0, 0]
    assert seen.rejected == [
        {position.COLUMN: at(1), "reason": "event_time_null", "detail": 'event time "time" is null'}
    ]
    assert seen.counts["rejected"] == 1


def test_rows_ahead_of_their_kafka_timestamp_are_rejected_and_raise_nothing() -> None:
    stream = source([5 * S], [5 * S + 1], [4 * S], timestamps=[3000, 3000, 3000])
    seen = run(stream, lateness=0, ahead=2 * S)
    assert seen.track == [(at(0), 5 * S)]
    assert len(seen.rows) == 2
    assert [(row[position.COLUMN], row["reason"]) for row in seen.rejected] == [(at(1), "event_time_ahead")]
    detail = seen.rejected[0]["detail"]
    assert "1970-01-01 00:00:05.000001Z" in detail
    assert "1970-01-01 00:00:03.000000Z" in detail


def test_rejected_rows_of_both_kinds_are_in_order() -> None:
    stream = source([2 * S], [None], [3 * S], [None], [S], timestamps=[1000] * 5)
    seen = run(stream)
    assert [row["reason"] for row in seen.rejected] == [
        "event_time_ahead",
        "event_time_null",
        "event_time_ahead",
        "event_time_null",
    ]
    assert [row["time"] for row in seen.rows] == [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]


def test_times_that_no_calendar_knows_do_no_harm() -> None:
    lowest, highest = -(2**63), 2**63 - 1
    stream = source([lowest], [highest], [S], timestamps=[FAR, 0, 1000])
    result = WithWatermark("time", S, 0).process(stream.batch(0, 3))
    marks = result.batch.watermarks
    assert marks is not None
    assert (marks.positions.tolist(), marks.values.tolist()) == ([at(2)], [0])
    assert result.batch.rows["time"].to_physical().to_list() == [lowest, S]
    assert result.rejected is not None
    assert result.rejected["reason"].to_list() == ["event_time_ahead"]
    assert "9223372036854775807us since 1970" in result.rejected["detail"][0]


@settings(max_examples=60, deadline=None)
@given(
    several(st.lists(st.one_of(st.none(), near_edges(S)), max_size=3), 20),
    st.sampled_from([0, 1, 5 * S]),
    cuts(),
)
def test_cuts_restarts_and_undone_batches_change_nothing(
    records: list[list[int | None]], lateness: int, way: list
) -> None:
    stamps = [0 if i % 5 == 4 else FAR for i in range(len(records))]
    stream = source(*records, timestamps=stamps)
    seen = run(stream, lateness, 3 * S, way)
    assert seen == run(stream, lateness, 3 * S)

    newest, track, passed = None, [], 0
    for i, record in enumerate(records):
        good = [t for t in record if t is not None and t <= stamps[i] * 1000 + 3 * S]
        passed += len(good)
        if good and (newest is None or max(good) > newest):
            newest = max(good)
            track.append((at(i), newest - lateness))
    assert seen.track == track
    assert len(seen.rows) == passed == sum(map(len, records)) - seen.counts["rejected"]
