"""What a user reads when a record stops the run: the line of the topology file, the step, the record, the way out."""

from __future__ import annotations

import sys
from collections.abc import Callable

import polars as pl
import pytest

import streamproc as sp
from streamproc.flow.stream import Stream
from streamproc.testing import TopologyTest

c = pl.col
SCHEMA = {"k": pl.String, "n": pl.String, "t": pl.Datetime}
ROWS = [{"k": "a", "n": "1", "t": "2026-01-01T00:00:00Z"}, {"k": "b", "n": "x", "t": "2026-01-01T00:00:01Z"}]


def lower(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(c("k").replace("b", "other"))


def leave(frame: pl.DataFrame) -> pl.DataFrame:
    if "x" in frame["n"]:
        sys.exit("enough")
    return frame


def run(build: Callable[[Stream], Stream]) -> pl.DataFrame:
    topology = sp.Topology("job")
    stream = topology.read_kafka("in", format=sp.Json(SCHEMA), partitioned_by="k").with_watermark("t", lateness="1s")
    build(stream).write_delta("out")
    with TopologyTest(topology) as test:
        test.send("in", ROWS)
        test.run()
        return test.table("out")


@pytest.mark.parametrize(
    ("build", "code", "step", "line", "skips"),
    [
        (lambda s: s.filter(c("n").cast(pl.Int64) > 0), "SP611", "filter", "lambda s: s.filter(", True),
        (
            lambda s: s.expect("number", c("n").cast(pl.Int64) > 0, on_fail="stop"),
            "SP602",
            "expect:number",
            'lambda s: s.expect("number"',
            True,
        ),
        (lambda s: s.map_batches(leave, schema=SCHEMA), "SP603", "map_batches", 'sys.exit("enough")', True),
        (
            lambda s: s.map_batches(lower, schema=SCHEMA).deduplicate("k", within="1m"),
            "SP605",
            "map_batches",
            "lambda s: s.map_batches(lower",
            False,
        ),
    ],
)
def test_an_error_at_a_record_names_line_and_step(
    build: Callable[[Stream], Stream], code: str, step: str, line: str, skips: bool
) -> None:
    with pytest.raises(sp.DataError) as caught:
        run(build)
    error, place, record, *_ = str(caught.value).splitlines()
    assert error.startswith(f"error[{code}] ")
    assert "test_stops.py:" in place
    assert line in place
    assert record.startswith("  in/")
    assert record.endswith(f", step {step}")
    assert ("streamproc run FILE --skip in:" in caught.value.fix) == skips


def test_what_no_later_step_relies_on_may_change() -> None:
    rows = run(lambda s: s.deduplicate("k", within="1m").map_batches(lower, schema=SCHEMA))
    assert set(rows["k"]) == {"a", "other"}
