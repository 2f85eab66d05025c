from __future__ import annotations

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
a, i, s, many, t, b, flag, st = map(pl.col, COLUMNS)

REFUSED: list[tuple[str, pl.Expr]] = [
    ("mean", a - a.mean()),
    ("max", pl.when(a > a.max()).then(1).otherwise(2)),
    ("max", a.replace(1.0, i.max())),
    ("sum", pl.sum("a")),
    ("sum", pl.col("a", "i").sum()),
    ("mean", pl.selectors.numeric().mean()),
    ("shift", a.shift(1)),
    ("shift", pl.selectors.numeric().shift(1)),
    ("diff", a.diff()),
    ("sum", a.sum().over("s")),
    ("over", a.over("s")),
    ("rank", a.rank()),
    ("len", pl.len()),
    ("len", a / pl.len()),
    ("len", a.len()),
    ("count", a.count()),
    ("forward_fill", a.forward_fill()),
    ("backward_fill", a.fill_null(strategy="backward")),
    ("fill_null(strategy=...)", a.fill_null(strategy="mean")),
    ("cum_sum", a.cum_sum()),
    ("cumulative_eval", a.cumulative_eval(pl.element().sum())),
    ("rolling_mean", a.rolling_mean(2)),
    ("ewm_mean", a.ewm_mean(com=1)),
    ("interpolate", a.interpolate()),
    ("sort", a.sort()),
    ("reverse", a.reverse()),
    ("unique", a.unique()),
    ("is_duplicated", a.is_duplicated()),
    ("is_first_distinct", a.is_first_distinct()),
    ("n_unique", a.n_unique()),
    ("rle_id", a.rle_id()),
    ("corr", pl.corr("a", "i")),
    ("any", flag.any()),
    ("all", a.is_null().all()),
    ("first", a.first()),
    ("slice, head, tail or limit", a.head(1)),
    ("get", a.get(0)),
    ("gather", a.gather([0])),
    ("implode", a.implode()),
    ("filter", a.filter(s != "zzz")),
    ("drop_nulls", a.drop_nulls()),
    ("explode", many.explode()),
    ("top_k", a.top_k(1)),
    ("value_counts", s.value_counts()),
    ("len", pl.row_index()),
    ("int_range", pl.int_range(0, 6)),
    ("str.join", s.str.join(",")),
    ("str.to_datetime without a format (it is guessed from the first value)", s.str.to_datetime()),
    ("mean", st.struct.with_fields(pl.field("x").mean())),
    ("shuffle or sample", a.shuffle(seed=1)),
    ("shuffle or sample", a.sample(fraction=1.0)),
    ("shuffle or sample", many.list.sample(n=1)),
    ("shuffle or sample", many.list.eval(pl.element().shuffle())),
    (PYTHON, a.map_elements(lambda x: (x or 0) + id(x), return_dtype=pl.Float64)),
    (PYTHON, a.map_batches(lambda x: x, is_elementwise=True)),
    (PYTHON, a.name.map(lambda name: name + "x")),
    (PYTHON, pl.fold(0, lambda x, y: x + y, [a, i]) + a.map_batches(lambda x: x)),
]

ACCEPTED: list[pl.Expr] = [
    a,
    pl.all(),
    pl.exclude("a"),
    pl.selectors.numeric() * 2,
    pl.col(pl.Float64).fill_null(0),
    pl.nth(0),
    pl.lit("x"),
    pl.lit(None),
    a * 2 + i // 3 - i % 2,
    (a > 1) & s.is_null() | ~flag,
    a.is_between(-60, 80),
    s.is_in(["a", "b"]),
    i.is_in(many),
    a.cast(pl.Int32),
    s.cast(pl.Float64, strict=False),
    i.cast(pl.Decimal(10, 2)),
    pl.when(a > 1).then(pl.lit("x")).when(a.is_null()).then(None).otherwise(s),
    pl.coalesce(a, i, pl.lit(0)),
    a.fill_null(0).fill_nan(0).clip(0, 1).round(2).sqrt(),
    pl.max_horizontal("a", "i") + pl.sum_horizontal("a", "i"),
    pl.concat_str("s", pl.lit("-"), "s"),
    pl.format("{}-{}", "s", "a"),
    s.str.to_uppercase().str.strip_chars().str.slice(0, 2),
    s.str.contains("a") & s.str.starts_with("b"),
    s.str.contains_any(["a", "b"]),
    s.str.replace_many(["a"], ["b"]),
    s.str.extract(r"(\d)", 1).cast(pl.Int64),
    s.str.split(",").list.len(),
    s.str.to_datetime("%Y-%m-%d", strict=False),
    s.str.to_date("%Y-%m-%d"),
    s.str.json_decode(pl.Struct({"x": pl.Int64})),
    s.replace({"a": "b"}),
    s.replace_strict({"a": 1}, default=None),
    b.cast(pl.String),
    b.bin.encode("hex"),
    t.dt.date(),
    t.dt.truncate("1h"),
    t.dt.convert_time_zone("Europe/Berlin").dt.hour(),
    t - pl.duration(hours=1),
    t > datetime(2024, 1, 1, tzinfo=UTC),
    pl.from_epoch("i", time_unit="ms").dt.replace_time_zone("UTC"),
    many.list.sum() + many.list.get(0, null_on_oob=True),
    many.list.sort().list.reverse().list.unique(),
    many.list.eval(pl.element().cum_sum() - pl.element().mean()),
    many.list.filter(pl.element() > 1),
    many.list.agg(pl.element().sum()),
    pl.concat_list("a", "i").list.mean(),
    st.struct.field("x"),
    st.struct.field("x", "y"),
    st.struct.with_fields(pl.field("x") + 1),
    pl.struct("a", "i"),
    pl.int_ranges(0, i),
    pl.sql_expr("a + 1"),
    a.hash(1),
    a.alias("z").name.suffix("_x"),
]


@pytest.mark.parametrize(("call", "expr"), REFUSED, ids=[f"{n}-{call}" for n, (call, _) in enumerate(REFUSED)])
def test_what_depends_on_other_rows_is_named(call: str, expr: pl.Expr) -> None:
    assert dependent_call(expr) == call


@pytest.mark.parametrize("expr", ACCEPTED, ids=[str(n) for n in range(len(ACCEPTED))])
def test_what_sees_one_row_passes(expr: pl.Expr) -> None:
    assert dependent_call(expr) is None, str(expr)
    assert not differs_by_cut(expr, COLUMNS), str(expr)


@pytest.mark.parametrize(
    "expr",
    [many.explode(), a.drop_nulls(), a - a.mean(), a.shift(1), a.cum_sum(), a.filter(a > 1), pl.lit(pl.Series([1, 2]))],
    ids=str,
)
def test_the_sample_shows_dependence_by_itself(expr: pl.Expr) -> None:
    assert differs_by_cut(expr, COLUMNS)
