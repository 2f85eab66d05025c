"""Guesses a schema from JSON messages: what `infer` prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from streamproc.operators.batch import HIDDEN

ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|z|[+-]\d\d(:?\d\d)?)?")
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
TIME_NAME = re.compile(r"time|date|(^|_)(at|ts|on)$|(?<=[a-z])At$", re.IGNORECASE)
YEAR_2000_S, YEAR_2100_S = 946_684_800, 4_102_444_800
EPOCHS = {"s": 1, "ms": 1_000, "us": 1_000_000}
COLUMNS_MAX = 500
DEPTH_MAX = 16
INT64_MAX = 2**63 - 1


@dataclass
class Seen:
    """What was seen of one value: how often, in which shapes, and inside of it."""

    total: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Seen] = field(default_factory=dict)
    items: Seen | None = None

    def add(self, value: Any, name: str, depth: int = 0) -> None:
        """Take in a value; `name` is the column's, a hint whether a number is a time."""
        self.total += 1
        if isinstance(value, dict) and depth < DEPTH_MAX:
            self.kinds["struct"] += 1
            for key, inner in value.items():
                if key in self.fields or len(self.fields) < COLUMNS_MAX:
                    self.fields.setdefault(key, Seen()).add(inner, key, depth + 1)
        elif isinstance(value, list) and depth < DEPTH_MAX:
            self.kinds["list"] += 1
            self.items = self.items or Seen()
            for inner in value:
                self.items.add(inner, name, depth + 1)
        else:
            self.kinds[_kind(value, name)] += 1

    @property
    def present(self) -> int:
        """How often it was there and not null."""
        return self.total - self.kinds["null"]

    def type(self) -> tuple[str, str]:
        """(Polars type as code, remark)."""
        kinds = {kind for kind, n in self.kinds.items() if kind != "null" and n}
        if not kinds:
            return "pl.String", "always null: a guess"
        if kinds == {"struct"}:
            inner = ", ".join(f"{_quoted(name)}: {seen.type()[0]}" for name, seen in self.fields.items())
            return (f"pl.Struct({{{inner}}})", "") if inner else ("pl.String", "always an empty object: kept as text")
        if kinds == {"list"}:
            return f"pl.List({self.items.type()[0] if self.items else 'pl.String'})", ""
        if len(kinds) == 1:
            return _SINGLE[kinds.pop()]
        epochs = {kind for kind in kinds if kind.startswith("epoch")}
        if kinds <= {"int", "float"} | epochs:
            return ("pl.Int64", "") if kinds <= {"int"} | epochs else ("pl.Float64", "")
        names = " and ".join(sorted(kind.split()[0] for kind in kinds))
        return "pl.String", f"{names}: kept as text"


_SINGLE = {
    "text": ("pl.String", ""),
    "bool": ("pl.Boolean", ""),
    "int": ("pl.Int64", ""),
    "float": ("pl.Float64", ""),
    "big integer": ("pl.Decimal(20, 0)", "beyond Int64"),
    "iso time": ("pl.Datetime", "ISO-8601 text"),
    "iso date": ("pl.Date", ""),
    **{f"epoch {unit}": ("pl.Datetime", f"epoch, {unit}") for unit in EPOCHS},
}


def _kind(value: Any, name: str) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() if abs(value) > INT64_MAX:
            return "big integer"
        case int():
            return _epoch(value) if TIME_NAME.search(name) else "int"
        case float():
            return "float"
        case str() if ISO.fullmatch(value):
            return "iso time"
        case str() if ISO_DATE.fullmatch(value):
            return "iso date"
        case _:
            return "text"


def _epoch(value: int) -> str:
    for unit, per_second in EPOCHS.items():
        if YEAR_2000_S * per_second <= value < YEAR_2100_S * per_second:
            return f"epoch {unit}"
    return "int"


@dataclass(frozen=True)
class Guess:
    """A schema as code, and what it was made from."""

    code: str
    messages: int
    bad: int


def guess(topic: str, payloads: Iterable[bytes | None]) -> Guess:
    """Guess from messages; what is no JSON object is counted as bad.

    >>> print(guess("truck-data", [b'{"at": "2026-01-01T00:00:00Z", "n": 1}', b'{"n": 1.5}']).code)
    TRUCK_DATA = {
        "at": pl.Datetime,  # ISO-8601 text; missing in 50%
        "n": pl.Float64,
    }
    format = sp.Json(TRUCK_DATA, required=["n"])
    """
    root, bad = Seen(), 0
    for payload in payloads:
        try:
            body = orjson.loads(payload or b"")
        except orjson.JSONDecodeError:
            body = None
        if isinstance(body, dict):
            root.add(body, "")
        else:
            bad += 1
    return Guess(_code(topic, root), root.total + bad, bad)


def _code(topic: str, root: Seen) -> str:
    name = re.sub(r"\W+", "_", topic).strip("_").upper() or "MESSAGE"
    name = f"_{name}" if name[0].isdigit() else name
    lines = [f"{name} = {{"]
    fields = {column: seen for column, seen in root.fields.items() if _declarable(column)}
    for column, seen in fields.items():
        type_, remark = seen.type()
        missing = root.total - seen.present
        remarks = [remark] if remark else []
        if 0 < missing < root.total:
            remarks.append(f"missing in {_percent(missing, root.total)}")
        comment = f"  # {'; '.join(remarks)}" if remarks else ""
        lines.append(f"    {_quoted(column)}: {type_},{comment}")
    required = [_quoted(column) for column, seen in fields.items() if seen.present == root.total]
    lines += [
        f"    # left out, the name is reserved: {_quoted(column)}" for column in root.fields if column not in fields
    ]
    lines += ["}", f"format = sp.Json({name}{_required(required)})"]
    return "\n".join(lines)


def _declarable(name: str) -> bool:
    return bool(name) and not name.startswith("__") and name not in HIDDEN


def _required(columns: Sequence[str]) -> str:
    return f", required=[{', '.join(columns)}]" if columns else ""


def _quoted(name: str) -> str:
    return orjson.dumps(name).decode()


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f}%" if share >= 1 else "under 1%"
