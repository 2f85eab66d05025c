"""Json against plain Python, message by message: any mixture, in any order, cut anywhere."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Self

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.formats.json import Json

FORMAT = Json(
    {
        "id": pl.String,
        "n": pl.Int64,
        "small": pl.Int16,
        "x": pl.Float64,
        "ok": pl.Boolean,
        "at": pl.Datetime,
        "day": pl.Date,
        "price": pl.Decimal(12, 4),
        "nest": pl.Struct({"k": pl.Int32, "ats": pl.List(pl.Datetime), "p": pl.Decimal(38, 20)}),
        "items": pl.List(pl.Struct({"n": pl.UInt64, "x": pl.Float64, "s": pl.String})),
    },
    required="id",
)

ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[zZ]|([+-])(\d\d)(?::?(\d\d))?)?)?", re.ASCII
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Wrong(Exception):
    """The message is bad."""


def expect(condition: bool) -> None:
    if not condition:
        raise Wrong


def text_of(v: Any) -> str:
    """Text is declared: here only text and integers are tried."""
    return v if isinstance(v, str) else str(v)


def integer(low: int, high: int) -> Any:
    def read(v: Any) -> int:
        expect(type(v) is int and low <= v <= high)
        return int(v)

    return read


def real(v: Any) -> float:
    expect(type(v) in (int, Decimal))
    return float(v)


def boolean(v: Any) -> bool:
    expect(isinstance(v, bool))
    return bool(v)


def timestamp(v: Any) -> datetime:
    expect(type(v) in (int, Decimal, str))
    try:
        if not isinstance(v, str) or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", v):
            number = Decimal(v)
            scale = 1_000_000 if abs(number) < 10**11 else 1_000 if abs(number) < 10**14 else 1
            return EPOCH + timedelta(microseconds=round(number * scale))
        match = ISO.fullmatch(v)
        expect(match is not None)
        year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()  # type: ignore[union-attr]
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
        moment += timedelta(microseconds=int((fraction or "0").ljust(6, "0")[:6]))
        expect(int(hours or 0) < 24 and int(minutes or 0) < 60)
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        return moment - (-offset if sign == "-" else offset)
    except (ValueError, OverflowError) as error:
        raise Wrong from error


def day(v: Any) -> date:
    expect(isinstance(v, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", v) is not None)
    try:
        return date.fromisoformat(v)
    except ValueError as error:
        raise Wrong from error


def decimal(precision: int, scale: int) -> Any:
    def read(v: Any) -> Decimal:
        expect(
            type(v) in (int, Decimal) or (isinstance(v, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", v) is not None)
        )
        units = Decimal(v).scaleb(scale, None)
        _, digits, exponent = units.as_tuple()
        expect(exponent >= 0 or not any(digits[exponent:]))  # type: ignore[operator]
        expect(abs(units) < 10**precision)
        return Decimal(v)

    return read


def listed(inner: Any) -> Any:
    def read(v: Any) -> list[Any]:
        expect(isinstance(v, list))
        return [maybe(inner, item) for item in v]

    return read


def struct(**inner: Any) -> Any:
    def read(v: Any) -> dict[str, Any]:
        expect(isinstance(v, dict))
        return {name: maybe(field, v.get(name)) for name, field in inner.items()}

    return read


def maybe(read: Any, v: Any) -> Any:
    return None if v is None else read(v)


MESSAGE = struct(
    id=text_of,
    n=integer(-(2**63), 2**63 - 1),
    small=integer(-(2**15), 2**15 - 1),
    x=real,
    ok=boolean,
    at=timestamp,
    day=day,
    price=decimal(12, 4),
    nest=struct(k=integer(-(2**31), 2**31 - 1), ats=listed(timestamp), p=decimal(38, 20)),
    items=listed(struct(n=integer(0, 2**64 - 1), x=real, s=text_of)),
)


def no_constant(name: str) -> None:
    raise ValueError(name)


def oracle(message: bytes | None) -> dict[str, Any] | None:
    """The row of a message, or None if it is bad."""
    try:
        parsed = json.loads((message or b"").decode(), parse_float=Decimal, parse_constant=no_constant)
        json.dumps(parsed, ensure_ascii=False, default=str).encode()  # half a surrogate pair can't be encoded
        row = MESSAGE(parsed)
    except (ValueError, Wrong):
        return None
    return row if row["id"] is not None else None


class Verbatim(float):
    """A number that is written as it stands."""

    def __new__(cls, text: str) -> Self:
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __repr__(self) -> str:
        return self.text


NUMBERS = st.one_of(
    st.integers(-300, 300),
    st.sampled_from(
        [2**15, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 1767225600, 1767225600123, 10**20]
    ),
    st.sampled_from(
        [
            "1.5",
            "-0.25",
            "1.0",
            "1e3",
            "1.00005",
            "0.1000000000000000055",
            "12345678.1234",
            "1767225600.123",
            "2E-1",
            "1e-12",
        ]
    ).map(Verbatim),
)
TEXTS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        [
            *("2026-01-01T00:00:00Z", "2026-01-01 10:20:30.123456789+05:30", "2024-02-29", "2023-02-29", "2026-13-01"),
            *("2026-01-01T00:00:00", "2026-01-01T23:59:60Z", "0000-01-01", "1767225600", "12.50", "1e3", "12.34567"),
            *("9999-12-31T23:59:59-01:00", "2026-01-01T00:00:00.5-0830", "\U0001f600", "\\ud83d", '{"a":\n1}'),
        ]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["n", "x", "s", "k"]), inner, max_size=2)
    ),
    max_leaves=3,
)
IDS = TEXTS | st.integers(-9, 9)
STAMPS = st.sampled_from(
    [
        0,
        -1,
        1767225600,
        1767225600123,
        1767225600123456,
        Verbatim("1767225600.5"),
        "2026-01-01T00:00:00Z",
        "2024-02-29",
        None,
    ]
)
LIKELY: dict[str, Any] = {
    "id": IDS,
    "n": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-(2**15), 2**15 - 1),
    "x": NUMBERS,
    "ok": st.booleans() | st.none(),
    "at": STAMPS,
    "day": st.dates().map(str),
    "price": st.decimals(-99999, 99999, places=4).map(str) | st.sampled_from([Verbatim("12345678.1234"), 7]),
    "nest": st.fixed_dictionaries(
        {}, optional={"k": st.integers(-9, 9), "ats": st.lists(STAMPS, max_size=3), "p": NUMBERS, "other": VALUES}
    ),
    "items": st.lists(
        st.none() | st.fixed_dictionaries({}, optional={"n": st.integers(0, 9), "x": NUMBERS, "s": IDS}), max_size=3
    ),
    "other": VALUES,
}


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """An object as some producer would write it; now and then with a value of any kind in one of its fields."""
    document = draw(
        st.fixed_dictionaries({"id": LIKELY["id"]}, optional={k: v for k, v in LIKELY.items() if k != "id"})
    )
    if draw(st.integers(0, 3)) == 0:
        spoilt = draw(st.sampled_from([name for name in LIKELY if name != "id"]))
        document[spoilt] = draw(st.none() | st.booleans() | NUMBERS | TEXTS)
    return json.dumps(
        document,
        indent=draw(st.sampled_from([None, None, None, 1])),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
    ).encode("utf-8")


JUNK = st.sampled_from(
    [
        *(
            None,
            b"",
            b" ",
            b"\n",
            b"null",
            b"[]",
            b"1",
            b'"x"',
            b"{}",
            b'{"id": null}',
            b'{"id": "a"}{"id": "b"}',
            b"\xff",
        ),
        *(
            b'{"id": "a"}\n{"id": "b"}',
            b'{"id": "a", "x": NaN}',
            b'{"id": "\\ud83d"}',
            b'{"id": "\n"}',
            b'[{"id": "a"}]',
        ),
        *(
            gzip.compress(b'{"id": "a"}', mtime=0),
            b'\xef\xbb\xbf{"id": "a"}',
            b'{"id": "a"},',
            b'{"id": "a"\r}',
            b'\n{"id": "a"}\n',
        ),
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message that was cut short, or in which a byte was replaced by white space, a quote or a brace."""
    message = draw(written())
    at = draw(st.integers(0, len(message) - 1))
    return (
        message[:at]
        + draw(st.sampled_from([b"", b"\n", b'"', b"}", b"\\"]))
        + (message[at + 1 :] if draw(st.booleans()) else b"")
    )


