"""`group_by(tumbling).agg`: against a plain answer, at every edge, however the log is cut."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc import position
from streamproc.errors import DataError
from streamproc.flow import aggregates as agg
from streamproc.flow.aggregates import Aggregate
from streamproc.flow.windows import Tumbling, tumbling
from streamproc.operators import window
from streamproc.operators.batch import NEVER, TIME, Batch
from streamproc.operators.watermark import WithWatermark
from streamproc.operators.window import Window
from tests.oracle.streams import AGGREGATES, Record, windowed
from tests.unit.operators.driving import Chain, Event, S, Seen, Source, at, cuts, near_edges, several

SCHEMA: dict[str, pl.DataType] = {
    "key": pl.String(),
    "part": pl.Float64(),
    "time": TIME,
    "value": pl.Int64(),
    "passes": pl.Boolean(),
    "n": pl.Int64(),
}
COUNT = {"rows": agg.count()}
Row = tuple[int, str | None, float | None, int | None, bool]


def source(records: Sequence[Sequence[Row]], schema: Mapping[str, pl.DataType] = SCHEMA) -> Source:
    names = ("time", "key", "part", "value", "passes")
    rows = [[{**dict(zip(names, row, strict=True)), "n": i} for i, row in enumerate(rows)] for rows in records]
    return Source(schema, rows)


def plain(*times: int) -> Source:
    """One record of key "a" for each event time; its value is its number."""
    return source([[(time, "a", None, i, True)] for i, time in enumerate(times)])


def passing(batch: Batch) -> Batch:
    return batch.with_rows(batch.rows.filter("passes"))


def chain(
    tumbling: Tumbling,
    aggregates: dict[str, Aggregate],
    keys: tuple[str, ...] = ("key",),
    lateness: int = 0,
    schema: Mapping[str, pl.DataType] = SCHEMA,
    hidden: tuple[str, ...] = (),
) -> Chain:
    return Chain(
        lambda: [WithWatermark("time", lateness, 0), Window(tumbling, keys, "time", aggregates, schema, hidden)],
        passing,
    )


def closed(seen: Seen, *names: str) -> list[tuple[Any, ...]]:
    """Closed windows: record that closed them, start in seconds, columns."""
    return [
        (
            position.offset_of(row[position.COLUMN]) // 2,
            row["window_start"].timestamp(),
            *(row[name] for name in names),
        )
        for row in seen.rows
    ]


def test_a_window_closes_at_the_record_that_brings_the_watermark_to_its_end() -> None:
    seen = chain(tumbling("10s"), COUNT).run(plain(0, 10 * S - 1, 3 * S, 10 * S, 25 * S))
    assert closed(seen, "key", "rows") == [(3, 0, "a", 3), (4, 10, "a", 1)]
    assert seen.rows[0]["window_end"] == datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC)
    assert seen.counts == {"rejected": 0, "late": 0, "held": 1}


def test_lateness_keeps_it_open() -> None:
    seen = chain(tumbling("10s"), COUNT, lateness=5 * S).run(plain(0, 10 * S, 4 * S, 15 * S - 1, 15 * S))
    assert closed(seen, "rows") == [(4, 0, 2)]


def test_offset_and_times_before_1970() -> None:
    seen = chain(tumbling("10s", offset="3s"), COUNT).run(plain(-8 * S, -7 * S, 3 * S - 1, 3 * S, 13 * S))
    assert closed(seen, "rows") == [(1, -17, 1), (3, -7, 2), (4, 3, 1)]


def test_a_row_behind_its_window_is_late_with_the_window_and_the_watermark() -> None:
    seen = chain(tumbling("10s"), COUNT).run(plain(12 * S, 10 * S, 10 * S - 1, 30 * S))
    assert closed(seen, "rows") == [(3, 10, 2)]
    assert seen.late == [
        {
            position.COLUMN: at(2),
            "reason": "late",
            "detail": "window [1970-01-01 00:00:00.000000Z, 1970-01-01 00:00:10.000000Z) was closed at watermark "
            "1970-01-01 00:00:12.000000Z",
        }
    ]
    assert seen.counts == {"rejected": 0, "late": 1, "held": 1}


def test_a_filtered_row_closes_windows_all_the_same() -> None:
    rows: list[list[Row]] = [[(0, "a", None, 1, True)], [(50 * S, "a", None, 1, False)], []]
    assert closed(chain(tumbling("10s"), COUNT).run(source(rows)), "rows") == [(1, 0, 1)]


def test_one_record_may_fill_and_close_a_window() -> None:
    rows: list[list[Row]] = [[(50 * S, "a", None, 1, True), (0, "a", None, 1, True)], [(0, "a", None, 1, True)]]
    seen = chain(tumbling("10s"), COUNT).run(source(rows))
    assert closed(seen, "rows") == [(0, 0, 1)]
    assert seen.counts["late"] == 1


def test_nulls_are_groups_and_zero_has_no_sign() -> None:
    keys: list[tuple[str | None, float | None]] = [("a", None), (None, None), (None, -0.0), (None, 0.0), ("", math.nan)]
    rows: list[list[Row]] = [[(0, key, part, 1, True)] for key, part in [*keys, ("", -math.nan)]]
    seen = chain(tumbling("10s"), COUNT, ("key", "part")).run(source([*rows, [(10 * S, "z", 1.0, 1, False)]]))
    got = [(row["key"], str(row["part"]), row["rows"]) for row in seen.rows]
    assert got == [(None, "None", 1), (None, "0.0", 2), ("", "nan", 2), ("a", "None", 1)]


def test_windows_of_any_keys() -> None:
    schema = {**SCHEMA, "key": pl.List(pl.Int64()), "part": pl.Struct({"x": pl.String()})}
    values = [([2], {"x": "b"}), ([1], {"x": "a"}), ([1], {"x": "a"}), (None, None)]
    rows: list[Any] = [[(0, key, part, 1, True)] for key, part in [*values, ([], {"x": None})]]
    seen = chain(tumbling("10s"), COUNT, ("key", "part"), schema=schema).run(
        source([*rows, [(10 * S, None, None, 1, False)]], schema), [(2, "restart")]
    )
    assert [row["rows"] for row in seen.rows] == [1, 1, 2, 1]
    assert seen.rows[2]["key"] == [1]


@pytest.fixture
def a_bucket_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "BUCKET", 1)


@pytest.mark.usefixtures("a_bucket_a_window")
def test_what_opens_and_closes_between_checkpoints_is_never_stored() -> None:
    process = chain(tumbling("10s"), COUNT)
    seen = process.run(plain(0, 12 * S, 25 * S, 28 * S), [(1, "go on"), (2, "checkpoint")])
    assert closed(seen, "rows") == [(1, 0, 1), (2, 10, 1)]
    assert process.stored == [20 * S]


@pytest.mark.usefixtures("a_bucket_a_window")
def test_a_closed_window_leaves_the_store_once() -> None:
    process = chain(tumbling("10s"), COUNT)
    seen = process.run(plain(*range(0, 60 * S, 5 * S)), [(1, "checkpoint")] * 12)
    assert closed(seen, "rows") == [(2 * i + 2, 10 * i, 2) for i in range(5)]
    assert process.stored == [50 * S]


@pytest.mark.usefixtures("a_bucket_a_window")
def test_windows_that_close_in_several_batches_all_leave_the_store() -> None:
    process = chain(tumbling("10s"), COUNT, lateness=30 * S)
    process.run(plain(0, 10 * S, 20 * S, 40 * S, 50 * S), [(3, "checkpoint"), (1, "go on"), (1, "go on")])
    assert process.stored == [20 * S, 40 * S, 50 * S]


def test_an_hour_of_open_seconds_is_a_handful_of_buckets() -> None:
    process = chain(tumbling("1s", offset="300ms"), COUNT, lateness=3600 * S)
    seen = process.run(plain(*range(0, 3600 * S, S)), [(1000, "checkpoint"), (1000, "restart"), (1000, "checkpoint")])
    assert (len(seen.rows), seen.counts["held"]) == (0, 3600)
    assert process.stored == [300_000 + (i - 1) * 600 * S for i in range(7)]


def test_a_bucket_goes_once_all_of_it_is_closed_and_not_before() -> None:
    """Also where no window closes just then."""
    process = chain(tumbling("1m"), COUNT)
    minute = 60 * S
    seen = process.run(plain(0, 3 * minute, 5 * minute), [(1, "checkpoint"), (2, "checkpoint")])
    assert process.stored == [0]
    assert [row[1] for row in closed(seen)] == [0, 180]
    process = chain(tumbling("1m"), COUNT)
    rows: list[list[Row]] = [[(i * minute, "a", None, 1, i < 5)] for i in (0, 5, 9, 10, 11)]
    process.run(source(rows), [(1, "checkpoint"), (2, "checkpoint")])
    assert process.stored == []


@pytest.mark.parametrize("event", ["restart", "crash"])
def test_closed_windows_of_an_open_bucket_do_not_come_back(event: Event) -> None:
    minute = 60 * S
    times = (0, 0, 2 * minute, 1, 2 * minute, 2 * minute, 4 * minute)
    process = chain(tumbling("1m"), COUNT)
    seen = process.run(
        plain(*times), [(1, "checkpoint"), (1, "checkpoint"), (2, "restart"), (1, "checkpoint"), (1, event)]
    )
    assert closed(seen, "rows") == [(2, 0, 2), (6, 120, 3)]
    assert seen.counts == {"rejected": 0, "late": 1, "held": 1}


def test_the_watermark_after_it_is_that_of_closed_windows() -> None:
    process = chain(tumbling("10s"), COUNT, lateness=S)
    seen = process.run(plain(0, 4 * S, 11 * S, 12 * S, 45 * S))
    assert seen.track == [(at(0), -10 * S), (at(1), 0), (at(2), 10 * S), (at(4), 40 * S)]
    batch = process.process(plain(*[0] * 5, 46 * S).batch(5, 6))[-1].batch
    assert batch.aggregated
    assert batch.watermarks is not None
    assert (batch.watermarks.before, len(batch.watermarks.values)) == (40 * S, 0)
    first = chain(tumbling("10s"), COUNT).process(source([[]]).batch(0, 1))[-1].batch.watermarks
    assert first is not None
    assert first.before == NEVER


def test_windows_of_windows() -> None:
    small = lambda: Window(tumbling("10s"), ("key",), "time", COUNT, SCHEMA)  # noqa: E731
    large = lambda: Window(tumbling("20s"), (), "window_start", {"all": agg.sum("rows")}, small().columns)  # noqa: E731
    process = Chain(lambda: [WithWatermark("time", 0, 0), small(), large()])
    seen = process.run(plain(0, 1 * S, 11 * S, 22 * S, 45 * S), [(1, "restart"), (2, "undo")])
    assert closed(seen, "all") == [(3, 0, 3), (4, 20, 1)]
    assert seen.counts["late"] == 0


def test_late_rows_of_a_second_aggregate_carry_themselves() -> None:
    """Only where somebody has moved the event time: rows of closed windows are never late by themselves."""
    batch = plain(0).batch(0, 1)
    first = WithWatermark("time", 0, 0).process(batch).batch
    step = Window(tumbling("10s"), ("key",), "time", COUNT, SCHEMA)
    step.process(first)
    later = WithWatermark("time", 0, 0)
    later.restore({"event_time_max": 100 * S}, [], lambda _: ())
    rows = later.process(batch).batch
    assert rows.watermarks is not None
    late = step.process(Batch(rows.rows, rows.source, rows.start, rows.end, rows.watermarks, aggregated=True)).late
    assert late is not None
    assert b'"key":"a"' in late["value"][0]


@pytest.mark.parametrize(
    ("aggregate", "dtype", "values", "want", "output"),
    [
        (agg.sum("value"), pl.Int64(), [2**62, 2**62, -(2**62), None], 2**62, pl.Int64()),
        (agg.sum("value"), pl.UInt64(), [2**63 - 1, 0], 2**63 - 1, pl.Int64()),
        (agg.sum("value"), pl.Boolean(), [True, None, True], 2, pl.Int64()),
        (agg.sum("value"), pl.Float32(), [0.5, 0.25], 0.75, pl.Float64()),
        (agg.sum("value"), pl.Decimal(10, 2), ["0.10", "0.20", None], "0.30", pl.Decimal(38, 2)),
        (agg.sum("value"), pl.Int8(), [None], 0, pl.Int64()),
        (agg.mean("value"), pl.Int64(), [2**62, 2**62], float(2**62), pl.Float64()),
        (agg.mean("value"), pl.Decimal(10, 2), ["0.50", "0.00"], 0.25, pl.Float64()),
        (agg.mean("value"), pl.Float64(), [None], None, pl.Float64()),
        (agg.min("value"), pl.String(), ["b", None, "a"], "a", pl.String()),
        (agg.max("value"), pl.Date(), [datetime(2024, 5, 1).date(), None], datetime(2024, 5, 1).date(), pl.Date()),
        (agg.max("value"), pl.Boolean(), [False, True], True, pl.Boolean()),
        (agg.max("value"), pl.Binary(), [b"a", b"b"], b"b", pl.Binary()),
        (agg.min("value"), pl.Int64(), [None], None, pl.Int64()),
        (agg.var("value"), pl.Int64(), [1, 2, 3], 1.0, pl.Float64()),
        (agg.std("value", ddof=0), pl.Float64(), [1e9 + 1, 1e9 + 3], 1.0, pl.Float64()),
        (agg.var("value"), pl.Float64(), [1.0], None, pl.Float64()),
        (agg.first("value"), pl.List(pl.Int64()), [[1], None], [1], pl.List(pl.Int64())),
        (agg.last("value"), pl.Int64(), [1, None], None, pl.Int64()),
        (agg.count("value"), pl.String(), ["a", None, ""], 2, pl.Int64()),
        (agg.sum(pl.col("value") * 2, where=pl.col("value") > 1), pl.Int64(), [1, 2, 3, None], 10, pl.Int64()),
        (agg.count(where=pl.col("value") > 1), pl.Int64(), [1, 2, 3, None], 2, pl.Int64()),
        (agg.first("value", where=pl.col("value") > 1), pl.Int64(), [1, None, 3, 2], 3, pl.Int64()),
        (agg.last("value", where=pl.col("value") > 5), pl.Int64(), [1, 2], None, pl.Int64()),
        (agg.sum(pl.lit(2)), pl.Int64(), [1, None], 4, pl.Int64()),
        (agg.max("_offset"), pl.Int64(), [1, 1, 1], 4, pl.Int64()),
    ],
)
@pytest.mark.parametrize("way", [[], [(1, "restart"), (1, "checkpoint"), (1, "undo")]])
def test_each_aggregate(
    aggregate: Aggregate, dtype: pl.DataType, values: list[Any], want: Any, output: pl.DataType, way: list[Any]
) -> None:
    schema = {**SCHEMA, "value": dtype}
    if isinstance(dtype, pl.Decimal):
        values = [value and Decimal(value) for value in values]
        want = Decimal(want) if isinstance(want, str) else want
    rows: list[Any] = [[(i, "a", None, value, True)] for i, value in enumerate(values)]
    stream = source([*rows, [(S, "a", None, None, False)]], schema)
    process = chain(tumbling("1s"), {"x": aggregate}, schema=schema, hidden=("_offset",))
    step = process.operators[-1]
    assert isinstance(step, Window)
    assert step.columns["x"] == output
    seen = process.run(stream, way)
    assert [row["x"] for row in seen.rows] == ([pytest.approx(want)] if isinstance(want, float) else [want])
    results = chain(tumbling("1s"), {"x": aggregate}, schema=schema, hidden=("_offset",)).process(
        stream.batch(0, len(stream.records))
    )
    assert dict(results[-1].batch.rows.schema) == {**step.columns, position.COLUMN: pl.Int64()}


def test_a_sum_that_does_not_fit_stops_at_the_record_that_closes_the_window() -> None:
    rows: list[list[Row]] = [[(0, "a", None, 2**62, True)]] * 2
    process = chain(tumbling("1s"), {"ok": agg.sum("n"), "total": agg.sum("value")})
    with pytest.raises(DataError, match='"total"') as raised:
        process.run(source([*rows, [(5, "b", None, 0, True)], [(S, "a", None, 0, True)]]), [(2, "restart")])
    assert (raised.value.code, raised.value.position) == ("SP610", at(3))
    assert not raised.value.skippable


@pytest.mark.parametrize("way", [[], [(1, "restart"), (1, "checkpoint")]])
@pytest.mark.parametrize("sign", ["", "-"])
def test_decimals_are_exact_to_the_last_of_38_digits(sign: str, way: list[Any]) -> None:
    schema = {**SCHEMA, "value": pl.Decimal(38, 2)}
    most, nearly, cent = (Decimal(sign + text) for text in ("9" * 36 + ".99", "9" * 36 + ".98", "0.01"))

    def total(*values: Decimal) -> Any:
        rows: list[Any] = [[(0, "a", None, value, True)] for value in values]
        process = chain(tumbling("1s"), {"x": agg.sum("value")}, schema=schema)
        return process.run(source([*rows, [(S, "a", None, None, False)]], schema), way).rows[0]["x"]

    assert total(most) == most
    assert total(most, most, most.copy_negate(), cent, -cent) == most
    assert total(most, -cent, -cent, cent) == nearly
    with pytest.raises(DataError, match='"x" does not fit') as raised:
        total(most, cent)
    assert (raised.value.code, raised.value.position) == ("SP610", at(2))


def test_an_expression_that_fails_names_its_row() -> None:
    rows: list[list[Row]] = [[(0, text, None, 1, True)] for text in ("1", "2", "x", "3", "y")]
    with pytest.raises(DataError) as raised:
        chain(tumbling("1s"), {"x": agg.sum(pl.col("key").cast(pl.Int64))}).run(source(rows))
    assert (raised.value.code, raised.value.position) == ("SP611", at(2))


def test_rows_without_event_time_are_rejected() -> None:
    def lose(batch: Batch) -> Batch:
        return batch.with_rows(batch.rows.with_columns(time=pl.when(pl.col("value") > 0).then("time")))

    process = Chain(lambda: [WithWatermark("time", 0, 0), Window(tumbling("1s"), (), "time", COUNT, SCHEMA)], lose)
    seen = process.run(plain(0, 1, S))
    assert closed(seen, "rows") == [(2, 0, 1)]
    assert [row["reason"] for row in seen.rejected] == ["event_time_null"]
    assert seen.counts == {"rejected": 1, "late": 0, "held": 1}


UNITS = (4, S, 60 * S)
ALL: dict[str, Aggregate] = {
    "count": agg.count(),
    "some": agg.count("value"),
    "sum": agg.sum("value"),
    "mean": agg.mean("value"),
    "min": agg.min("value"),
    "max": agg.max("value"),
    "var": agg.var("value"),
    "std": agg.std("value", ddof=0),
    "first": agg.first("value"),
    "last": agg.last("value"),
    "small": agg.sum("value", where=pl.col("value") < 3),
    "last_small": agg.last("value", where=pl.col("value") < 3),
    "float": agg.sum(pl.col("value").cast(pl.Float64) / 7),
}


def answer(values: list[int | None]) -> dict[str, Any]:
    """All of `ALL` over the values of a group, in the order of event time."""
    known = [value for value in values if value is not None]
    small = [value for value in known if value < 3]
    return {
        "count": len(values),
        "some": len(known),
        **{name: AGGREGATES[name](known) for name in ("sum", "mean", "min", "max", "var", "std")},
        "first": values[0],
        "last": values[-1],
        "small": sum(small),
        "last_small": small[-1] if small else None,
        "float": math.fsum(value / 7 for value in known),
    }


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[list[Row]], Tumbling, int]:
    unit = draw(st.sampled_from(UNITS))
    row = st.tuples(
        near_edges(unit),
        st.sampled_from(["a", "a", "a", "b", None]),
        st.sampled_from([1.5, 1.5, None]),
        st.one_of(st.none(), st.integers(-5, 5), st.sampled_from([1000, -1000])),
        st.sampled_from([True, True, True, False]),
    )
    records = draw(several(st.lists(row, max_size=3), 25))
    tumbling = Tumbling(unit * draw(st.sampled_from([1, 3])), draw(st.sampled_from([0, 1, unit // 2])))
    return records, tumbling, draw(st.sampled_from([0, 1, 2 * unit, 9 * unit]))


@settings(max_examples=80, deadline=None)
@given(
    streams(),
    cuts(),
    st.sampled_from([(), ("key",), ("key", "part")]),
    st.sampled_from([0, 3, window.SMALL]),
    st.sampled_from([1, 1, 2, 3, 100]),
)
def test_it_is_the_plain_answer_however_the_log_is_cut(
    stream: tuple[list[list[Row]], Tumbling, int], way: list[Any], keys: tuple[str, ...], small: int, windows: int
) -> None:
    """`windows`: of how many a bucket is."""
    records, tumbling, lateness = stream
    names = ("time", "key", "part")
    want = windowed(
        [
            Record(
                [row[0] for row in rows],
                [(row[0], tuple(row[names.index(k)] for k in keys), row[3]) for row in rows if row[4]],
            )
            for rows in records
        ],
        lateness,
        tumbling.every,
        tumbling.offset,
    )
    width = windows * tumbling.every
    with patch.object(window, "SMALL", small), patch.object(window, "BUCKET", width):
        process = chain(tumbling, ALL, keys, lateness)
        seen = process.run(source(records), way)

    def order(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return (row[0], row[1], *((key is not None, key) for key in row[2]))

    got = [
        (
            position.offset_of(row[position.COLUMN]) // 2,
            (row["window_start"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
            tuple(row[key] for key in keys),
        )
        for row in seen.rows
    ]
    assert got == sorted(((r, start, group) for r, start, group, _ in want.closed), key=order)
    values = {(start, group): rows for _, start, group, rows in want.closed}
    for row, (_, start, group) in zip(seen.rows, got, strict=True):
        for name, value in answer(values[start, group]).items():
            assert row[name] == (pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value), name
    assert [position.offset_of(row[position.COLUMN]) // 2 for row in seen.late] == [r for r, _ in want.late]
    assert seen.counts.get("late", 0) == len(want.late)
    assert seen.counts.get("held", 0) == sum(want.held.values())
    watermark = max((row[0] for rows in records for row in rows), default=0) - lateness
    assert all(bucket + width > watermark and (bucket - tumbling.offset) % width == 0 for bucket in process.stored)
    held = {start - (start - tumbling.offset) % width for start, _ in want.held}
    assert held == set(process.stored) if windows == 1 else held <= set(process.stored)


@settings(max_examples=60, deadline=None)
@given(
    several(st.tuples(st.integers(0, 2), st.sampled_from("aab")), 30),
    several(st.tuples(st.integers(0, 4), st.sampled_from(["checkpoint", "restart", "crash", "undo"])), 15),
    st.sampled_from([0, 3, 8]),
)
def test_windows_much_smaller_than_a_bucket(
    steps: list[tuple[int, str]], way: list[tuple[int, Event]], lateness: int
) -> None:
    """All windows are in one bucket, which never closes: what comes back of it are the open ones."""
    times = [4 * sum(step for step, _ in steps[: i + 1]) for i in range(len(steps))]
    rows: list[list[Row]] = [[(time, key, None, 1, True)] for time, (_, key) in zip(times, steps, strict=True)]
    want = windowed(
        [Record([time], [(time, (key,), 1)]) for time, (_, key) in zip(times, steps, strict=True)], lateness, 4, 0
    )
    process = chain(Tumbling(4, 0), COUNT, lateness=lateness)
    seen = process.run(source(rows), way)
    assert [(r, row["key"], row["rows"]) for (r, *_), row in zip(closed(seen), seen.rows, strict=True)] == [
        (r, *group, len(values)) for r, _, group, values in sorted(want.closed, key=lambda one: one[:3])
    ]
    assert seen.counts.get("held", 0) == sum(want.held.values())
    assert set(process.stored) <= {0}


@settings(max_examples=25, deadline=None)
@given(streams(), cuts())
def test_its_watermark_does_not_depend_on_cuts(stream: tuple[list[list[Row]], Tumbling, int], way: list[Any]) -> None:
    records, tumbling, lateness = stream
    seen = chain(tumbling, COUNT, (), lateness).run(source(records), way)
    assert seen.track == chain(tumbling, COUNT, (), lateness).run(source(records)).track
    values = [value for _, value in seen.track]
    assert values == sorted(set(values))
    assert all((value - tumbling.offset) % tumbling.every == 0 for value in values)
    closings = {row[position.COLUMN] for row in seen.rows}
    assert closings <= {place for place, _ in seen.track}
