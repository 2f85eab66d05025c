"""`deduplicate`: against a plain answer, at every edge, however the log is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc import position
from streamproc.operators import deduplicate, firsts
from streamproc.operators.batch import TIME
from streamproc.operators.deduplicate import Deduplicate
from streamproc.operators.firsts import first_ones
from streamproc.operators.runs import Entries, add, probe
from streamproc.operators.watermark import WithWatermark
from tests.oracle.streams import Record, deduplicated
from tests.unit.operators.driving import Chain, Event, S, Seen, Source, at, cuts, near_edges, several

SCHEMA = {"key": pl.String(), "part": pl.Int32(), "time": TIME, "n": pl.Int64()}
Row = tuple[int, str | None, int | None]


def source(records: Sequence[Sequence[Row]]) -> Source:
    rows = [
        [{"key": key, "part": part, "time": time, "n": i} for i, (time, key, part) in enumerate(record)]
        for record in records
    ]
    return Source(SCHEMA, rows)


def chain(keys: tuple[str, ...], lateness: int, within: int) -> Chain:
    return Chain(lambda: [WithWatermark("time", lateness, 0), Deduplicate(keys, "time", within)])


def run(
    times: Sequence[int], within: int, *, keys: tuple[str, ...] = ("key",), way: Sequence[tuple[int, Event]] = ()
) -> Seen:
    return chain(keys, 2000 * S, within).run(source([[(time, "a", 1)] for time in times]), way)


WAYS: list[list[tuple[int, Event]]] = [[], [(1, "go on")] * 3, [(1, "restart")] * 3]


def records_passed(seen: Seen) -> list[int]:
    return [position.offset_of(row[position.COLUMN]) // 2 for row in seen.rows]


@pytest.mark.parametrize("within", [0, 1, 7, S, 10 * S - 1, 10 * S, 10 * S + 1, 600 * S])
@pytest.mark.parametrize("start", [0, -S, 1_700_000_000 * S, -3])
@pytest.mark.parametrize("way", WAYS)
def test_a_duplicate_is_at_most_within_away(within: int, start: int, way: list[tuple[int, Event]]) -> None:
    near = run([start, start + within, start - within, start], within, way=way)
    assert records_passed(near) == [0]
    assert near.counts["duplicates"] == 3
    far = run([start, start + within + 1, start - within - 1], within, way=way)
    assert records_passed(far) == [0, 1, 2]


def test_only_kept_rows_make_duplicates() -> None:
    assert records_passed(run([0, 6, 12, 18, 24], within=10)) == [0, 2, 4]


def test_order_is_that_of_the_log() -> None:
    assert records_passed(run([12, 6, 0, 3, 22], within=10)) == [0, 2]


def test_event_time_among_the_keys_means_equal_times() -> None:
    seen = run([0, 5, 0, 5, 6], within=10 * S, keys=("key", "time"))
    assert records_passed(seen) == [0, 1, 4]


@pytest.mark.parametrize("rows_in_memory", [1, deduplicate.ROWS_IN_MEMORY])
def test_all_that_was_kept_since_the_last_checkpoint_is_stored(rows_in_memory: int) -> None:
    way: list[tuple[int, Event]] = [(1, "checkpoint"), (1, "go on"), (1, "go on"), (1, "restart")]
    with patch.object(deduplicate, "ROWS_IN_MEMORY", rows_in_memory):
        assert records_passed(run([0, 5, 9, 900 * S, 0, 5, 9, 900 * S], within=1, way=way)) == [0, 1, 2, 3]


@pytest.mark.parametrize("rows_in_memory", [1, deduplicate.ROWS_IN_MEMORY])
def test_memory_keeps_what_is_not_stored_yet(rows_in_memory: int) -> None:
    way: list[tuple[int, Event]] = [(1, "checkpoint"), (1, "go on"), (1, "go on"), (1, "go on")]
    with patch.object(deduplicate, "ROWS_IN_MEMORY", rows_in_memory):
        assert records_passed(run([0, 5, 900 * S, 950 * S, 5, 0], within=1, way=way)) == [0, 1, 2, 3]


def test_buckets_forgotten_in_several_batches_all_leave_the_store() -> None:
    process = chain(("key",), 0, 20 * S)
    rows: list[list[Row]] = [[(time * S, "a", 1)] for time in (0, 30, 75, 100, 500)]
    process.run(source(rows), [(2, "checkpoint"), (1, "go on"), (1, "go on")])
    assert len(process.stored) == len(process.operators[-1].state.buckets) == 1


def test_null_is_a_key_and_not_empty_text() -> None:
    rows: list[list[Row]] = [[(0, None, 1)], [(0, "", 1)], [(0, None, 1)], [(0, "", None)], [(0, None, None)]]
    assert records_passed(chain(("key", "part"), 0, S).run(source(rows))) == [0, 1, 3, 4]


def test_late_is_more_than_within_behind_the_watermark_before() -> None:
    rows: list[list[Row]] = [[(100 * S, "a", 1)], [(90 * S, "b", 1)], [(90 * S - 1, "c", 1)], [(200 * S, "d", 1)]]
    seen = chain(("key",), 0, 10 * S).run(source(rows))
    assert records_passed(seen) == [0, 1, 3]
    assert seen.counts == {"rejected": 0, "late": 1, "duplicates": 0}
    assert seen.late == [
        {
            position.COLUMN: at(2),
            "reason": "late",
            "detail": 'event time "time" 1970-01-01 00:01:29.999999Z is more than 10s behind the watermark '
            "1970-01-01 00:01:40.000000Z",
        }
    ]


def test_rows_of_one_record_are_not_late_for_each_other() -> None:
    seen = chain(("key",), 0, S).run(source([[(100 * S, "a", 1), (0, "b", 1)], [(0, "c", 1)]]))
    assert records_passed(seen) == [0, 0]
    assert seen.counts["late"] == 1


@pytest.mark.parametrize(("keys", "reach"), [(("key",), 2), (("key", "time"), 1)])
def test_state_is_forgotten_when_nothing_can_meet_it_and_not_before(keys: tuple[str, ...], reach: int) -> None:
    within = 20 * S
    process = chain(keys, 0, within)
    first, stored = process.operators[-1], []
    assert isinstance(first, Deduplicate)
    end = first._start(1)
    for last in (end + reach * within - 1, end + reach * within):
        process = chain(keys, 0, within)
        process.run(source([[(0, "a", 1)], [(last, "b", 1)]]), [(1, "checkpoint"), (1, "checkpoint")])
        stored.append(0 in process.stored)
    assert stored == [True, False]


def test_rows_without_event_time_are_rejected() -> None:
    def lose(batch: Any) -> Any:
        return batch.with_rows(batch.rows.with_columns(time=pl.when(pl.col("n") == 0).then("time")))

    process = Chain(lambda: [WithWatermark("time", 0, 0), Deduplicate(("key",), "time", S)], lose)
    seen = process.run(source([[(0, "a", 1), (0, "b", 1)]]))
    assert [row["n"] for row in seen.rows] == [0]
    assert [row["reason"] for row in seen.rejected] == ["event_time_null"]
    assert seen.counts["rejected"] == 1


UNITS = (7, S, 10 * S)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[list[Row]], int, int]:
    unit = draw(st.sampled_from(UNITS))
    row = st.tuples(near_edges(unit), st.sampled_from(["a", "a", "a", "b", "", None]), st.sampled_from([1, 1, 2, None]))
    records = draw(several(st.lists(row, max_size=3), 25))
    lateness = draw(st.sampled_from([0, unit, 4 * unit, 20 * unit]))
    within = draw(st.sampled_from([0, 1, unit // 2, unit - 1, unit, unit + 1, 3 * unit]))
    return records, lateness, within


@settings(max_examples=150, deadline=None)
@given(streams(), cuts(), st.sampled_from([("key",), ("key", "part"), ("time", "key")]), st.booleans())
def test_it_is_the_plain_answer_however_the_log_is_cut(
    stream: tuple[list[list[Row]], int, int], way: list, keys: tuple[str, ...], small: bool
) -> None:
    records, lateness, within = stream
    names = ("time", "key", "part")
    plain = [
        Record([row[0] for row in rows], [(row[0], tuple(row[names.index(k)] for k in keys), None) for row in rows])
        for rows in records
    ]
    want = deduplicated(plain, lateness, within)
    # Small: buckets of few microseconds, no memory to speak of, hardly any rounds.
    with (
        patch.object(deduplicate, "BUCKET", 5 if small else deduplicate.BUCKET),
        patch.object(deduplicate, "ROWS_IN_MEMORY", 1 if small else deduplicate.ROWS_IN_MEMORY),
        patch.object(firsts, "ROUNDS", 1 if small else firsts.ROUNDS),
    ):
        process = chain(keys, lateness, within)
        seen = process.run(source(records), way)
    got = [(position.offset_of(row[position.COLUMN]) // 2, row["n"]) for row in seen.rows]
    assert got == want.kept
    assert seen.counts.get("duplicates", 0) == len(want.duplicates)
    assert [position.offset_of(row[position.COLUMN]) // 2 for row in seen.late] == [r for r, _ in want.late]
    kept = process.operators[-1].state
    assert len(process.stored) == len(kept.buckets)
    assert not kept.dropped


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.integers(-40, 40)), max_size=60),
    st.integers(0, 12),
    st.sampled_from([0, 1, 16]),
)
def test_hashes_that_share_half_their_bits_stay_apart(
    rows: list[tuple[int, int, int]], within: int, rounds: int
) -> None:
    columns = np.array(rows, np.int64).reshape(-1, 3).T.copy()
    entries = Entries(columns[0].astype(np.uint64), columns[1].astype(np.uint64), columns[2])
    with patch.object(firsts, "ROUNDS", rounds):
        got = first_ones(entries, entries.time // (within + 1), within)
    kept: list[int] = []
    for i, row in enumerate(rows):
        if not any(rows[k][:2] == row[:2] and abs(rows[k][2] - row[2]) <= within for k in kept):
            kept.append(i)
    assert got.tolist() == kept


def test_a_set_finds_what_is_in_any_of_its_runs() -> None:
    rng = np.random.default_rng(1)
    id, hi = rng.integers(0, 50, 1000).astype(np.uint64), rng.integers(0, 20, 1000).astype(np.uint64)
    entries = Entries(id, hi, rng.integers(0, 100, 1000))
    runs: tuple[Entries, ...] = ()
    for start in range(0, 500, 10):
        runs = add(runs, entries.take(slice(start, start + 10)).sorted())
    assert len(runs) <= 8, "merged as they grow"
    assert sum(map(len, runs)) == 500
    known = list(zip(id[:500].tolist(), hi[:500].tolist(), entries.time[:500].tolist(), strict=True))
    want = [
        any(i == k[0] and h == k[1] and abs(t - k[2]) <= 3 for k in known)
        for i, h, t in zip(id.tolist(), hi.tolist(), entries.time.tolist(), strict=True)
    ]
    assert probe(runs, entries, 3).tolist() == want
    assert 0 < sum(want[500:]) < 500


def test_memory_is_bounded_by_what_can_be_read_again() -> None:
    process = chain(("key", "time"), 10_000 * S, 600 * S)
    rows: list[list[Row]] = [[(100 * i * S, "a", 1)] for i in range(30)]
    with patch.object(deduplicate, "ROWS_IN_MEMORY", 4):
        seen = process.run(source([*rows, *rows]), [(1, "checkpoint")] * 30)
    assert len(seen.rows) == 30, "what was let go is found again"
    with patch.object(deduplicate, "ROWS_IN_MEMORY", 4):
        process.process(source([[], [(5000 * S, "b", 1)]]).batch(1, 2))
    in_memory = sum(bucket.rows for bucket in process.operators[-1].state.buckets.values())
    assert in_memory <= 5
