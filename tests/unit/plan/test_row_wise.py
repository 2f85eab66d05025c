from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl
import pytest

from streamproc.plan.row_wise import PYTHON, dependent_call, differs_by_cut

COLUMNS: dict[str, pl.DataType] = {
    "a": pl.Float64(),
    "i": pl.Int64(),
    "s": pl.String(),
    "l": pl.List(pl.Int64()),
    "t": pl.Datetime("us", "UTC"),
    "b": pl.Binary(),
    "flag": pl.Boolean(),
    "st": pl.Struct({"x": pl.Int64(), "y": pl.String()}),
}
a, i, s, l, t, b, flag, st = map(pl.col, COLUMNS)

REFUSED: list[tuple[str, Callable[[], pl.Expr]]] = [
    ("mean", lambda: a - a.mean()),
    ("max", lambda: pl.when(a > a.max()).then(1).otherwise(2)),
    ("max", lambda: a.replace(1.0, i.max())),
    ("sum", lambda: pl.sum("a")),
    ("sum", lambda: pl.col("a", "i").sum()),
    ("mean", lambda: pl.selectors.numeric().mean()),
    ("shift", lambda: a.shift(1)),
    ("shift", lambda: pl.selectors.numeric().shift(1)),
    ("diff", lambda: a.diff()),
    ("sum", lambda: a.sum().over("s")),
    ("over", lambda: a.over("s")),
    ("rank", lambda: a.rank()),
    ("len", lambda: pl.len()),
    ("len", lambda: a / pl.len()),
    ("len", lambda: a.len()),
    ("count", lambda: a.count()),
    ("forward_fill", lambda: a.forward_fill()),
    ("backward_fill", lambda: a.fill_null(strategy="backward")),
    ("fill_null(strategy=...)", lambda: a.fill_null(strategy="mean")),
    ("cum_sum", lambda: a.cum_sum()),
    ("cumulative_eval", lambda: a.cumulative_eval(pl.element().sum())),
    ("rolling_mean", lambda: a.rolling_mean(2)),
    ("ewm_mean", lambda: a.ewm_mean(com=1)),
    ("interpolate", lambda: a.interpolate()),
    ("sort", lambda: a.sort()),
    ("reverse", lambda: a.reverse()),
    ("unique", lambda: a.unique()),
    ("is_duplicated", lambda: a.is_duplicated()),
    ("is_first_distinct", lambda: a.is_first_distinct()),
    ("n_unique", lambda: a.n_unique()),
    ("rle_id", lambda: a.rle_id()),
    ("corr", lambda: pl.corr("a", "i")),
    ("any", lambda: flag.any()),
    ("all", lambda: a.is_null().all()),
    ("first", lambda: a.first()),
    ("slice, head, tail or limit", lambda: a.head(1)),
    ("get", lambda: a.get(0)),
    ("gather", lambda: a.gather([0])),
    ("implode", lambda: a.implode()),
    ("filter", lambda: a.filter(s != "zzz")),
    ("drop_nulls", lambda: a.drop_nulls()),
    ("explode", lambda: l.explode()),
    ("top_k", lambda: a.top_k(1)),
    ("value_counts", lambda: s.value_counts()),
    ("len", lambda: pl.row_index()),
    ("int_range", lambda: pl.int_range(0, 6)),
    ("str.join", lambda: s.str.join(",")),
    ("str.to_datetime without a format (it is guessed from the first value)", lambda: s.str.to_datetime()),
    ("mean", lambda: st.struct.with_fields(pl.field("x").mean())),
    ("shuffle or sample", lambda: a.shuffle(seed=1)),
    ("shuffle or sample", lambda: a.sample(fraction=1.0)),
    ("shuffle or sample", lambda: l.list.sample(n=1)),
    ("shuffle or sample", lambda: l.list.eval(pl.element().shuffle())),
    (PYTHON, lambda: a.map_elements(lambda x: x * 3.7 if x else x, return_dtype=pl.Float64)),
    (PYTHON, lambda: a.map_batches(lambda x: x, is_elementwise=True)),
    (PYTHON, lambda: pl.fold(0, lambda x, y: x + y, [a, i]) + a.map_batches(lambda x: x)),
]

