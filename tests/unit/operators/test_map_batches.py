from __future__ import annotations

import sys
from dataclasses import replace

import polars as pl
import pytest

from streamproc import position
from streamproc.errors import DataError
from streamproc.operators.base import OnFail
from streamproc.operators.map_batches import Function, MapBatches
from tests.unit.operators.batches import at, batch, part, places, rejected

SCHEMA = {"twice": pl.Int64(), "a": pl.Int64()}
ROWS = batch({"a": [0, 1, 2, 3, 4, 5, 6]})


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(twice=pl.col("a") * 2)


def picky(*unwanted: int) -> Function:
    def function(frame: pl.DataFrame) -> pl.DataFrame:
        for value in frame["a"]:
            if value in unwanted:
                raise ValueError(f"can't take {value}" + "!" * 1000)
        return twice(frame)

    return function


def test_takes_the_visible_columns_and_gives_the_declared_ones() -> None:
    seen: list[list[str]] = []

    def function(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(frame.columns)
        return twice(frame)

    result = MapBatches(function, SCHEMA).process(ROWS)
    assert result.batch.rows.columns == ["twice", "a", position.COLUMN]
    assert result.batch.rows["twice"].to_list() == [0, 2, 4, 6, 8, 10, 12]
    assert places(result) == list(range(7))
    assert seen[0] == ["a"]


def test_is_compared_on_the_first_batch_only_and_not_called_without_rows() -> None:
    heights: list[int] = []

    def function(frame: pl.DataFrame) -> pl.DataFrame:
        heights.append(frame.height)
        return twice(frame)

    step = MapBatches(function, SCHEMA)
    for start, stop in ((0, 0), (0, 1), (0, 7), (0, 7)):
        assert step.process(part(ROWS, start, stop)).batch.rows.height == stop
    assert heights == [1, 7, 3, 4, 7]


@pytest.mark.parametrize(
    "function",
    [
        lambda frame: twice(frame).with_columns(a=pl.lit(frame["a"].sum(), pl.Int64)),
        lambda frame: twice(frame).with_columns(a=pl.col("a").shift(1)),
        lambda frame: twice(frame) if frame.height > 5 else frame["no such"].to_frame(),
        lambda frame: twice(frame) if frame.height < 5 else frame["no such"].to_frame(),
        lambda frame: twice(frame).with_columns(a=pl.lit(frame.height, pl.Int64)),
    ],
)
@pytest.mark.parametrize("on_fail", ["stop", "reject"])
def test_a_result_that_depends_on_cuts_stops(function: Function, on_fail: OnFail) -> None:
    with pytest.raises(DataError) as caught:
        MapBatches(function, SCHEMA, on_fail).process(ROWS)
    assert (caught.value.code, caught.value.position) == ("SP604", at(0))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda frame: None, "NoneType"),
        (lambda frame: frame, "missing: twice"),
        (lambda frame: twice(frame).with_columns(more=1), "not declared: more"),
        (lambda frame: twice(frame).with_columns(pl.col("a").cast(pl.Float64)), "a is Float64, declared Int64"),
        (lambda frame: twice(frame).head(2), "7 rows in, 2 out"),
        (lambda frame: pl.concat([twice(frame)] * 2), "7 rows in, 14 out"),
    ],
)
@pytest.mark.parametrize("on_fail", ["stop", "drop"])
def test_another_result_than_declared_stops_and_says_what_to_do(function: Function, says: str, on_fail: OnFail) -> None:
    with pytest.raises(DataError) as caught:
        MapBatches(function, SCHEMA, on_fail).process(ROWS)
    assert (caught.value.code, caught.value.position) == ("SP605", at(0))
    assert says in str(caught.value)
    assert caught.value.fix
    assert not caught.value.skippable


