"""What was probably meant where a topology file uses streamproc in a way that Python itself refuses."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import types
from collections.abc import Iterable
from typing import Any, get_args

from streamproc.flow import aggregates, windows
from streamproc.flow.aggregates import Kind
from streamproc.flow.stream import Grouped, Stream
from streamproc.flow.topology import Topology
from streamproc.formats.json import Json

LATER = frozenset(
    "hopping session join union lookup upsert_delta write_kafka process "
    "quantile n_unique Debezium Avro Protobuf".split()
)
"""Names that people look for and that this version does not have."""

_CALLED = {kind.__name__: kind for kind in (Topology, Stream, Grouped, Json)}
_FUNCTIONS = (windows.tumbling, *(getattr(aggregates, kind) for kind in get_args(Kind)))


def suggestion(error: BaseException) -> str:
    """What to do about an error that a topology file raised; empty if nothing is known.

    >>> suggestion(ValueError("no"))
    ''
    """
    if isinstance(error, AttributeError) and error.name:
        return _of_name(error.name, error.obj)
    if isinstance(error, ImportError) and error.name == "streamproc":
        missing = re.search(r"cannot import name '(\w+)'", str(error))
        return _of_name(missing[1], sys.modules["streamproc"]) if missing else ""
    if isinstance(error, TypeError):
        return _of_call(str(error))
    return ""


def _of_name(name: str, owner: object) -> str:
    module = isinstance(owner, types.ModuleType) and owner.__name__ == "streamproc"
    if not module and not isinstance(owner, Topology | Stream | Grouped):
        return ""
    if name in LATER:
        return f"{name} is not available in this version"
    if isinstance(owner, Grouped):
        if name in get_args(Kind) or name == "len":
            call = "count()" if name in ("count", "len") else f'{name}("column")'
            return f".agg(n=sp.{call})"
        return ".agg(n=sp.count()) follows group_by"
    if isinstance(owner, Topology) and not name.startswith("_") and hasattr(Stream, name):
        return f"topology.read_kafka(...).{name}(...)"
    there = getattr(owner, "__all__", None) or [one for one in dir(owner) if not one.startswith("_")]
    return _near(name, there)


def _of_call(text: str) -> str:
    """`Stream.with_watermark() missing 1 required keyword-only argument: 'lateness'` and its like."""
    call = re.match(r"(?:(\w+)\.)?(\w+)\(\) (.*)", text)
    function = _function(call[1], call[2]) if call else None
    if not call or not function:
        return ""
    shown = call[1] if call[2] == "__init__" else call[2]
    if call[3].startswith("missing"):
        names = re.findall(r"'(\w+)'", call[3])
        return f"{shown}(..., {', '.join(f'{name}=...' for name in names)})"
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    if unexpected := re.search(r"unexpected keyword argument '(\w+)'", call[3]):
        return _near(unexpected[1], [one.name for one in parameters])
    named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    if "positional argument" in call[3] and named:
        return f"{shown} takes these by name: {', '.join(f'{name}=' for name in named)}"
    return ""


def _function(owner: str | None, name: str) -> Any:
    if owner:
        return getattr(_CALLED.get(owner), name, None)
    return next((one for one in _FUNCTIONS if one.__name__ == name), None)


def _near(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"one of {', '.join(known)}"
