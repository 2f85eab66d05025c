from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streamproc.operators.filter import Filter
from tests.unit.operators.batches import batch, part, places

VALUES = st.lists(st.tuples(st.none() | st.integers(-3, 3), st.none() | st.booleans()), max_size=8)


@given(VALUES, st.integers(0, 8))
def test_keeps_rows_for_which_all_predicates_are_true_wherever_batches_are_cut(
    values: list[tuple[int | None, bool | None]], cut: int
) -> None:
    schema = {"n": pl.Int64, "ok": pl.Boolean}
    whole = batch(pl.DataFrame(values, schema=schema, orient="row"))
    step = Filter((pl.col("n") > 0, pl.col("ok")))
    expected = [i for i, (n, ok) in enumerate(values) if n is not None and n > 0 and ok]
    result = step.process(whole)
    assert places(result) == expected
    assert result.counts.get("filtered", 0) == len(values) - len(expected)
    pieces = [
        step.process(part(whole, *edges))
        for edges in ((0, min(cut, len(values))), (min(cut, len(values)), len(values)))
    ]
    assert [row for piece in pieces for row in places(piece)] == expected


def test_literals_several_columns_and_hidden_columns() -> None:
    rows = batch({"a": [1, 0, 1], "b": [1, 1, 1]})
    assert places(Filter((pl.lit(True),)).process(rows)) == [0, 1, 2]
    assert places(Filter((pl.lit(False),)).process(rows)) == []
    assert places(Filter((pl.col("a", "b") > 0,)).process(rows)) == [0, 2]
    assert places(Filter((pl.col("_offset") > 100, pl.all_horizontal(pl.all() > 0)), ("_offset",)).process(rows)) == [2]
