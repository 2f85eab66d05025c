"""Why a single message can't be read: the reason and the detail that people get to see.

Only what the vectorised reader is certain to refuse is called bad here, so that both always agree on a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl

from streamproc.formats.base import clip
from streamproc.formats.types import fields_of, inner_of

_VALUE_LENGTH_MAX = 80
_SIGNED = 1 << 63
_UNSIGNED = 1 << 64


def diagnose(message: bytes, wire: Mapping[str, pl.DataType]) -> tuple[str, str] | None:
    """(reason, detail) if the message certainly can't be read with the `wire` schema, else None.

    >>> diagnose(b'{"n": "12"}', {"n": pl.Int64()})
    ('wrong_type', 'n: "12" is text, not Int64')
    """
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        return "not_json", clip(f"{error.msg}: {shown(message)}")
    if not isinstance(value, dict):
        return "wrong_type", clip(f"expected an object, got {_kind(value)}: {shown(message)}")
    # The reader keeps the first of two equal keys and orjson the last: what is found then proves nothing.
    for name, dtype in wire.items():
        fault = _fault(value.get(name), dtype, name)
        if fault and not _repeats_a_key(message):
            return "wrong_type", clip(fault)
    return None


def _fault(value: Any, dtype: pl.DataType, path: str) -> str | None:
    if value is None or isinstance(dtype, pl.String):
        return None
    if isinstance(dtype, pl.Struct) and isinstance(value, dict):
        faults = (_fault(value.get(name), field, f"{path}.{name}") for name, field in fields_of(dtype).items())
        return next(filter(None, faults), None)
    if isinstance(dtype, pl.List) and isinstance(value, list):
        inner = inner_of(dtype)
        faults = (_fault(item, inner, f"{path}[{i}]") for i, item in enumerate(value))
        return next(filter(None, faults), None)
    if _fits(value, dtype):
        return None
    name = str(dtype) if not isinstance(dtype, (pl.Struct, pl.List)) else dtype.base_type().__name__
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and dtype.is_integer()
    problem = f"does not fit {name}" if number else f"is {_kind(value)}, not {name}"
    return f"{path}: {shown(json.dumps(value).encode())} {problem}"


def _fits(value: Any, dtype: pl.DataType) -> bool:
    match dtype:
        case pl.Boolean():
            return isinstance(value, bool)
        case pl.Int64():
            return type(value) is int and -_SIGNED <= value < _SIGNED
        case pl.UInt64():
            return type(value) is int and 0 <= value < _UNSIGNED
        case pl.Float64():
            return type(value) in (int, float)
    return False


def _repeats_a_key(message: bytes) -> bool:
    repeated = False

    def see(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len({name for name, _ in pairs}) != len(pairs)

    try:
        json.loads(message, object_pairs_hook=see)
    except (ValueError, RecursionError):
        return True
    return repeated


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "an array"
    return "an object"


def shown(message: bytes) -> str:
    """The beginning of a payload, readable."""
    return clip(message[: 4 * _VALUE_LENGTH_MAX].decode("utf-8", "backslashreplace"), _VALUE_LENGTH_MAX)
