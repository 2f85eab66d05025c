"""The test kit on small topologies: the same tables whatever happens on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import streamproc as sp
from streamproc.runtime.log import TopicPartition
from streamproc.testing import TopologyTest

READING = {"device": pl.String, "at": pl.Datetime, "celsius": pl.Float64}
START = datetime(2026, 1, 1, tzinfo=UTC)


def readings() -> sp.Topology:
    """Bronze, silver and gold from one read."""
    topology = sp.Topology("readings")
    raw = topology.read_kafka("sensors", format=sp.Raw(), partitioned_by="device")
    raw.write_delta("bronze")
    silver = (
        raw.decode("value", sp.Json(READING, required=["device", "at"]))
        .drop("key")
        .with_watermark("at", lateness="30s")
        .expect("plausible", pl.col("celsius") < 60)
        .deduplicate("device", "at", within="2m")
    )
    silver.write_delta("silver")
    silver.group_by(sp.tumbling("1m"), "device").agg(n=sp.count(), high=sp.max("celsius")).write_delta("gold")
    return topology


def messages() -> list[dict[str, Any] | bytes]:
    """Three devices, out of order, duplicates, late, implausible and broken ones."""
    rows: list[dict[str, Any] | bytes] = []
    for n in range(60):
        jitter = (n * 7) % 25
        at = START + timedelta(seconds=10 * n - jitter)
        row = {"device": "abc"[n % 3], "at": at, "celsius": 20.0 + n % 5}
        rows += [row]
        if n % 6 == 5:
            rows += [rows[-4]]
        if n % 20 == 19:
            rows += [b"{", {**row, "celsius": 99.0}, {**row, "at": at - timedelta(minutes=5)}]
    return rows


TABLES = ("bronze", "silver", "gold", "readings__rejected", "readings__late")


def key(message: dict[str, Any] | bytes) -> bytes:
    return b"broken" if isinstance(message, bytes) else str(message["device"]).encode()


def contents(t: TopologyTest) -> dict[str, pl.DataFrame]:
    """All tables, sorted."""
    frames = {name: t.table(name) for name in TABLES}
    return {name: frame.sort(frame.columns) for name, frame in frames.items()}


def assert_same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> None:
    for name in TABLES:
        assert_frame_equal(one[name], other[name])


@pytest.fixture(scope="module")
def straight() -> dict[str, pl.DataFrame]:
    """Everything sent, then one run."""
    with TopologyTest(readings(), partitions=3) as t:
        t.send("sensors", messages(), key=key, timestamp=START + timedelta(minutes=20))
        t.run()
        t.verify()
        return contents(t)


def test_the_reference_holds_all_kinds_of_rows(straight: dict[str, pl.DataFrame]) -> None:
    heights = {name: frame.height for name, frame in straight.items()}
    assert heights["bronze"] == len(messages())
    assert heights["silver"] == 60
    assert heights["gold"] > 10
    assert set(straight["readings__rejected"]["reason"]) == {"not_json", "expectation"}
    assert heights["readings__late"] > 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 20])
def test_batch_size_changes_nothing(straight: dict[str, pl.DataFrame], batch_size: int) -> None:
    with TopologyTest(readings(), partitions=3, batch_size=batch_size) as t:
        t.send("sensors", messages(), key=key, timestamp=START + timedelta(minutes=20))
        t.run()
        t.verify()
        assert_same(contents(t), straight)


LIVES = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans(), st.integers(1, 9)), min_size=1, max_size=5)
"""Of each worker: steps before a checkpoint that may come, how it dies, the batch size of its successor."""


@settings(max_examples=8, deadline=None)
@given(LIVES)
def test_crashes_change_nothing(straight: dict[str, pl.DataFrame], lives: list[tuple[int, bool, bool, int]]) -> None:
    with TopologyTest(readings(), partitions=3, batch_size=4) as t:
        t.send("sensors", messages(), key=key, timestamp=START + timedelta(minutes=20))
        for steps, commits, in_checkpoint, batch_size in lives:
            for _ in range(steps):
                t.step()
            if commits:
                t.advance("1s")
            t.step()
            t.crash(in_checkpoint=in_checkpoint)
            t.restart(batch_size=batch_size)
        t.run()
        t.verify()
        assert_same(contents(t), straight)
        counts = t.accounts()
        assert counts["source"]["in"] == len(messages())
        assert counts["deduplicate"]["in"] == sum(counts["deduplicate"][k] for k in ("out", "duplicates", "late"))


def test_crash_loses_what_was_not_committed_only() -> None:
    with TopologyTest(readings()) as t:
        t.send("sensors", {"device": "a", "at": START, "celsius": 1.0})
        t.run()
        t.send("sensors", {"device": "b", "at": START, "celsius": 2.0})
        t.step()
        t.crash()
        assert t.table("silver")["device"].to_list() == ["a"]
        with pytest.raises(RuntimeError, match="call restart"):
            t.run()
        t.restart()
        t.run()
        assert sorted(t.table("silver")["device"]) == ["a", "b"]


def test_dying_in_a_checkpoint_leaves_tables_ahead_and_is_trimmed() -> None:
    with TopologyTest(readings()) as t:
        t.send("sensors", {"device": "a", "at": START, "celsius": 1.0})
        t.step()
        t.crash(in_checkpoint=True)
        assert t.table("silver")["device"].to_list() == ["a"]
        assert t.broker.groups.committed("readings", TopicPartition("sensors", 0)) == 0
        t.restart()
        t.run()
        assert t.table("silver")["device"].to_list() == ["a"]
        t.verify()


def test_table_ahead_is_trimmed_when_batches_are_cut_elsewhere() -> None:
    with TopologyTest(readings(), batch_size=4) as t:
        t.send("sensors", messages(), key=key, timestamp=START + timedelta(minutes=20))
        t.step()
        t.crash(in_checkpoint=True)
        t.restart(batch_size=3)
        t.run()
        t.verify()
        assert t.table("bronze").height == len(messages())


def test_state_survives() -> None:
    with TopologyTest(readings()) as t:
        for celsius in (20.0, 21.0):
            t.send("sensors", {"device": "a", "at": START, "celsius": celsius})
            t.run()
            t.crash()
            t.restart()
        assert t.table("silver")["celsius"].to_list() == [20.0]


def test_step_commits_when_the_clock_says_so() -> None:
    with TopologyTest(readings()) as t:
        t.send("sensors", {"device": "a", "at": START, "celsius": 1.0})
        t.step()
        assert t.table("silver").height == 0
        t.advance("1s")
        t.step()
        assert t.table("silver").height == 1


def test_keys_partitions_and_timestamps() -> None:
    with TopologyTest(readings(), partitions=2) as t:
        row = {"device": "a", "at": START, "celsius": 1.0}
        t.send("sensors", row)
        t.send("sensors", row, key="celsius", partition=1)
        t.send("sensors", [row], key=b"k", partition=0)
        t.send("sensors", row, key=lambda m: m["device"] * 2, partition=0, timestamp=datetime(2025, 5, 1))
        t.advance("1h")
        t.send("sensors", [b"bytes", "text", None], partition=1)
        t.send("sensors", pl.DataFrame([row]), partition=1)
        t.run()
        bronze = t.table("bronze")
        assert sorted(bronze["key"].drop_nulls()) == [b"1.0", b"a", b"a", b"aa", b"k"]
        assert bronze.filter(pl.col("value").is_null()).height == 1
        assert {b"bytes", b"text"} < set(bronze["value"].drop_nulls())
        assert t.rejected().filter(pl.col("timestamp") == START + timedelta(hours=1)).height == 3


def test_what_cannot_be_sent_is_said() -> None:
    with TopologyTest(readings()) as t:
        with pytest.raises(sp.LogError, match='topic "sensor" does not exist'):
            t.send("sensor", b"")
        with pytest.raises(ValueError, match='no field "colour"'):
            t.send("sensors", {"device": "a"}, key="colour")
        with pytest.raises(ValueError, match="no partition 1"):
            t.send("sensors", b"", partition=1)
        with pytest.raises(ValueError, match="does not go back"):
            t.advance(timedelta(seconds=-1))


def test_tables_are_named_as_in_the_topology() -> None:
    with TopologyTest(readings()) as t:
        with pytest.raises(ValueError, match='no table "sliver"; the topology has bronze, silver, gold'):
            t.table("sliver")
        with pytest.raises(sp.TableError):
            t.table("silver")
        t.run()
        assert t.table("silver").is_empty()
        assert (t.rejected().height, t.late().height) == (0, 0)


def test_a_record_that_stops_the_run_comes_out_as_it_is() -> None:
    topology = sp.Topology("strict")
    stream = topology.read_kafka("t", format=sp.Json({"x": pl.Int64}))
    stream.expect("positive", pl.col("x") > 0, on_fail="stop").write_delta("out")
    with TopologyTest(topology) as t:
        t.send("t", [{"x": 1}, {"x": 2}, {"x": -1}, {"x": 3}])
        with pytest.raises(sp.DataError, match="positive"):
            t.run()
        assert sorted(t.table("out")["x"]) == [1, 2]
        t.restart()
        with pytest.raises(sp.DataError, match="positive"):
            t.run()
        assert sorted(t.table("out")["x"]) == [1, 2]


@pytest.mark.parametrize("in_checkpoint", [False, True])
def test_accounts_are_there_right_after_a_restart(in_checkpoint: bool) -> None:
    with TopologyTest(readings(), partitions=2) as t:
        t.send("sensors", messages(), key=key)
        t.run()
        durable = t.accounts()
        assert durable["source"]["in"] == len(messages())
        t.send("sensors", messages(), key=key)
        t.step()
        t.crash(in_checkpoint=in_checkpoint)
        t.restart()
        assert t.accounts() == durable
        assert t.accounts() == durable, "nothing was processed"
        t.run()
        assert t.accounts()["source"]["in"] == 2 * len(messages())


def test_errors_of_the_topology_come_out_as_they_are() -> None:
    topology = sp.Topology("wrong")
    stream = topology.read_kafka("t", format=sp.Json({"x": pl.Int64}))
    stream.filter(pl.col("y") > 0).write_delta("out")
    with pytest.raises(sp.TopologyError, match='unknown column "y"'):
        TopologyTest(topology)


def test_a_topology_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import polars as pl\nimport streamproc as sp\n\n"
        'topology = sp.Topology("mine")\n'
        'topology.read_kafka("t", format=sp.Json({"x": pl.Int64})).write_delta("out")\n'
    )
    with TopologyTest(file) as t:
        t.send("t", {"x": 1})
        t.run()
        assert t.table("out")["x"].to_list() == [1]


def test_an_altered_table_is_found_by_verify_and_stops_the_run() -> None:
    with TopologyTest(readings()) as t:
        t.send("sensors", {"device": "a", "at": START, "celsius": 1.0})
        t.run()
        t.verify()
        DeltaTable(t.table_path("silver")).delete()
        with pytest.raises(AssertionError, match="silver: "):
            t.verify()
        t.crash()
        t.restart()
        t.send("sensors", {"device": "b", "at": START, "celsius": 1.0})
        with pytest.raises(sp.TableError):
            t.run()


def test_several_topics_are_one_stream() -> None:
    topology = sp.Topology("union")
    topology.read_kafka(["old", "new"], format=sp.Json({"x": pl.Int64})).write_delta("out")
    with TopologyTest(topology) as t:
        t.send("old", [{"x": 1}, {"x": 2}])
        t.send("new", {"x": 3})
        t.run()
        assert sorted(t.table("out")["x"]) == [1, 2, 3]
        assert t.accounts()["source"]["in"] == 3
        t.verify()


def test_the_same_calls_give_the_same_files() -> None:
    def trace() -> list[str]:
        with TopologyTest(readings(), partitions=2, batch_size=5) as t:
            t.send("sensors", messages(), key=key)
            t.step()
            t.crash()
            t.restart()
            t.run()
            state = t.broker.topics["readings.state"].partitions[0].read("s", 0, 0, 100)[0]
            return [str(state.offsets), *(str(sorted(t.table(name).rows(), key=str)) for name in TABLES)]

    assert trace() == trace()
