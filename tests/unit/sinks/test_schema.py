"""Planned columns against what a table has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest
from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType

from streamproc.errors import TableError
from streamproc.plan.model import FAILED_SCHEMA, Table
from streamproc.position import COLUMN, before, record
from streamproc.sinks.base import Claim
from streamproc.sinks.delta import head, inspect, row_count
from streamproc.sinks.delta.schema import delta_schema, differences, stored_columns

if TYPE_CHECKING:
    from tests.unit.sinks.conftest import Lake

Refuses = Callable[..., TableError]


def test_a_table_is_created_as_planned_by_the_first_claim(lake: Lake) -> None:
    sink = lake.open("w1")
    sink.check([Claim("a", "T", 0, None, True)])
    assert list(lake.folder.iterdir()) == []
    lake.claim(sink, first=True)
    table = lake.table()
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert table.metadata().configuration == {"streamproc.topology": "job"}
    assert [field.type for field in table.schema().fields] == [
        PrimitiveType(t) for t in ("string", "long", "timestamp")
    ]
    assert lake.open("w2")._owner.table.id == str(table.metadata().id)


def test_many_may_create_it_at_once(lake: Lake) -> None:
    with ThreadPoolExecutor(4) as pool:
        sinks = [lake.open(f"w{i}", sleep=lambda _: None) for i in range(4)]
        ids = {state.id for state in pool.map(lambda i: lake.claim(sinks[i], f"t{i}", first=True), range(4))}
    assert ids == {str(lake.table().metadata().id)}
    assert [entry["operation"] for entry in lake.table().history()].count("CREATE TABLE") == 1


def test_each_difference_is_listed(lake: Lake, refuses: Refuses) -> None:
    DeltaTable.create(
        lake.uri,
        Schema(
            [
                Field("n", PrimitiveType("integer")),
                Field("at", PrimitiveType("timestamp"), nullable=False),
                Field("other", PrimitiveType("string")),
            ]
        ),
        partition_by=["other"],
    )
    refuses(
        lambda: lake.open("w1"),
        "SP502",
        'column "task" (string) is missing in the table',
        'column "other" (string) of the table is not written',
        'column "n" is integer in the table, long here',
        'column "at" is NOT NULL in the table, may be null here',
        'partitioned by "other", planned is nothing',
    )
    assert lake.version() == 0  # nothing was changed
    found = inspect(lake.uri, lake.planned)
    assert found is not None
    assert (found.version, found.owner, len(found.differences)) == (0, "", 5)


def test_another_topology_is_refused(lake: Lake, refuses: Refuses) -> None:
    late = lake.open("w2", topology="other")
    lake.claim(lake.open("w1"), first=True)
    refuses(lambda: lake.claim(late, "b"), "SP503", '"job"', '"other"')
    refuses(lambda: lake.open("w3", topology="other"), "SP503", '"job"', '"other"')


def test_a_table_without_owner_is_adopted_whatever_the_order_of_its_columns(lake: Lake) -> None:
    reverse = dict(reversed(lake.planned.columns.items()))
    DeltaTable.create(lake.uri, delta_schema(reverse), configuration={"delta.appendOnly": "true"})
    sink = lake.open("w1")
    assert lake.table().metadata().configuration == {"delta.appendOnly": "true"}
    lake.claim(sink, first=True)
    assert lake.table().metadata().configuration == {"delta.appendOnly": "true", "streamproc.topology": "job"}
    lake.put(sink, 0, 3)
    assert lake.rows() == [0, 1, 2]
    assert head(lake.uri, 1).columns == list(reverse)


def test_what_can_not_be_stored_is_named() -> None:
    columns = {"naive": pl.Datetime("us"), "span": pl.Duration("us"), "fine": pl.Int64(), "deep": pl.List(pl.Time())}
    with pytest.raises(TableError) as caught:
        stored_columns("t", columns)
    assert [line.split('"')[1] for line in caught.value.detail] == ["naive", "span", "deep"]


def test_nested_differences() -> None:
    one = delta_schema({"s": pl.Struct({"a": pl.Int64(), "b": pl.List(pl.String())})})
    two = delta_schema({"s": pl.Struct({"a": pl.Int64(), "b": pl.List(pl.Int64())})})
    assert differences(one, (), one, ()) == []
    assert differences(one, (), two, ()) == [
        'column "s" is struct<a: long, b: array<long>> in the table, struct<a: long, b: array<string>> here'
    ]


def test_all_kinds_of_values_arrive(lake: Lake) -> None:
    at = datetime(2024, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)
    row = {
        "flag": True, "small": 1, "unsigned": 2**32 - 1, "huge": 2**64 - 1, "real": 0.5, "text": "añ",
        "raw": b"\x00\xff",
        "day": date(2024, 5, 1), "at": at, "local": at, "money": Decimal("12.34"), "kind": "b", "tags": ["x", None],
        "place": {"lat": 1.5, "names": ["p"]},
    }  # fmt: skip
    columns: dict[str, pl.DataType] = {
        "flag": pl.Boolean(), "small": pl.Int8(), "unsigned": pl.UInt32(), "huge": pl.UInt64(), "real": pl.Float64(),
        "text": pl.String(), "raw": pl.Binary(), "day": pl.Date(), "at": pl.Datetime("us", "UTC"),
        "local": pl.Datetime("ms", "Europe/Paris"), "money": pl.Decimal(10, 2), "kind": pl.Enum(["a", "b"]),
        "tags": pl.List(pl.String()), "place": pl.Struct({"lat": pl.Float64(), "names": pl.List(pl.String())}),
    }  # fmt: skip
    frame = pl.DataFrame([row, dict.fromkeys(row)], schema=columns).with_columns(
        pl.Series(COLUMN, [record(0), record(1)], dtype=pl.Int64)
    )
    lake.planned = Table(lake.planned.name, columns)
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    sink.write("a", frame, before(2), {})
    sink.commit().result()
    again = lake.open("w2")  # the types agree with the table's
    assert again.buffered_rows == 0
    first, empty = head(lake.uri, 2).sort("flag", nulls_last=True).to_dicts()
    assert first == row | {"huge": Decimal(2**64 - 1), "local": at.replace(microsecond=123000)}
    assert set(empty.values()) <= {None} or empty["place"] in (None, {"lat": None, "names": None})


def test_the_tables_of_rejected_rows_can_be_stored(lake: Lake) -> None:
    lake.planned = Table(lake.planned.name, FAILED_SCHEMA, role="rejected")
    lake.claim(lake.open("w1"), first=True)
    assert [field.name for field in lake.table().schema().fields] == list(FAILED_SCHEMA)


def test_partitions(lake: Lake) -> None:
    lake.planned = Table(lake.planned.name, {"n": pl.Int64(), "date": pl.Date(), "hour": pl.Int8()}, ("date", "hour"))
    sink = lake.open("w1")
    sink.claim([Claim("a", "T", 0, None, True)])
    days = [date(2024, 1, 1), date(2024, 1, 2), None, date(2024, 1, 1)]
    for i in range(2):
        frame = pl.DataFrame(
            {"n": range(4), "date": days, "hour": [1, 2, 3, 1], COLUMN: [record(4 * i + k) for k in range(4)]},
            schema_overrides={"hour": pl.Int8, "n": pl.Int64},
        )
        sink.write("a", frame, before(4 * i + 4), {})
        sink.commit().result()
    assert row_count(lake.uri) == 8
    assert {(p["date"], p["hour"]) for p in lake.table().partitions()} == {
        ("2024-01-01", "1"), ("2024-01-02", "2"), (None, "3"),
    }  # fmt: skip
    found = head(lake.uri, 100).filter(pl.col("date") == date(2024, 1, 1))
    assert sorted(found["n"].to_list()) == [0, 0, 3, 3]
    lake.claim(lake.open("w2"), start=8)  # a commit without rows works too