MESSAGES = st.lists(st.one_of(written(), written(), written(), damaged(), JUNK), max_size=12)


def decoded(values: Sequence[bytes | None]) -> tuple[list[dict[str, Any]], list[int], list[tuple[int, str, str]]]:
    out = FORMAT.decode(values)
    assert out.rows.schema == FORMAT.columns
    good = list(range(len(values))) if out.good is None else out.good.to_list()
    return out.rows.to_dicts(), good, [(bad.index, bad.reason, bad.detail) for bad in out.bad]


@settings(max_examples=250, deadline=None)
@given(MESSAGES)
def test_rows_and_bad_messages_are_those_of_plain_python(values: list[bytes | None]) -> None:
    rows, good, bad = decoded(values)
    expected = [oracle(value) for value in values]
    assert good == [i for i, row in enumerate(expected) if row is not None]
    assert rows == [row for row in expected if row is not None]
    assert [i for i, _, _ in bad] == [i for i, row in enumerate(expected) if row is None]


@settings(max_examples=100, deadline=None)
@given(MESSAGES, st.lists(st.integers(0, 12), max_size=4))
def test_cuts_change_nothing(values: list[bytes | None], cuts: list[int]) -> None:
    rows: list[dict[str, Any]] = []
    good: list[int] = []
    bad: list[tuple[int, str, str]] = []
    edges = sorted({0, len(values), *(min(cut, len(values)) for cut in cuts)})
    for start, stop in pairwise(edges):
        some, indexes, faults = decoded(values[start:stop])
        rows += some
        good += [start + i for i in indexes]
        bad += [(start + i, reason, detail) for i, reason, detail in faults]
    assert (rows, good, bad) == decoded(values)
