"""Why a single message can't be read: the reason and the detail that people get to see.

Only what the vectorised reader is certain to refuse is called bad here, so that both always agree on a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import polars as pl

from streamproc.formats.base import clip
from streamproc.formats.types import fields_of, inner_of

_VALUE_LENGTH_MAX = 80
_SIGNED = 1 << 63
_UNSIGNED = 1 << 64

Check = Callable[[Any], bool]


class Screen:
    """`diagnose` for many messages: an orjson call and a few comparisons for each that has no fault.

    Args:
        wire: the schema that messages are read with.

    >>> Screen({"n": pl.Int64()}).faults({3: b'{"n": 1}', 7: b'{"n": "12"}'})
    {7: ('wrong_type', 'n: "12" is text, not Int64')}
    """

    def __init__(self, wire: Mapping[str, pl.DataType]) -> None:
        self._wire = wire
        self._fits = _check(pl.Struct(dict(wire)))

    def faults(self, messages: Mapping[int, bytes]) -> dict[int, tuple[str, str]]:
        """(reason, detail) of those that certainly can't be read."""
        assert self._fits
        found: dict[int, tuple[str, str]] = {}
        for i, message in messages.items():
            try:
                if self._fits(orjson.loads(message)):
                    continue
            except orjson.JSONDecodeError:
                pass
            if fault := diagnose(message, self._wire):
                found[i] = fault
        return found


def _check(dtype: pl.DataType) -> Check | None:
    """Whether a value that is not null fits; None if every value does."""
    match dtype:
        case pl.String():
            return None
        case pl.Struct():
            fields = [(name, check) for name, field in fields_of(dtype).items() if (check := _check(field))]
            return lambda value: isinstance(value, dict) and _fields_fit(value, fields)
        case pl.List():
            inner = _check(inner_of(dtype))
            if not inner:
                return lambda value: isinstance(value, list)
            return lambda value: isinstance(value, list) and all(item is None or inner(item) for item in value)
    return _SCALARS[type(dtype)]


def _fields_fit(value: dict[str, Any], fields: list[tuple[str, Check]]) -> bool:
    for name, check in fields:
        item = value.get(name)
        if item is not None and not check(item):
            return False
    return True


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
    if (fits := _SCALARS.get(type(dtype))) and fits(value):
        return None
    name = str(dtype) if not isinstance(dtype, (pl.Struct, pl.List)) else dtype.base_type().__name__
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and dtype.is_integer()
    problem = f"does not fit {name}" if number else f"is {_kind(value)}, not {name}"
    return f"{path}: {shown(json.dumps(value).encode())} {problem}"


_SCALARS: Mapping[type[pl.DataType], Check] = {
    pl.Boolean: lambda value: isinstance(value, bool),
    pl.Int64: lambda value: type(value) is int and -_SIGNED <= value < _SIGNED,
    pl.UInt64: lambda value: type(value) is int and 0 <= value < _UNSIGNED,
    pl.Float64: lambda value: type(value) in (int, float),
}
"""Which values fit the types that are read as they are."""


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
