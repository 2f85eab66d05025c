from __future__ import annotations

import polars as pl

from streamproc import position
from streamproc.operators.project import Drop, Rename, Select, WithColumns
from tests.unit.operators.batches import batch, part, places

ROWS = batch({"a": [1, 2, 3], "b": ["x", "y", "z"]})
EMPTY = part(ROWS, 0, 0)


def test_select_keeps_positions_and_repeats_literals() -> None:
    step = Select((pl.col("b"), pl.lit(7).alias("seven"), pl.col("a") * 2), ("b", "seven", "a"))
    result = step.process(ROWS)
    assert result.batch.rows.columns == ["b", "seven", "a", position.COLUMN]
    assert result.batch.visible.rows() == [("x", 7, 2), ("y", 7, 4), ("z", 7, 6)]
    assert places(result) == [0, 1, 2]
    assert not result.counts
    assert step.process(EMPTY).batch.rows.height == 0


def test_select_of_literals_alone() -> None:
    step = Select((pl.lit("q").alias("only"),), ("only",))
    assert step.process(ROWS).batch.visible.rows() == [("q",)] * 3
    assert step.process(EMPTY).batch.rows.height == 0


def test_columns_can_be_swapped() -> None:
    result = Select((pl.col("a").alias("b"), pl.col("b").alias("a")), ("b", "a")).process(ROWS)
    assert result.batch.visible.rows() == [(1, "x"), (2, "y"), (3, "z")]
    assert WithColumns((pl.col("a").alias("b"), pl.col("b").alias("a"))).process(ROWS).batch.visible.rows() == [
        ("x", 1),
        ("y", 2),
        ("z", 3),
    ]


def test_hidden_columns_are_looked_up_but_no_part_of_star() -> None:
    hidden = ("_offset", "_partition", "_topic", "_timestamp", "_key")
    offset = (pl.col("_offset") + pl.col("a")).alias("o")
    result = Select((pl.all(), offset, pl.concat_str(pl.all()).alias("s")), ("a", "b", "o", "s"), hidden).process(ROWS)
    assert result.batch.visible.rows() == [(1, "x", 101, "1x"), (2, "y", 104, "2y"), (3, "z", 107, "3z")]
    added = WithColumns((offset, pl.struct(pl.all()).alias("all")), ("_offset",)).process(part(ROWS, 1, 3))
    assert added.batch.visible.rows() == [(2, "y", 104, {"a": 2, "b": "y"}), (3, "z", 107, {"a": 3, "b": "z"})]
    assert added.batch.visible.columns == ["a", "b", "o", "all"]


def test_with_columns_adds_and_replaces_in_place() -> None:
    result = WithColumns((pl.col("a") + 1, pl.lit(None, pl.String).alias("c"))).process(ROWS)
    assert result.batch.rows.columns == ["a", "b", "c", position.COLUMN]
    assert result.batch.visible.rows() == [(2, "x", None), (3, "y", None), (4, "z", None)]


def test_drop_and_rename() -> None:
    assert Drop(("a",)).process(ROWS).batch.rows.columns == ["b", position.COLUMN]
    renamed = Rename({"a": "b", "b": "a"}).process(ROWS)
    assert renamed.batch.rows.columns == ["b", "a", position.COLUMN]
    assert places(renamed) == [0, 1, 2]
