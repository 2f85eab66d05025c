"""The hash of key columns: what is equal, what is not, and that it never changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.operators.hashing import hash_columns


def hashes(frame: pl.DataFrame) -> list[str]:
    hi, lo = hash_columns(frame, frame.columns)
    return [f"{h:016x}{low:016x}" for h, low in zip(hi.tolist(), lo.tolist(), strict=True)]


def of(values: list[Any], dtype: Any = None) -> list[str]:
    return hashes(pl.DataFrame({"a": pl.Series(values, dtype=dtype)}))


NAN = float("nan")

PINNED: list[tuple[Any, list[Any], list[str]]] = [
    (
        pl.String(),
        ["", "a", "é", None],
        [
            "d3d6486a90aeaa167eda146a64d327f8",
            "be4a360e8566866391ddda47919279f2",
            "4f9ad86a66945b28cff3ffb0e6605c4e",
            "59537cc8ea3d3410a4209686811de3cc",
        ],
    ),
    (pl.Binary(), [b"\xff"], ["ebaf91c0d2e0c0d8e6c110e06e8d2756"]),
    (
        pl.Int64(),
        [-1, 2**40, None],
        ["e31ad0f7e9f91211a9d55acca2774276", "2a4a01a19cc5cb3fefa9bca4ba5aacce", "c9b11a22e7780c023b646805648c7c5f"],
    ),
    (
        pl.Float64(),
        [-0.0, 1.5, NAN],
        ["bb4acc98ce8c711964969695ecb6faf4", "c3c491f07dab73b96fa1b0b8cc8f3930", "1b8659614e008e28c9b81eed94b4c2f9"],
    ),
    (pl.Boolean(), [True], ["16783f43f6fe8287f40666aae3de1d98"]),
    (pl.Datetime("us", "UTC"), [datetime(2024, 5, 1, 8, 51, tzinfo=UTC)], ["d96c12d1a66cd5b632f24b5fdd45ffa7"]),
    (pl.Date(), [date(2024, 5, 1)], ["210e58a3396f7985ae987070170aeaca"]),
    (pl.Time(), [time(8, 51)], ["4621e787808cdf5669c6fa13bd027d0a"]),
    (pl.Duration("us"), [timedelta(seconds=1)], ["3bc7a0aef6789f3d2257ddb5eadd5b14"]),
    (pl.Decimal(10, 2), [Decimal("1.50")], ["86eb8c8adbea85ccfcc2122beeaaf74f"]),
    (pl.List(pl.Int64()), [[1, None], []], ["3f177801dde657c824e94b4f309b2c18", "d3d6486a90aeaa167eda146a64d327f8"]),
    (pl.Struct({"x": pl.Int64(), "y": pl.String()}), [{"x": 1, "y": "a"}], ["2afb9284daa9b85042ebe11723366d88"]),
    (pl.Array(pl.Int64(), 2), [[1, 2]], ["01ff929a64f226ab6370d7700802fb8d"]),
]


@pytest.mark.parametrize(
    ("dtype", "values", "want"), PINNED, ids=lambda p: str(p) if isinstance(p, pl.DataType) else ""
)
def test_it_never_changes_because_stored_state_depends_on_it(dtype: Any, values: list[Any], want: list[str]) -> None:
    assert of(values, dtype) == want


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((["a"], pl.String()), (["a"], pl.Enum(["b", "a"]))),
        (([1, -5, None], pl.Int8()), ([1, -5, None], pl.Int64())),
        (([1, None], pl.UInt8()), ([1, None], pl.Int64())),
        (([0.0, 1.5], pl.Float64()), ([-0.0, 1.5], pl.Float32())),
        (([NAN], pl.Float64()), ([-NAN], pl.Float64())),
        (([[1]], pl.List(pl.Int8())), ([[1]], pl.List(pl.Int64()))),
        (([[-0.0, NAN]], pl.List(pl.Float64())), ([[0.0, -NAN]], pl.List(pl.Float64()))),
    ],
)
def test_equal_values_of_different_types_are_equal(left: tuple[list, Any], right: tuple[list, Any]) -> None:
    assert of(*left) == of(*right)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["", "0", None, "null", "\0", ":", ";"], pl.String()),
        ([b"", b"\0", b"\xff", None], pl.Binary()),
        ([0.0, 5e-324, 1.0, NAN, float("inf"), None], pl.Float64()),
        ([True, False, None], pl.Boolean()),
        ([[], [None], None, [""], ["", ""], ["a", "b"], ["ab"], ["1:a"]], pl.List(pl.String())),
        ([[[1], [2]], [[1, 2]], [[], [1, 2]], [[1, 2], []], [None]], pl.List(pl.List(pl.Int64()))),
        (
            [{"x": 1, "y": None}, {"x": None, "y": 1}, {"x": None, "y": None}, None],
            pl.Struct({"x": pl.Int8(), "y": pl.Int8()}),
        ),
        ([[{"x": "a"}], [{"x": None}], [None], []], pl.List(pl.Struct({"x": pl.String()}))),
    ],
)
def test_different_values_differ(values: list[Any], dtype: Any) -> None:
    assert len(set(of(values, dtype))) == len(values)


text = st.one_of(st.none(), st.text(st.sampled_from("ab:;1\0"), max_size=3))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(text, st.one_of(st.none(), st.integers(-12, 12)), text), unique=True, max_size=30))
def test_columns_do_not_run_into_each_other(rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String(), "b": pl.Int64(), "c": pl.String()}, orient="row")
    assert len(set(hashes(frame))) == len(rows)
    whole = hashes(frame)
    assert [h for i in range(frame.height) for h in hashes(frame[i])] == whole, "neighbours have no part in it"


def test_order_of_columns_matters() -> None:
    frame = pl.DataFrame({"a": ["x"], "b": ["y"]})
    assert hashes(frame) != hashes(frame.select("b", "a"))


def test_both_halves_are_spread() -> None:
    hi, lo = hash_columns(pl.DataFrame({"a": range(100_000)}), ["a"])
    for half in (hi, lo):
        assert len(np.unique(half)) == 100_000
        counts = np.bincount((half >> np.uint64(56)).astype(np.int64), minlength=256)
        assert counts.min() > 250
    assert not (hi == lo).any()


def test_a_type_without_hash_is_named() -> None:
    with pytest.raises(TypeError, match="Object"):
        hash_columns(pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), ["a"])
