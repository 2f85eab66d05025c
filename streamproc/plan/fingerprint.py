"""Stable hashes of what users wrote: equal in every process, different as soon as output could differ."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import orjson
import polars as pl

TOPOLOGY_MODULE = "streamproc_topology_"
"""Modules of topology files begin with this: their names depend on the path and say nothing."""

_DEPTH_MAX = 20


def fingerprint(value: Any) -> str:
    """32 hexadecimal digits for anything that a topology can hold.

    >>> fingerprint(pl.col("a") + 1) == fingerprint(pl.col("a") + 1) != fingerprint(pl.col("a") + 2)
    True
    """
    return hashlib.sha256(orjson.dumps(canonical(value))).hexdigest()[:32]


def canonical(value: Any, depth: int = 0) -> Any:
    """As JSON that depends on nothing but the meaning."""
    if depth > _DEPTH_MAX:
        return f"deep {type(value).__qualname__}"
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | Decimal | bytes | date | time | timedelta):
        return [type(value).__name__, repr(value)]
    if isinstance(value, pl.Expr):
        return ["expr", _expression(value)]
    if isinstance(value, pl.DataType) or (isinstance(value, type) and issubclass(value, pl.DataType)):
        return ["type", str(value)]
    if isinstance(value, Mapping):
        return ["map", [[canonical(key, depth + 1), canonical(item, depth + 1)] for key, item in value.items()]]
    if isinstance(value, set | frozenset):
        return ["set", sorted((canonical(item, depth + 1) for item in value), key=orjson.dumps)]
    if isinstance(value, list | tuple):
        return [canonical(item, depth + 1) for item in value]
    return _object(value, depth)


def _expression(expr: pl.Expr) -> str:
    return hashlib.sha256(expr.meta.serialize(format="json").encode()).hexdigest()


def _object(value: Any, depth: int) -> Any:
    if isinstance(value, partial):
        return ["partial", *(canonical(part, depth + 1) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, MethodType):
        return ["method", canonical(value.__func__, depth + 1), canonical(value.__self__, depth + 1)]
    if isinstance(value, FunctionType):
        return _function(value, depth)
    if isinstance(value, type):
        return ["class", _module(value), value.__qualname__, _source(value)]
    name = type(value).__qualname__
    if is_dataclass(value):
        return [name, {field.name: canonical(getattr(value, field.name), depth + 1) for field in fields(value)}]
    held = dict(getattr(value, "__dict__", {}))
    held |= {slot: getattr(value, slot) for slot in getattr(type(value), "__slots__", ()) if hasattr(value, slot)}
    if held:
        return [name, {key: canonical(item, depth + 1) for key, item in sorted(held.items())}]
    return [name, _module(value), getattr(value, "__qualname__", "")]


def _function(function: FunctionType, depth: int) -> Any:
    """Its source, its defaults and what it closes over. Not what it calls: that is not seen."""
    closed = [canonical(cell.cell_contents, depth + 1) for cell in function.__closure__ or ()]
    defaults = canonical([function.__defaults__, function.__kwdefaults__], depth + 1)
    return ["function", _module(function), function.__qualname__, _source(function), defaults, closed]


def _module(value: Any) -> str:
    module = str(getattr(value, "__module__", ""))
    return "" if module.startswith(TOPOLOGY_MODULE) else module


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return repr(_code(value.__code__)) if isinstance(value, FunctionType) else ""


def _code(code: CodeType) -> tuple[Any, ...]:
    """Bytecode with its constants, of inner functions too."""
    inner = tuple(_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts)
    return code.co_code.hex(), code.co_names, inner
