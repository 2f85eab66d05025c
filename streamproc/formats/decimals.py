"""Numbers that a double can't hold, put in quotes where a Decimal is declared: so they arrive digit by digit.

JSON numbers with a fraction or an exponent are read through a double, which keeps 15 digits. Only messages in which
`suspects` finds a longer one are looked at token by token; in all others every number survives unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

import orjson
import polars as pl

from streamproc.formats.types import fields_of, inner_of

_LONG = r"\s*-?(?:[0-9]{9,}\.[0-9]|[0-9]+\.[0-9]{8}|[0-9]{16,}[eE]|[0-9.]+[eE]-?[0-9]{2})"
"""A number that may have more than 15 digits, or lose itself in its exponent."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[\[\]{}:,]')
_EXPONENT_MAX = 80


def suspects(values: Sequence[bytes | None], schema: Mapping[str, pl.DataType]) -> pl.Series:
    """Which messages may hold a number for a Decimal that a double can't hold (Boolean)."""
    names = _names(pl.Struct(dict(schema)))
    anywhere = rf"[:\[,]{_LONG}"
    if names is None:
        pattern = anywhere
    elif names:  # a backslash: the name may be written with escapes
        pattern = rf'"(?:{"|".join(map(re.escape, names))})"\s*:{_LONG}|\\'
    else:
        return pl.repeat(False, len(values), dtype=pl.Boolean, eager=True)
    text = _texts(values)
    found = text.str.contains(pattern).fill_null(False)
    return found & text.str.contains(anywhere) if found.any() else found


def _texts(values: Sequence[bytes | None]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:  # some are not UTF-8: they are refused later, the others are looked at here
        texts = [None if value is None else value.decode("utf-8", "replace") for value in values]
        return pl.Series(texts, dtype=pl.String)


def _names(dtype: pl.DataType) -> set[str] | None:
    """Names of all fields that are a Decimal; None if one is in a list, so without a name."""
    names: set[str] = set()
    if isinstance(dtype, pl.List):
        return None if isinstance(inner_of(dtype), pl.Decimal) else _names(inner_of(dtype))
    if isinstance(dtype, pl.Struct):
        for name, field in fields_of(dtype).items():
            inside = {name} if isinstance(field, pl.Decimal) else _names(field)
            if inside is None:
                return None
            names |= inside
    return names


def quote_decimals(message: bytes, schema: Mapping[str, pl.DataType]) -> bytes:
    """`message`, a JSON document, with every number that is to be a Decimal as text.

    >>> quote_decimals(b'{"a": 0.10000000000000000001, "b": 1.5}', {"a": pl.Decimal(38, 20), "b": pl.Float64()})
    b'{"a": "0.10000000000000000001", "b": 1.5}'
    """
    out: list[bytes] = []
    done = 0
    nested: list[Mapping[str, pl.DataType] | pl.DataType | None] = []
    want: pl.DataType | None = pl.Struct(dict(schema))
    key_next = False
    for token in _TOKEN.finditer(message):
        text = token.group()
        inside = nested[-1] if nested else None
        if text == b"{":
            nested.append(fields_of(want) if isinstance(want, pl.Struct) else {})
            key_next = True
        elif text == b"[":
            want = inner_of(want) if isinstance(want, pl.List) else None
            nested.append(want)
        elif text in b"]}":
            nested.pop()
            key_next = False
        elif text == b",":
            key_next = isinstance(inside, Mapping)
            want = None if isinstance(inside, Mapping) else inside
        elif text == b":":
            key_next = False
        elif text[:1] == b'"':
            if key_next and isinstance(inside, Mapping):
                want = inside.get(orjson.loads(text))
        elif isinstance(want, pl.Decimal):
            out += [message[done : token.start()], b'"', _plain(text), b'"']
            done = token.end()
    return b"".join([*out, message[done:]])


def _plain(number: bytes) -> bytes:
    """Without exponent; a huge one stays, and is then refused as text."""
    _, mark, exponent = number.lower().partition(b"e")
    if not mark or len(exponent) > 4 or abs(int(exponent)) > _EXPONENT_MAX:
        return number
    return format(Decimal(number.decode()), "f").encode()