def test_stop_is_at_the_first_row_it_raises_for_and_shows_the_users_line() -> None:
    with pytest.raises(DataError) as caught:
        MapBatches(picky(5, 2), SCHEMA).process(ROWS)
    error = caught.value
    assert (error.code, error.position) == ("SP603", at(2))
    assert "ValueError" in error.message
    assert isinstance(error.__cause__, ValueError)
    assert error.location is not None
    assert error.location.file == __file__
    assert "raise ValueError" in error.location.text
    assert max(map(len, error.detail)) <= 300
    assert error.skippable
    with pytest.raises(DataError) as caught:
        MapBatches(picky(2), SCHEMA).process(replace(ROWS, aggregated=True))
    assert not caught.value.skippable


def test_sys_exit_is_an_error_of_the_function() -> None:
    def function(frame: pl.DataFrame) -> pl.DataFrame:
        sys.exit(3)

    with pytest.raises(DataError) as caught:
        MapBatches(function, SCHEMA).process(ROWS)
    assert (caught.value.code, caught.value.position) == ("SP603", at(0))
    assert "SystemExit" in caught.value.message
    assert rejected(MapBatches(function, SCHEMA, "reject").process(part(ROWS, 0, 1))) == [(0, "user_function")]


@pytest.mark.parametrize(
    ("role", "way_out"), [("the event time", "with_watermark after"), ("what the topic is partitioned by", "name")]
)
def test_a_column_that_is_trusted_to_stay_must_stay(role: str, way_out: str) -> None:
    def function(frame: pl.DataFrame) -> pl.DataFrame:
        return twice(frame).with_columns(pl.col("a").clip(upper_bound=3))

    step = MapBatches(function, SCHEMA, "reject", {"a": role})
    assert places(step.process(part(ROWS, 0, 4))) == [0, 1, 2, 3]
    with pytest.raises(DataError) as caught:
        step.process(ROWS)
    error = caught.value
    assert (error.code, error.position, error.skippable) == ("SP605", at(4), False)
    assert f'changed "a", {role}' in str(error)
    assert "another name" in error.fix
    assert way_out in error.fix
    nulls = batch({"a": pl.Series([None, 1], dtype=pl.Int64)})
    assert places(MapBatches(twice, SCHEMA, "stop", {"a": role}).process(nulls)) == [0, 1]


@pytest.mark.parametrize("unwanted", [(0,), (6,), (2, 5), (0, 1, 2, 3, 4, 5, 6)])
def test_reject_takes_out_those_rows_alone(unwanted: tuple[int, ...]) -> None:
    result = MapBatches(picky(*unwanted), SCHEMA, "reject").process(ROWS)
    good = [i for i in range(7) if i not in unwanted]
    assert places(result) == good
    assert result.batch.rows["a"].to_list() == good
    assert rejected(result) == [(i, "user_function") for i in unwanted]
    assert result.counts == {"rejected": len(unwanted)}
    assert result.rejected is not None
    detail = result.rejected["detail"][0]
    assert "ValueError" in detail
    assert "test_map_batches.py" in detail
    assert len(detail) <= 300


def test_drop_and_warn() -> None:
    dropped = MapBatches(picky(2, 3), SCHEMA, "drop").process(ROWS)
    assert (places(dropped), dict(dropped.counts), dropped.rejected) == ([0, 1, 4, 5, 6], {"dropped": 2}, None)
    warned = MapBatches(picky(2, 3), SCHEMA, "warn").process(ROWS)
    assert (places(warned), dict(warned.counts), warned.rejected) == (list(range(7)), {"warned": 2}, None)
    assert warned.batch.rows["twice"].to_list() == [0, 2, None, None, 8, 10, 12]


def test_cuts_change_nothing() -> None:
    whole = MapBatches(picky(1, 4, 5), SCHEMA, "reject").process(ROWS)
    step = MapBatches(picky(1, 4, 5), SCHEMA, "reject")
    pieces = [step.process(part(ROWS, start, start + 1)) for start in range(7)]
    assert pl.concat(piece.batch.rows for piece in pieces).equals(whole.batch.rows)
    assert whole.rejected is not None
    assert pl.concat(piece.rejected for piece in pieces if piece.rejected is not None).equals(whole.rejected)
