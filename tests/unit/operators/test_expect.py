from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc import position
from streamproc.errors import DataError
from streamproc.operators.base import OnFail
from streamproc.operators.evaluate import judged
from streamproc.operators.expect import Expect
from tests.unit.operators.batches import at, batch, part, places, rejected

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


NUMBER = pl.col("s").cast(pl.Int64) > 0


def test_a_value_that_the_predicate_fails_for_follows_on_fail() -> None:
    rows = batch({"s": ["1", "abc", "-1", None, "2"] * 9 + ["x" * 400, "3"]})
    bad = [i for i in range(46) if i % 5 in (1, 2, 3) or i == 45]
    result = Expect("number", NUMBER).process(rows)
    assert places(result) == [i for i in range(47) if i not in bad]
    assert rejected(result) == [(i, "expectation") for i in bad]
    assert result.rejected is not None
    detail = result.rejected["detail"]
    assert detail[0].startswith('"number": conversion from `str` to `i64` failed')
    assert '"abc"' in detail[0]
    assert detail[1].endswith("s = -1")
    assert detail.str.len_chars().max() <= 300  # type: ignore[operator]
    assert places(Expect("number", NUMBER, (), "warn").process(rows)) == list(range(47))
    assert Expect("number", NUMBER, (), "drop").process(rows).counts == {"dropped": len(bad)}
    with pytest.raises(DataError) as caught:
        Expect("number", NUMBER, (), "stop").process(rows)
    assert (caught.value.code, caught.value.position) == ("SP602", at(1))
    assert "conversion from" in caught.value.detail[0]


@given(st.lists(st.sampled_from(["1", "0", "x"]), max_size=60), st.integers(0, 60))
def test_cuts_change_nothing(texts: list[str], cut: int) -> None:
    rows = batch({"s": pl.Series(texts, dtype=pl.String)})
    step = Expect("number", (pl.col("_offset") > 0) & NUMBER, ("_offset",))
    whole = step.process(rows)
    pieces = [
        step.process(part(rows, *edges))
        for edges in ((0, min(cut, len(texts))), (cut, len(texts)))
        if edges[0] <= edges[1]
    ]
    assert places(whole) == [i for i, text in enumerate(texts) if text == "1"]
    assert pl.concat(piece.batch.rows for piece in pieces).equals(whole.batch.rows)
    sides = [piece.rejected for piece in pieces if piece.rejected is not None]
    assert (whole.rejected is None) == (not sides)
    if whole.rejected is not None:
        assert pl.concat(sides).equals(whole.rejected)


def test_many_rows_that_fail_take_about_one_evaluation_each() -> None:
    rows = batch({"s": ["x"] * 2_000})
    with patch.object(pl.DataFrame, "slice", autospec=True, side_effect=pl.DataFrame.slice) as evaluations:
        judged(rows, NUMBER, ())
    assert 2_000 < evaluations.call_count < 2_400


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
