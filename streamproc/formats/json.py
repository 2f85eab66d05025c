"""JSON objects, one a message, decoded a batch at a time.

The whole batch is joined by line breaks and read by Polars in one strict call. Three things could then go wrong without
an error, and each is ruled out:

- *Rows shift.* A message that is empty gives no row, one with a line break might give two. If the joined bytes hold
  exactly one line break a message, no message holds any; so each is one line, a line is never more than one row (two
  objects in a line are an error), and as many rows as messages means row i is message i.
- *The batch decides.* Polars unpacks input that begins like gzip or zstd: an empty first line keeps it from looking.
  It guesses no types, since all are given.
- *Half a character.* A lone surrogate (`"\\ud83d"`) becomes some other text. orjson checks such messages.

Whatever is unusual goes the slow way. If a strict call refuses, orjson looks at each message for what is certain to be
refused; what then still is refused is found by halving.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import polars as pl

from streamproc.errors import TopologyError
from streamproc.formats.base import Bad, Decoded, clip
from streamproc.formats.convert import convert, converts, count_nulls
from streamproc.formats.decimals import quote_decimals, suspects
from streamproc.formats.diagnose import Screen, diagnose, shown
from streamproc.formats.types import check_schema, fields_of, inner_of, wire_type, words

_HALF_A_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
"""A high surrogate without the low one; Polars itself refuses a low one alone."""

_LINE_BREAK = 10
_WHITE = b" \t\r\n"
_READER_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True, init=False, repr=False)
class Json:
    """Messages that are JSON objects.

    Args:
        schema: {column: Polars type}, nested as needed. Types: String, Boolean, Int8..Int64, UInt8..UInt64, Float32,
            Float64, Decimal, Date, Datetime, List, Struct. Every Datetime becomes `Datetime("us", "UTC")`.
        required: columns that must be present and not null.

    Fields that are not in the schema are ignored, missing ones are null. What is read:

    - Datetime: ISO-8601 text with "T" or a space, up to 9 digits of fraction (cut to microseconds), "Z", an offset, or
      none (UTC), or a date alone; or a number since 1970: seconds below 10^11, milliseconds below 10^14, else
      microseconds (by magnitude; with or without a fraction, also as text). Years 1 to 9999.
    - Date: text "YYYY-MM-DD".
    - Decimal: a number or plain digits as text, exactly; one that would need rounding is bad.
    - Integers: in range and written without fraction or exponent (1.0 is none). Floats: any number in range.
    - Boolean: true and false.

    Altered in silence:

    - Where text is declared, a number, boolean, array or object arrives as its JSON text, normalised: 1.50 as "1.5",
      `{"x":1}` as `{"x": 1}`.
    - Of two equal keys in an object the first counts.
    - A number for Float64 or Float32 is rounded to the nearest one that the type holds.

    Reasons for a bad message: `tombstone` (no value), `empty` (nothing or white space), `not_json` (not one document of
    RFC 8259 in UTF-8, so also NaN and Infinity, nesting deeper than 1,024, or an integer of more than 38 digits),
    `wrong_type` (no object, or a value that does not fit its column), `missing_field`.

    Raises:
        TopologyError: SP120 to SP123, the schema or `required` is wrong.

    >>> Json({"id": pl.String, "at": pl.Datetime}, required="id").decode([b'{"id": "a"}', b'{"id": 1', b"{}"]).bad
    ... # doctest: +NORMALIZE_WHITESPACE
    [Bad(index=1, reason='not_json', detail='unexpected end of data: {"id": 1'),
     Bad(index=2, reason='missing_field', detail='id')]
    """

    fields: tuple[tuple[str, pl.DataType], ...]
    required: tuple[str, ...]

    def __init__(self, schema: Mapping[str, Any], *, required: str | Iterable[str] = ()) -> None:
        columns = check_schema(schema)
        names = (required,) if isinstance(required, str) else tuple(required)
        for name in names:
            if name not in columns:
                raise TopologyError(
                    "SP123",
                    f'required column "{name}" is not in the schema',
                    detail=[f"columns here: {', '.join(columns)}"],
                    fix="add it to the schema, or take it out of `required`",
                )
        object.__setattr__(self, "fields", tuple(columns.items()))
        object.__setattr__(self, "required", tuple(name for name in columns if name in names))

    def __repr__(self) -> str:
        """Stable: equal formats, and only these, have equal texts."""
        schema = ", ".join(f"{name!r}: {dtype!r}" for name, dtype in self.fields)
        return f"Json({{{schema}}}, required={list(self.required)!r})"

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The columns it yields."""
        return dict(self.fields)

    @cached_property
    def _reader(self) -> _Reader:
        return _Reader(self.columns, self.required)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch at once; None is a tombstone. Never raises for what messages hold."""
        reader = self._reader
        frame = reader.read_all(values)
        if frame is not None:
            return reader.finish(frame, range(len(values)), [])
        frame, good, bad = reader.isolate(values)
        return reader.finish(frame, good, bad)


class _Reader:
    """The strict reader with its wire schema, and what to do where it refuses."""

    def __init__(self, columns: Mapping[str, pl.DataType], required: Sequence[str]) -> None:
        self.columns = columns
        self.required = required
        self.wire = {name: wire_type(dtype) for name, dtype in columns.items()}
        self.changed = {name: dtype for name, dtype in columns.items() if converts(dtype)}
        self.screen = Screen(self.wire)

    def read_all(self, values: Sequence[bytes | None]) -> pl.DataFrame | None:
        """All messages, or None if any is bad or needs a closer look."""
        try:
            joined = b"\n".join([b"", *values])  # type: ignore[list-item]  # a None raises TypeError
        except TypeError:
            return None
        if np.count_nonzero(np.frombuffer(joined, np.uint8) == _LINE_BREAK) != len(values):
            return None
        if b"\\" in joined and _HALF_A_PAIR.search(joined):
            return None
        if suspects(values, self.columns).any():
            return None
        return self.read(joined, len(values))[0]

    def read(self, joined: bytes, height: int) -> tuple[pl.DataFrame | None, str]:
        """Rows of lines that begin with an empty one, or None and why."""
        if not height:
            return pl.DataFrame(schema=self.wire), ""
        try:
            frame = pl.read_ndjson(joined, schema=self.wire)
        except _READER_ERRORS as error:
            return None, str(error)
        return (frame, "") if frame.height == height else (None, "not one row a message")

    def isolate(self, values: Sequence[bytes | None]) -> tuple[pl.DataFrame, list[int], list[Bad]]:
        """The rows of all messages that can be read, their indexes, and the others."""
        lines, bad = self.prepare(values)
        frames: list[pl.DataFrame] = []
        good: list[int] = []
        pending = [list(lines)]
        screened = False
        while pending:  # every turn but one settles its messages or splits them: at most 2n turns
            part = pending.pop()
            frame, why = self.read(b"\n".join([b"", *(lines[i] for i in part)]), len(part))
            if frame is not None:
                frames.append(frame)
                good += part
                continue
            if not screened:
                found = self.screen.faults(lines)
                bad += [Bad(i, *fault) for i, fault in found.items()]
                part = [i for i in part if i not in found]
                screened = True
                if found:
                    pending.append(part)
                    continue
            if len(part) == 1:
                reason = "not_json" if why.startswith("error parsing line") else "wrong_type"
                bad.append(Bad(part[0], reason, clip(f"{clip(why, 200)}: {shown(lines[part[0]])}")))
            else:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
        return pl.concat([pl.DataFrame(schema=self.wire), *frames]), good, bad

    def prepare(self, values: Sequence[bytes | None]) -> tuple[dict[int, bytes], list[Bad]]:
        """Messages as single lines by index; those that can't be such."""
        lines: dict[int, bytes] = {}
        bad: list[Bad] = []
        long = set(suspects(values, self.columns).arg_true().to_list())
        for i, value in enumerate(values):
            if value is None:
                bad.append(Bad(i, "tombstone", "no value"))
                continue
            if not value.strip(_WHITE):
                bad.append(Bad(i, "empty", "nothing but white space" if value else "no bytes"))
                continue
            if b"\n" in value or i in long or (b"\\" in value and _HALF_A_PAIR.search(value)):
                fault = diagnose(value, {})
                if fault:
                    bad.append(Bad(i, *fault))
                    continue
                # In valid JSON a line break can stand between tokens only, where a space means the same.
                line = value.replace(b"\n", b" ")
                lines[i] = quote_decimals(line, self.columns) if i in long else line
                continue
            lines[i] = value
        return lines, bad

    def finish(self, frame: pl.DataFrame, good: Sequence[int], bad: list[Bad]) -> Decoded:
        """Convert what was read as text, and take out the rows where that failed or a required column is null."""
        rows = frame
        if self.changed:
            rows = frame.with_columns(convert(pl.col(name), dtype).alias(name) for name, dtype in self.changed.items())
        faults: dict[int, tuple[str, str]] = {}
        for name in self.required:
            if frame[name].null_count():
                for row in frame[name].is_null().arg_true().to_list():
                    faults.setdefault(row, ("missing_field", name))
        for name, dtype in self.changed.items():
            before = frame.select(count_nulls(pl.col(name), self.wire[name])).to_series()
            after = rows.select(count_nulls(pl.col(name), dtype)).to_series()
            failed = (before != after).arg_true()
            values = zip(frame[name].gather(failed).to_list(), rows[name].gather(failed).to_list(), strict=True)
            for row, (read, converted) in zip(failed.to_list(), values, strict=True):
                faults.setdefault(row, ("wrong_type", _refused(read, converted, dtype, name)))
        if not faults and not bad:
            return Decoded(rows)
        bad += [Bad(good[row], *fault) for row, fault in faults.items()]
        keep = pl.Series([row not in faults for row in range(len(good))], dtype=pl.Boolean)
        indexes = pl.Series(good, dtype=pl.UInt32).filter(keep)
        return Decoded(rows.filter(keep), indexes, sorted(bad, key=lambda one: one.index))


def _refused(read: Any, converted: Any, dtype: pl.DataType, path: str) -> str:
    """Detail for a value that was read but could not be converted; empty if all of it could."""
    if read is None:
        return ""
    if isinstance(dtype, pl.Struct):
        parts = [(read[name], converted[name], field, f"{path}.{name}") for name, field in fields_of(dtype).items()]
    elif isinstance(dtype, pl.List):
        element = inner_of(dtype)
        parts = [(*pair, element, f"{path}[{i}]") for i, pair in enumerate(zip(read, converted, strict=True))]
    else:
        return clip(f"{path}: {shown(orjson.dumps(read))} is not {words(dtype)}") if converted is None else ""
    return next(filter(None, (_refused(*part) for part in parts)), "")
