"""`streamproc verify FILE`: what the tables of one topology say together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamproc.plan import load_topology, plan
from streamproc.position import before
from streamproc.sinks.base import Claim
from streamproc.sinks.delta import DeltaSink
from streamproc.sinks.inline import InlineExecutor

Streamproc = Callable[..., Any]

TOPOLOGY = """
import polars as pl
import streamproc as sp

topology = sp.Topology("shop")
for name in ("orders", "returns"):
    rows = topology.read_kafka(name, format=sp.Json({"id": pl.String, "n": pl.Int64}))
    rows.write_delta(f"silver/{name}")
    rows.filter(pl.col("n") > 9).write_delta(f"gold/{name}")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.py"
    file.write_text(TOPOLOGY)
    return file


def _claim(shop: Path, *, partitions: int = 2, only: tuple[str, ...] = ()) -> None:
    """As a worker does: each stage's tasks in its own tables and in the two that all share."""
    made = plan(load_topology(shop))
    for name in only or made.tables:
        sink = DeltaSink(
            made.tables[name], str(shop.parent / "lake"), topology="shop", writer="w", executor=InlineExecutor()
        )
        tasks = [
            made.task(stage.topic, number)
            for stage in made.stages
            if name in (*stage.tables, made.rejected, made.late)
            for number in range(partitions)
        ]
        sink.claim([Claim(task, "T", before(0), None, False) for task in tasks])


def test_tables_that_know_the_same_tasks(streamproc: Streamproc, shop: Path) -> None:
    _claim(shop)
    ended = streamproc("verify", shop, "--set", "lake=lake")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "verify: 6 tables, 0 gaps, 0 overlaps")


@pytest.mark.parametrize("table", ["gold/orders", "shop__late"])
def test_a_table_that_is_missing(streamproc: Streamproc, shop: Path, table: str) -> None:
    _claim(shop)
    shutil.rmtree(shop.parent / "lake" / table)
    ended = streamproc("verify", shop, "--set", "lake=lake")
    assert ended.code == 1
    assert f"{table}: no table\n  missing: the table is not there, others of the topology are\n" in ended.out
    assert ended.out.splitlines()[-1] == "verify: 6 tables, 0 gaps, 0 overlaps, 1 other problem"
    assert not (shop.parent / "lake" / table).exists()


def test_a_table_that_lacks_a_task(streamproc: Streamproc, shop: Path) -> None:
    _claim(shop, partitions=1)
    _claim(shop, partitions=2, only=("silver/returns",))
    ended = streamproc("verify", shop, "--set", "lake=lake")
    assert ended.code == 1
    named = [line for line in ended.out.splitlines() if "does not know" in line]
    assert named == ["  missing: shop/returns/1: the table does not know this task, others of the topology do"] * 3
    assert ended.out.count("missing:") == 3  # gold/returns and the two side tables, but no table of orders


def test_a_topology_that_never_ran(streamproc: Streamproc, shop: Path) -> None:
    (shop.parent / "lake").mkdir()
    ended = streamproc("verify", shop, "--set", "lake=lake")
    assert (ended.code, ended.out) == (1, "")
    assert "SP511" in ended.err
