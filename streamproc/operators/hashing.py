"""A stable 128-bit hash of several columns: state on disk depends on it, so it never changes.

Hashed is XXH3-128 of the UTF-8 text that the parts of all columns make up, one after the other:

- integers, booleans (0, 1), dates and times (days, or units since 1970 or midnight), decimals: their digits, then ";"
- floats: the 64-bit pattern of the value as Float64, as a signed integer, then ";"; -0.0 is 0.0, every NaN is "nan"
- text, categories: the length in bytes, ":", the text; bytes are taken as lower-case hex
- lists, arrays, structs: like text, the text being the parts of their elements or fields
- null: ";" or ":" alone

Each part says where it ends, so ("a", "bc") and ("ab", "c") differ, and so do null and "".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import polars_hash as plh
from polars.datatypes import DataTypeClass


def hash_columns(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hash of each row over `columns`, in this order: its upper and its lower 64 bits (UInt64 arrays).

    Raises:
        TypeError: a column of a type that has no hash, such as Object.

    >>> hi, lo = hash_columns(pl.DataFrame({"a": ["x"], "b": [1]}), ["a", "b"])
    >>> hex(int(hi[0])), hex(int(lo[0]))
    ('0x7141c3e8245724d1', '0x48ad9b83afde153')
    """
    parts = [_part(pl.col(name), dtype, frame[name].null_count() > 0) for name, dtype in _types(frame, columns)]
    text = frame.select(pl.concat_str([piece for part in parts for piece in part]).alias("text"))
    hashed = text.select(plh.col("text").nchash.xxh3_128().alias("hash"))
    halves = hashed.select(
        hi=(pl.col("hash") // (1 << 64)).cast(pl.UInt64), lo=(pl.col("hash") % (1 << 64)).cast(pl.UInt64)
    )
    return halves["hi"].to_numpy(), halves["lo"].to_numpy()


def _types(frame: pl.DataFrame, columns: Sequence[str]) -> list[tuple[str, pl.DataType]]:
    return [(name, frame.schema[name]) for name in columns]


def _part(value: pl.Expr, dtype: pl.DataType, nulls: bool = True) -> list[pl.Expr]:
    """Pieces of text, none of them null, that stand for a column."""
    digits = _digits(value, dtype)
    if digits is not None:
        return [digits.fill_null("") if nulls else digits, pl.lit(";")]
    text = _text(value, dtype)
    length = text.str.len_bytes().cast(pl.String)
    return [length.fill_null(""), pl.lit(":"), text.fill_null("")] if nulls else [length, pl.lit(":"), text]


def _digits(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Text of a scalar that holds no ";", or None for types that are taken as text."""
    if dtype.is_integer() or dtype.is_decimal():
        return value.cast(pl.String)
    if dtype == pl.Boolean:
        return value.cast(pl.UInt8).cast(pl.String)
    if dtype.is_temporal():
        return value.to_physical().cast(pl.String)
    if dtype.is_float():
        wide = value.cast(pl.Float64)
        bits = wide.reinterpret(dtype=pl.Int64).cast(pl.String)
        return pl.when(wide.is_nan()).then(pl.lit("nan")).when(wide == 0).then(pl.lit("0")).otherwise(bits)
    return None


def _text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return value
    if dtype == pl.Binary:
        return value.bin.encode("hex")
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null):
        return value.cast(pl.String)
    if isinstance(dtype, pl.Array):
        return _text(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        element = pl.concat_str(_part(pl.element(), _instance(dtype.inner)))
        return value.list.eval(element).list.join("")
    if isinstance(dtype, pl.Struct):
        pieces = [p for f in dtype.fields for p in _part(value.struct.field(f.name), _instance(f.dtype))]
        return pl.when(value.is_not_null()).then(pl.concat_str([pl.lit(""), *pieces]))
    raise TypeError(f"{dtype} has no hash")


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
