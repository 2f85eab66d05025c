from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc import position
from streamproc.errors import DataError
from streamproc.operators.reshape import Explode, Unnest
from tests.unit.operators.batches import at, batch, places

LISTS = st.lists(st.none() | st.lists(st.none() | st.integers(0, 9), max_size=3), max_size=6)


@given(LISTS)
def test_explode_gives_a_row_for_each_element_with_its_records_position(lists: list[list[int | None] | None]) -> None:
    rows = pl.DataFrame({"l": pl.Series(lists, dtype=pl.List(pl.Int64)), "i": range(len(lists))})
    result = Explode(("l",)).process(batch(rows))
    expected = [(x, i) for i, items in enumerate(lists) for x in items or [None]]
    assert result.batch.visible.rows() == expected
    assert places(result) == [i for _, i in expected]
    assert not result.counts


@given(LISTS)
def test_columns_are_exploded_together(lists: list[list[int | None] | None]) -> None:
    other = [[None] if not items and i % 2 else items and [x is None for x in items] for i, items in enumerate(lists)]
    rows = pl.DataFrame(
        {"a": pl.Series(lists, dtype=pl.List(pl.Int64)), "b": pl.Series(other, dtype=pl.List(pl.Boolean))}
    )
    result = Explode(("a", "b")).process(batch(rows))
    expected = [(x, i) for i, items in enumerate(lists) for x in items or [None]]
    assert result.batch.rows["a"].to_list() == [x for x, _ in expected]
    assert places(result) == [i for _, i in expected]


def test_lists_of_different_lengths_stop_at_their_record() -> None:
    rows = batch({"a": [[1], [1, 2], [1]], "b": [[1], [1], []]})
    with pytest.raises(DataError) as caught:
        Explode(("a", "b")).process(rows)
    assert (caught.value.code, caught.value.position) == ("SP606", at(1))
    assert "a 2, b 1" in str(caught.value)


@given(st.lists(st.none() | st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=5))
def test_arrays_are_exploded_like_lists(arrays: list[list[int] | None]) -> None:
    rows = pl.DataFrame({name: pl.Series(arrays, dtype=pl.Array(pl.Int64(), 2)) for name in ("a", "b")})
    expected = [(x, i) for i, items in enumerate(arrays) for x in items or [None]]
    for columns in (("a",), ("a", "b")):
        result = Explode(columns).process(batch(rows))
        assert result.batch.rows.schema["a"] == pl.Int64
        assert list(zip(result.batch.rows["a"], places(result), strict=True)) == expected


def test_arrays_of_different_lengths_and_lists_stop_too() -> None:
    rows = pl.DataFrame(
        {"a": pl.Series([[1, 2]] * 2, dtype=pl.Array(pl.Int64(), 2)), "b": [[1, 2], [1]]},
    )
    with pytest.raises(DataError) as caught:
        Explode(("a", "b")).process(batch(rows, aggregated=True))
    assert (caught.value.code, caught.value.position, caught.value.skippable) == ("SP606", at(1), False)


def test_unnest_puts_the_fields_in_place() -> None:
    rows = batch({"x": [1, 2], "s": [{"p": 1, "q": "a"}, None], "y": [3, 4]})
    result = Unnest(("s",)).process(rows)
    assert result.batch.rows.columns == ["x", "p", "q", "y", position.COLUMN]
    assert result.batch.visible.rows() == [(1, 1, "a", 3), (2, None, None, 4)]
    assert places(result) == [0, 1]
