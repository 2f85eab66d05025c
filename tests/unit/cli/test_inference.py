"""Schemas guessed from messages: what is printed is a schema that takes these messages."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

import streamproc as sp
from streamproc.cli.inference import guess


def guessed(*bodies: dict[str, Any], topic: str = "t") -> dict[str, Any]:
    """The schema, run as the Python that it is."""
    names: dict[str, Any] = {"pl": pl, "sp": sp}
    exec(guess(topic, [json.dumps(body).encode() for body in bodies]).code, names)
    return names[topic.upper()]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("n", [1, 2], pl.Int64),
        ("n", [1, 2.5], pl.Float64),
        ("n", [1, None], pl.Int64),
        ("n", [True], pl.Boolean),
        ("n", ["x"], pl.String),
        ("n", [None], pl.String),
        ("n", [1, "x"], pl.String),
        ("n", [2**63], pl.Decimal(20, 0)),
        ("day", ["2026-01-31"], pl.Date),
        ("event_time", ["2026-01-01T10:00:00Z"], pl.Datetime),
        ("event_time", ["2026-01-01 10:00:00.123+02:00", None], pl.Datetime),
        ("event_time", [1_772_438_400], pl.Datetime),
        ("createdAt", [1_772_438_400_123], pl.Datetime),
        ("ts", [1_772_438_400_123_456], pl.Datetime),
        ("ts", [17], pl.Int64),
        ("order_number", [1_772_438_400], pl.Int64),
        ("event_time", ["2026-01-01T10:00:00Z", "soon"], pl.String),
        ("tags", [["a", "b"], []], pl.List(pl.String)),
        ("place", [{"lat": 1.5}, {"lon": 2}], pl.Struct({"lat": pl.Float64, "lon": pl.Int64})),
        ("items", [[{"at_time": 1_772_438_400, "n": 1}]], pl.List(pl.Struct({"at_time": pl.Datetime, "n": pl.Int64}))),
        ("empty", [{}], pl.String),
    ],
)
def test_type_of_a_column(name: str, values: list[Any], expected: Any) -> None:
    assert guessed(*({name: value} for value in values))[name] == expected


def test_the_schema_takes_the_messages_it_was_made_from() -> None:
    bodies = [
        {"id": "a", "at": "2026-01-01T10:00:00Z", "n": 1, "place": {"lat": 1.5, "lon": None}, "tags": ["x"]},
        {"id": "b", "at": None, "n": 2.5, "place": None, "tags": []},
    ]
    decoded = sp.Json(guessed(*bodies)).decode([json.dumps(body).encode() for body in bodies])
    assert not decoded.bad
    assert decoded.rows["place"].to_list() == [{"lat": 1.5, "lon": None}, None]
    assert decoded.rows["at"].null_count() == 1


def test_what_is_always_there_is_required_and_what_is_not_json_is_counted() -> None:
    found = guess("my.topic-v2", [b'{"id": 1, "x": 2}', b'{"id": 2}', b"[]", b"{", None, b""])
    assert (found.messages, found.bad) == (6, 4)
    assert 'sp.Json(MY_TOPIC_V2, required=["id"])' in found.code
    assert "missing in 50%" in found.code


def test_names_that_cannot_be_declared_or_would_be_code() -> None:
    code = guess("t", [json.dumps({"__x": 1, "_key": 2, 'a"]; import os #': 3}).encode()]).code
    names: dict[str, Any] = {"pl": pl, "sp": sp}
    exec(code, names)
    assert list(names["T"]) == ['a"]; import os #']
    assert code.count("left out, the name is reserved") == 2
