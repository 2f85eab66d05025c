"""Does a function's answer depend on where its input was cut? In production nobody knows where that will be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import polars as pl
from polars.testing import assert_frame_equal

ONE_BY_ONE_MAX = 200
"""Frames of up to so many rows are also cut into single rows."""


def recut(function: Callable[[pl.DataFrame], pl.DataFrame], frame: pl.DataFrame) -> pl.DataFrame:
    """Call a function for `map_batches` on a frame, whole and cut in several ways, and compare.

    Args:
        function: takes a frame, returns one of the same height, row by row.
        frame: sample input.

    Returns:
        The result for the whole frame.

    Raises:
        AssertionError: the results differ: says for which cut, in which row and column.

    >>> frame = pl.DataFrame({"celsius": [20.0, 30.0]})
    >>> recut(lambda f: f.with_columns(fahrenheit=pl.col("celsius") * 9 / 5 + 32), frame)["fahrenheit"].to_list()
    [68.0, 86.0]
    >>> recut(lambda f: f.with_columns(pl.col("celsius") - pl.col("celsius").mean()), frame)
    Traceback (most recent call last):
    AssertionError: the result depends on where the input is cut: in 1 piece against 2 pieces of rows 0, 1
      row 0, column "celsius": -5.0 whole, 0.0 cut
    """
    whole = function(frame)
    if whole.height != frame.height:
        raise AssertionError(f"{frame.height} rows went in, {whole.height} came out: the height must stay the same")
    for edges in _cuts(frame.height):
        pieces = [function(frame.slice(start, stop - start)) for start, stop in pairwise(edges)]
        _compare(whole, pieces, edges)
    return whole


def _cuts(height: int) -> Iterator[list[int]]:
    """Edges of pieces: halves, thirds, a single row at either end, and every row by itself."""
    ways = [
        [0, height // 2, height],
        [0, height // 3, 2 * height // 3, height],
        [0, 1, height],
        [0, height - 1, height],
    ]
    if height <= ONE_BY_ONE_MAX:
        ways.append(list(range(height + 1)))
    seen: list[list[int]] = []
    for edges in ways:
        distinct = sorted({edge for edge in edges if 0 <= edge <= height})
        if len(distinct) > 2 and distinct not in seen:
            seen.append(distinct)
            yield distinct


def _compare(whole: pl.DataFrame, pieces: list[pl.DataFrame], edges: list[int]) -> None:
    spans = ", ".join(str(a) if b - a == 1 else f"{a}-{b - 1}" for a, b in pairwise(edges[:8]))
    where = f"in 1 piece against {len(pieces)} pieces of rows {spans}{', ...' if len(edges) > 8 else ''}"
    for piece in pieces:
        if piece.schema != whole.schema:
            raise AssertionError(
                f"the result's columns depend on where the input is cut: {where}\n"
                f"  whole: {dict(whole.schema)}\n  cut: {dict(piece.schema)}"
            )
    cut = pl.concat(pieces)
    if cut.height != whole.height:
        raise AssertionError(f"the height depends on where the input is cut: {where}: {whole.height}, {cut.height}")
    for row in range(whole.height):
        for column in whole.columns:
            if not _same(whole.slice(row, 1).select(column), cut.slice(row, 1).select(column)):
                raise AssertionError(
                    f"the result depends on where the input is cut: {where}\n"
                    f'  row {row}, column "{column}": {whole[column][row]!r} whole, {cut[column][row]!r} cut'
                )


def _same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Exactly equal, NaN like NaN, nested values too."""
    try:
        assert_frame_equal(one, other, check_exact=True)
    except AssertionError:
        return False
    return True
