"""`recut` finds what depends on the cut, and says where."""

from __future__ import annotations

import polars as pl
import pytest

from streamproc.testing import recut

FRAME = pl.DataFrame({"x": [1.0, 2.0, float("nan"), None, 5.0], "tags": [["a"], [], None, ["b", "c"], ["d"]]})


def test_row_by_row_is_fine() -> None:
    result = recut(lambda f: f.with_columns(n=pl.col("tags").list.len(), y=pl.col("x") * 2), FRAME)
    assert result["n"].to_list() == [1, 0, None, 2, 1]


@pytest.mark.parametrize("height", [0, 1, 2])
def test_small_frames(height: int) -> None:
    assert recut(lambda f: f, FRAME.head(height)).height == height


def test_neighbours_are_found() -> None:
    with pytest.raises(AssertionError, match=r'2 pieces of rows 0-1, 2-4\n  row 2, column "x": 2.0 whole, None cut'):
        recut(lambda f: f.with_columns(pl.col("x").shift()), FRAME)


def test_dependence_on_the_height_is_found() -> None:
    with pytest.raises(AssertionError, match='column "n": 5 whole, 2 cut'):
        recut(lambda f: f.with_columns(n=pl.lit(f.height)), FRAME)


def test_state_between_calls_is_found() -> None:
    calls = iter(range(100))
    with pytest.raises(AssertionError, match='column "call"'):
        recut(lambda f: f.with_columns(call=pl.lit(next(calls))), FRAME)


def test_height_must_stay() -> None:
    with pytest.raises(AssertionError, match="5 rows went in, 4 came out"):
        recut(lambda f: f.head(4), FRAME)
    with pytest.raises(AssertionError, match="depends on where the input is cut"):
        recut(lambda f: f if f.height == 5 else f.clear(), FRAME)


def test_types_must_stay() -> None:
    with pytest.raises(AssertionError, match="columns depend on where the input is cut"):
        recut(lambda f: f.with_columns(x=pl.Series([1] * f.height)) if f.height < 3 else f, FRAME)
