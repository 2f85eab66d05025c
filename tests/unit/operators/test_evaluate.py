"""Expressions that fail at a row: every step that has some names the first one, at any place, with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import DataError
from streamproc.operators import evaluate
from streamproc.operators.base import Operator
from streamproc.operators.batch import Batch
from streamproc.operators.filter import Filter
from streamproc.operators.project import Select, WithColumns
from tests.unit.operators.batches import at, batch, part, places

NUMBER = pl.col("s").cast(pl.Int64)
EARLY = pl.col("_offset") + NUMBER
STEPS: dict[str, Operator] = {
    "select": Select((NUMBER,), ("s",)),
    "with_columns": WithColumns((pl.lit(1).alias("one"), NUMBER.alias("n"), pl.col("t").cast(pl.Int64).alias("m"))),
    "hidden": WithColumns((EARLY.alias("n"),), ("_offset",)),
    "filter": Filter((NUMBER > 0, pl.col("s") != "")),
    "where": Filter((EARLY > 0,), ("_offset",)),
}


def refusal(step: Operator, rows: Batch) -> DataError:
    with pytest.raises(DataError) as caught:
        step.process(rows)
    return caught.value


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_first_row_that_fails_stops_at_its_record(step: Operator) -> None:
    rows = batch({"s": ["1", "2", "abc", "3", "x"], "t": ["0", "0", "0", "y", "0"]})
    error = refusal(step, rows)
    assert (error.code, error.position, error.skippable) == ("SP611", at(2), True)
    assert len(error.detail) == 1
    assert "abc" in error.detail[0]
    assert error.fix
    assert places(step.process(part(rows, 0, 2))) == [0, 1]


def test_of_several_expressions_the_one_that_fails_first_by_position() -> None:
    rows = batch({"s": ["1", "2", "3", "x"], "t": ["0", "y", "0", "0"]})
    assert refusal(STEPS["with_columns"], rows).position == at(1)


def test_skipping_does_not_help_after_an_aggregate() -> None:
    assert not refusal(STEPS["filter"], batch({"s": ["x"]}, aggregated=True)).skippable


@given(st.lists(st.sampled_from(["1", "2", "3", "x", "long" * 200]), max_size=40), st.integers(0, 40))
def test_neither_position_nor_text_depends_on_cuts(texts: Sequence[str], cut: int) -> None:
    rows = batch({"s": pl.Series(texts, dtype=pl.String)})
    expected = next((i for i, text in enumerate(texts) if not text.isdecimal()), None)
    if expected is None:
        assert places(STEPS["filter"].process(rows)) == list(range(len(texts)))
        return
    whole = refusal(STEPS["filter"], rows)
    piece = part(rows, min(cut, expected), len(texts))
    assert whole.position == at(expected)
    assert str(refusal(STEPS["filter"], piece)) == str(whole)
    assert len(whole.detail[0]) <= 300


def test_a_few_evaluations_find_it_in_many_rows() -> None:
    count = 1 << 14
    rows = batch({"s": ["1"] * 9_000 + ["x"] + ["1", "y"] * ((count - 9_001) // 2)})
    with patch.object(evaluate, "_evaluate", wraps=evaluate._evaluate) as evaluations:
        assert refusal(STEPS["filter"], rows).position == at(9_000)
    assert evaluations.call_count <= 16
