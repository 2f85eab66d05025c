from __future__ import annotations

from datetime import UTC, datetime

import orjson
import polars as pl
import pytest

from streamproc import position
from streamproc.errors import DataError
from streamproc.operators.base import OnFail
from streamproc.operators.expect import Expect
from tests.unit.operators.batches import at, batch, places, rejected

ROWS = batch({"t": [1.5, 99.0, None, 2.0], "s": ["a", "b", "c" * 500, "d"]})
LOW = pl.col("t") < 80


def test_false_and_null_are_rejected_with_the_values_that_matter() -> None:
    result = Expect("plausible", LOW).process(ROWS)
    assert places(result) == [0, 3]
    assert result.counts == {"rejected": 2}
    assert rejected(result) == [(1, "expectation"), (2, "expectation")]
    assert result.rejected is not None
    assert result.rejected.columns == [position.COLUMN, "reason", "detail"]
    details = result.rejected["detail"].to_list()
    assert details[0].startswith('"plausible"')
    assert details[0].endswith("; t = 99.0")
    assert details[1].endswith("; t = null")


@pytest.mark.parametrize(
    ("on_fail", "kept", "outcome"), [("warn", [0, 1, 2, 3], "warned"), ("drop", [0, 3], "dropped")]
)
def test_on_fail(on_fail: OnFail, kept: list[int], outcome: str) -> None:
    result = Expect("plausible", LOW, (), on_fail).process(ROWS)
    assert places(result) == kept
    assert result.counts == {outcome: 2}
    assert result.rejected is None


def test_stop_is_at_the_first_row_that_fails() -> None:
    with pytest.raises(DataError) as caught:
        Expect("plausible", LOW, (), "stop").process(ROWS)
    assert (caught.value.code, caught.value.position) == ("SP602", at(1))
    assert "t = 99.0" in str(caught.value)
    assert caught.value.skippable


def test_skipping_a_record_does_not_help_after_an_aggregate() -> None:
    with pytest.raises(DataError) as caught:
        Expect("few", pl.col("n") < 2, (), "stop").process(batch({"n": [1, 2]}, aggregated=True))
    assert not caught.value.skippable
    assert "--skip" not in str(caught.value)


def test_nothing_fails() -> None:
    result = Expect("any", pl.lit(True), (), "stop").process(ROWS)
    assert (places(result), dict(result.counts), result.rejected) == ([0, 1, 2, 3], {}, None)


def test_details_are_short_and_show_hidden_columns() -> None:
    long = pl.col("s").is_in(["x" * 400]) & (pl.col("_offset") > 0)
    result = Expect("n" * 400, long, ("_offset",)).process(ROWS)
    assert result.rejected is not None
    assert max(map(len, result.rejected["detail"])) <= 300
    shown = Expect("early", pl.col("_offset") < 100, ("_offset",)).process(ROWS)
    assert shown.rejected is not None
    assert shown.rejected["detail"][3].endswith("_offset = 106")


def test_after_an_aggregate_the_row_itself_is_kept_as_json() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame({"window_start": [start], "k": [b"\x00\xff"], "n": [3]})
    result = Expect("enough", pl.col("n") > 5).process(batch(frame, aggregated=True))
    assert result.rejected is not None
    assert result.rejected.schema["value"] == pl.Binary
    row = orjson.loads(result.rejected["value"][0])
    assert row["n"] == 3
    assert row["window_start"].startswith("2026-01-01")
