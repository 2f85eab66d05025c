from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import polars as pl

import streamproc as sp
from streamproc.flow.stream import Stream
from streamproc.plan import load_topology, plan
from streamproc.plan.fingerprint import fingerprint

FILE = """
import polars as pl, streamproc as sp
FACTOR = 2
def double(frame):
    return frame.with_columns(pl.col("v") * {factor})
topology = sp.Topology("t")
event = {{"u": pl.String, "at": pl.Datetime, "v": pl.Float64}}
events = topology.read_kafka("e", format=sp.Json(event), partitioned_by="u").map_batches(double, schema=event)
events = events.filter(pl.col("v").is_in([1.0, 2.0]) | pl.col("u").is_in({{"a", "b"}} and ["a"]))
events = events.with_watermark("at", lateness="{lateness}")
events.group_by(sp.tumbling("1m"), "u").agg(n=sp.count(), m=sp.mean(pl.col("v") * 3)).write_delta("{table}")
"""
PRINT = "import sys; from streamproc.plan import *; print(plan(load_topology(sys.argv[1])).stages[0].fingerprint)"


def of(folder: Path, factor: int = 2, lateness: str = "1s", table: str = "gold/t") -> tuple[str, str]:
    """Fingerprint of the stage and signature of its window."""
    folder.mkdir(exist_ok=True)
    file = folder / "flow.py"
    file.write_text(FILE.format(factor=factor, lateness=lateness, table=table))
    (stage,) = plan(load_topology(file)).stages
    return stage.fingerprint, next(step.signature for step in stage.steps if step.kind == "group_by")


def test_the_same_in_every_process_and_folder(tmp_path: Path) -> None:
    here, _ = of(tmp_path / "a")
    assert of(tmp_path / "b")[0] == here
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", PRINT, str(tmp_path / "b" / "flow.py")],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(sp.__file__).parent.parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == here


def test_another_one_as_soon_as_output_could_differ(tmp_path: Path) -> None:
    all_of_them = {
        of(tmp_path / "a")[0],
        of(tmp_path / "b", factor=3)[0],
        of(tmp_path / "c", lateness="2s")[0],
        of(tmp_path / "d", table="gold/u")[0],
    }
    assert len(all_of_them) == 4


def test_a_window_keeps_its_signature_where_its_state_still_fits(tmp_path: Path) -> None:
    assert of(tmp_path / "a")[1] == of(tmp_path / "b", factor=3, table="gold/u")[1]


def test_values_differ_by_meaning_and_not_by_identity() -> None:
    def scaled(by: float) -> object:
        return lambda frame: frame * by

    same = [
        (pl.col("a").is_in([1, 2]), pl.col("a").is_in([1, 2])),
        (sp.Json({"a": pl.Int64}), sp.Json({"a": pl.Int64()})),
        ({"b", "a"}, {"a", "b"}),
        (scaled(2), scaled(2)),
        (partial(sum, start=1), partial(sum, start=1)),
    ]
    different = [
        (sp.Json({"a": pl.Int64}), sp.Json({"a": pl.Int64}, required="a")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (scaled(2), scaled(3)),
        (1, 1.0),
        (1, True),
        (timedelta(1), timedelta(2)),
        (partial(sum, start=1), partial(sum, start=2)),
        (sp.mean("a"), sp.sum("a")),
    ]
    assert [fingerprint(a) == fingerprint(b) for a, b in same] == [True] * len(same)
    assert [fingerprint(a) == fingerprint(b) for a, b in different] == [False] * len(different)


def lineages(build: Callable[[Stream], None], lateness: str = "0s") -> dict[str, str]:
    """Lineage of each step with state."""
    topology = sp.Topology("t")
    stream = topology.read_kafka("e", format=sp.Json({"u": pl.String, "at": pl.Datetime}), partitioned_by="u")
    build(stream.with_watermark("at", lateness=lateness))
    (stage,) = plan(topology).stages
    assert all(not step.lineage for step in stage.steps if not step.signature)
    assert all(step.signature.startswith(step.kind) for step in stage.steps if step.signature)
    return {step.id: step.lineage for step in stage.steps if step.signature}


def once(stream: Stream, table: str, *, name: str | None = None, within: str = "1h") -> None:
    stream.filter(pl.col("u") == table).deduplicate("u", within=within, name=name).write_delta(table)


def test_the_lineage_of_a_step_is_what_comes_before_it() -> None:
    def a_and_b(stream: Stream) -> None:
        once(stream, "a")
        once(stream, "b")

    both = lineages(a_and_b)
    alone = lineages(lambda s: once(s, "b"))
    assert both["deduplicate-2"] == alone["deduplicate"] != both["deduplicate"]
    assert len(both["deduplicate"]) == 32
    assert lineages(lambda s: once(s, "b", within="2h"))["deduplicate"] == alone["deduplicate"], "it is no part of it"
    assert lineages(lambda s: once(s, "b"), lateness="1s")["deduplicate"] != alone["deduplicate"]
    assert alone["with_watermark"] == both["with_watermark"] != ""


def test_a_named_step_needs_no_lineage() -> None:
    assert lineages(lambda s: once(s, "a", name="mine"))["mine"] == ""