ACCEPTED: list[Callable[[], pl.Expr]] = [
    lambda: a,
    lambda: pl.all(),
    lambda: pl.exclude("a"),
    lambda: pl.selectors.numeric() * 2,
    lambda: pl.col(pl.Float64).fill_null(0),
    lambda: pl.nth(0),
    lambda: pl.lit("x"),
    lambda: pl.lit(None),
    lambda: a * 2 + i // 3 - i % 2,
    lambda: (a > 1) & s.is_null() | ~flag,
    lambda: a.is_between(-60, 80),
    lambda: s.is_in(["a", "b"]),
    lambda: s.is_in(pl.Series(["a"])),
    lambda: i.is_in(l),
    lambda: a.cast(pl.Int32),
    lambda: s.cast(pl.Float64, strict=False),
    lambda: i.cast(pl.Decimal(10, 2)),
    lambda: pl.when(a > 1).then(pl.lit("x")).when(a.is_null()).then(None).otherwise(s),
    lambda: pl.coalesce(a, i, pl.lit(0)),
    lambda: a.fill_null(0).fill_nan(0).clip(0, 1).round(2).sqrt(),
    lambda: pl.max_horizontal("a", "i") + pl.sum_horizontal("a", "i"),
    lambda: pl.concat_str("s", pl.lit("-"), "s"),
    lambda: pl.format("{}-{}", "s", "a"),
    lambda: s.str.to_uppercase().str.strip_chars().str.slice(0, 2),
    lambda: s.str.contains("a") & s.str.starts_with("b"),
    lambda: s.str.contains_any(["a", "b"]),
    lambda: s.str.replace_many(["a"], ["b"]),
    lambda: s.str.extract(r"(\d)", 1).cast(pl.Int64),
    lambda: s.str.split(",").list.len(),
    lambda: s.str.to_datetime("%Y-%m-%d", strict=False),
    lambda: s.str.to_date("%Y-%m-%d"),
    lambda: s.str.json_decode(pl.Struct({"x": pl.Int64})),
    lambda: s.replace({"a": "b"}),
    lambda: s.replace_strict({"a": 1}, default=None),
    lambda: b.cast(pl.String),
    lambda: b.bin.encode("hex"),
    lambda: t.dt.date(),
    lambda: t.dt.truncate("1h"),
    lambda: t.dt.convert_time_zone("Europe/Berlin").dt.hour(),
    lambda: t - pl.duration(hours=1),
    lambda: t > datetime(2024, 1, 1, tzinfo=UTC),
    lambda: pl.from_epoch("i", time_unit="ms").dt.replace_time_zone("UTC"),
    lambda: l.list.sum() + l.list.get(0, null_on_oob=True),
    lambda: l.list.sort().list.reverse().list.unique(),
    lambda: l.list.eval(pl.element().cum_sum() - pl.element().mean()),
    lambda: l.list.filter(pl.element() > 1),
    lambda: l.list.agg(pl.element().sum()),
    lambda: pl.concat_list("a", "i").list.mean(),
    lambda: st.struct.field("x"),
    lambda: st.struct.field("x", "y"),
    lambda: st.struct.with_fields(pl.field("x") + 1),
    lambda: pl.struct("a", "i"),
    lambda: pl.int_ranges(0, i),
    lambda: pl.sql_expr("a + 1"),
    lambda: a.hash(1),
    lambda: a.alias("z").name.suffix("_x"),
]


@pytest.mark.parametrize(("call", "make"), REFUSED, ids=[f"{n}-{call}" for n, (call, _) in enumerate(REFUSED)])
def test_what_depends_on_other_rows_is_named(call: str, make: Callable[[], pl.Expr]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert dependent_call(make()) == call


@pytest.mark.parametrize("make", ACCEPTED, ids=[str(n) for n in range(len(ACCEPTED))])
def test_what_sees_one_row_passes(make: Callable[[], pl.Expr]) -> None:
    expr = make()
    assert dependent_call(expr) is None, str(expr)
    assert not differs_by_cut(expr, COLUMNS), str(expr)


@pytest.mark.parametrize(
    "expr",
    [l.explode(), a.drop_nulls(), a - a.mean(), a.shift(1), a.cum_sum(), a.filter(a > 1), pl.lit(pl.Series([1, 2]))],
    ids=str,
)
def test_the_sample_shows_dependence_by_itself(expr: pl.Expr) -> None:
    assert differs_by_cut(expr, COLUMNS)
