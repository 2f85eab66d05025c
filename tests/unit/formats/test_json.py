"""Json: every kind of message, one by one and in any mixture."""

from __future__ import annotations

import gzip
import json
import random
import time
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from streamproc.errors import TopologyError
from streamproc.formats.json import Json

TIME = pl.Datetime("us", "UTC")


def one(schema: dict[str, object], message: bytes | None, **more: object) -> object:
    """The row as a tuple, or the reason code."""
    decoded = Json(schema, **more).decode([b"{}" if not more else b'{"id": "a"}', message])
    assert decoded.rows.schema == Json(schema).columns
    return decoded.bad[0].reason if decoded.bad else decoded.rows.row(1)


def value(dtype: object, text: str) -> object:
    """The value of one column whose JSON is `text`, or the reason code."""
    out = one({"v": dtype}, b'{"v": %s}' % text.encode())
    return out[0] if isinstance(out, tuple) else out


class TestMessages:
    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            (None, "tombstone"),
            (b"", "empty"),
            (b" \t\r\n ", "empty"),
            (b"\n", "empty"),
            (b'{"a": 1', "not_json"),
            (b'{"a": NaN}', "not_json"),
            (b'{"a": -Infinity}', "not_json"),
            (b'{"a": 1, "other": NaN}', "not_json"),
            (b'{"a": 1, "other": "\xff"}', "not_json"),
            (b'{"a": 1}{"a": 2}', "not_json"),
            (b'{"a": 1}\n{"a": 2}', "not_json"),
            (b'{"a": 1} {"a": 2}', "not_json"),
            (b'\xef\xbb\xbf{"a": 1}', "not_json"),
            (b'{"a": 1, "s": "line\nbreak"}', "not_json"),
            (b'{"a": 1, "other": "\\ud83d"}', "not_json"),
            (b'{"a": 1, "other": "\\ude00"}', "not_json"),
            (b'{"a": 1, "other": "\\ud83d\\\\ude00"}', "not_json"),
            (b'{"a": 1, "other": %s}' % (b"9" * 39), "not_json"),
            (b'{"a": 1, "other": 1e400}', "not_json"),
            (b'{"a": 1, "other": %s1%s}' % (b"[" * 100_000, b"]" * 100_000), "not_json"),
            (b'{"a":' * 100_000, "not_json"),
            (b"\x00", "not_json"),
            (gzip.compress(b'{"a": 1}', mtime=0), "not_json"),
            (b"\x28\xb5\x2f\xfd", "not_json"),
            (b"null", "wrong_type"),
            (b"[]", "wrong_type"),
            (b'[{"a": 1}, {"a": 2}]', "wrong_type"),
            (b"17", "wrong_type"),
            (b'"text"', "wrong_type"),
            (b'{"a": "12"}', "wrong_type"),
            (b'{"a": {}}', "wrong_type"),
        ],
    )
    def test_bad(self, message: bytes | None, reason: str) -> None:
        assert one({"a": pl.Int64, "s": pl.String}, message) == reason
        alone = Json({"a": pl.Int64, "s": pl.String}).decode([message])
        assert [bad.reason for bad in alone.bad] == [reason]
        assert alone.rows.height == 0

    @pytest.mark.parametrize(
        ("message", "row"),
        [
            (b"{}", (None, None)),
            (b' {"a": 1}\r', (1, None)),
            (b'{\n  "a": 1,\n  "s": "x"\n}\n', (1, "x")),
            (b'\n\n{"a":\r\n1}', (1, None)),
            (b'{"a": 1, "other": {"deep": [1, {}]}}', (1, None)),
            (b'{"s": "\\ud83d\\ude00"}', (None, "\U0001f600")),
            (b'{"s": "two\\nlines"}', (None, "two\nlines")),
            (b'{"\\u0061": 1}', (1, None)),
            (b'{"a": null, "s": null}', (None, None)),
        ],
    )
    def test_good(self, message: bytes, row: tuple[object, ...]) -> None:
        assert one({"a": pl.Int64, "s": pl.String}, message) == row

    def test_a_missing_row_and_an_extra_one_do_not_cancel_out(self) -> None:
        decoded = Json({"a": pl.Int64}).decode([b'{"a": 0}', b"", b'{"a": 2}\n{"a": 3}', b'{"a": 4}'])
        assert decoded.rows["a"].to_list() == [0, 4]
        assert decoded.good is not None
        assert decoded.good.to_list() == [0, 3]
        assert [bad.index for bad in decoded.bad] == [1, 2]

    def test_required_must_be_there_and_not_null(self) -> None:
        schema = {"id": pl.String, "at": pl.Datetime}
        assert one(schema, b'{"at": 1}', required="id") == "missing_field"
        assert one(schema, b'{"id": null}', required=["id"]) == "missing_field"
        assert one(schema, b'{"id": "a"}', required=["id"]) == ("a", None)

    @pytest.mark.parametrize("step", [10, 100, 1000])
    def test_bad_messages_among_many_cost_a_few_reads(self, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
        kinds = [b'{"a": 1', b'{"a": "x"}', b'{"t": [{"x": true}]}', b"[]"]
        values = [b'{"a": %d, "t": [{"x": null}]}' % i for i in range(4000)]
        for number, i in enumerate(range(0, 4000, step)):
            values[i] = kinds[number % len(kinds)]
        reads: list[int] = []
        read = pl.read_ndjson
        monkeypatch.setattr(pl, "read_ndjson", lambda source, **more: reads.append(1) or read(source, **more))
        decoded = Json({"a": pl.Int64, "t": pl.List(pl.Struct({"x": pl.Float64}))}).decode(values)
        assert [bad.index for bad in decoded.bad] == list(range(0, 4000, step))
        assert decoded.rows["a"].to_list() == [i for i in range(4000) if i % step]
        assert len(reads) <= 3

    def test_no_messages(self) -> None:
        decoded = Json({"a": pl.Int8, "t": pl.List(pl.Datetime)}).decode([])
        assert decoded.rows.schema == {"a": pl.Int8, "t": pl.List(TIME)}
        assert (decoded.rows.height, decoded.good, list(decoded.bad)) == (0, None, [])

    def test_a_megabyte(self) -> None:
        text = "x" * 1_000_000
        assert one({"s": pl.String}, json.dumps({"s": text}).encode()) == (text,)
        bad = Json({"s": pl.Int64}).decode([json.dumps({"s": text}).encode()]).bad
        assert len(bad[0].detail) <= 300


class TestValues:
    @pytest.mark.parametrize(
        ("text", "iso"),
        [
            ("1767225600", "2026-01-01T00:00:00"),
            ("1767225600123", "2026-01-01T00:00:00.123"),
            ("1767225600123456", "2026-01-01T00:00:00.123456"),
            ("1767225600.25", "2026-01-01T00:00:00.25"),
            ("1767225600123.5", "2026-01-01T00:00:00.1235"),
            ('"1767225600"', "2026-01-01T00:00:00"),
            ("0", "1970-01-01T00:00:00"),
            ("-1", "1969-12-31T23:59:59"),
            ("99999999999", "5138-11-16T09:46:39"),
            ("100000000000", "1973-03-03T09:46:40"),
            ("99999999999999", "5138-11-16T09:46:39.999"),
            ("100000000000000", "1973-03-03T09:46:40"),
            ('"2026-01-01T00:00:00Z"', "2026-01-01T00:00:00"),
            ('"2026-01-01T00:00:00"', "2026-01-01T00:00:00"),
            ('"2026-01-01 00:00:00z"', "2026-01-01T00:00:00"),
            ('"2026-01-01T00:00:00.1Z"', "2026-01-01T00:00:00.1"),
            ('"2026-01-01T00:00:00.123456789Z"', "2026-01-01T00:00:00.123456"),
            ('"2026-01-01T00:00:00.123456789+05:30"', "2025-12-31T18:30:00.123456"),
            ('"2026-01-01T00:00:00-0800"', "2026-01-01T08:00:00"),
            ('"2026-01-01 00:00:00+00"', "2026-01-01T00:00:00"),
            ('"2024-02-29"', "2024-02-29T00:00:00"),
            ('"0001-01-01T00:00:00Z"', "0001-01-01T00:00:00"),
            ('"9999-12-31T23:59:59.999999Z"', "9999-12-31T23:59:59.999999"),
        ],
    )
    def test_timestamps(self, text: str, iso: str) -> None:
        assert value(pl.Datetime, text) == datetime.fromisoformat(iso).replace(tzinfo=UTC)

    @pytest.mark.parametrize(
        "text",
        [
            *['"soon"', '""', '" 2026-01-01"', '"2026-1-1"', '"2026-02-30"', '"2026-01-01T24:00:00"', '"01/02/2026"'],
            *['"2026-01-01T00:00:60Z"', '"2026-01-01T00:00Z"', '"2026-01-01T00:00:00.1234567890Z"', '"+1"', '"1e9"'],
            *['"2026-01-01T00:00:00+25:00"', '"2026-01-01T00:00:00Z\\n"', '"10000-01-01T00:00:00Z"', '"\uff11"'],
            *[
                '"0000-01-01"',
                '"0001-01-01T00:00:00+01:00"',
                "1767225600123456789",
                "9" * 30,
                "1e300",
                "true",
                "{}",
                "[1]",
            ],
        ],
    )
    def test_no_timestamps(self, text: str) -> None:
        assert value(pl.Datetime, text) == "wrong_type"

    def test_dates(self) -> None:
        assert value(pl.Date, '"2024-02-29"') == date(2024, 2, 29)
        for text in ('"2023-02-29"', '"2024-2-9"', '"2024-02-29T00:00:00"', "19782", '"0000-01-01"'):
            assert value(pl.Date, text) == "wrong_type"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1", "1"),
            ("1.5", "1.5"),
            ("1.50000", "1.5"),
            ("-0.01", "-0.01"),
            ("1e3", "1000"),
            ("2.5E-1", "0.25"),
            ('"12.30"', "12.3"),
            ('"0012"', "12"),
            ("12345678901234567890.12", "12345678901234567890.12"),
            ("0.1000000000000000055511151231257827", "wrong_type"),
            ("1.005", "wrong_type"),
            ('"1.005"', "wrong_type"),
            ("1e-400", "wrong_type"),
            ("1.2345e-12", "wrong_type"),
            ("123456789012345678901234567890123456.78", "123456789012345678901234567890123456.78"),
            ("1234567890123456789012345678901234567.8", "wrong_type"),
            ('"1e3"', "wrong_type"),
            ('""', "wrong_type"),
            ('"."', "wrong_type"),
            ('"1."', "wrong_type"),
            ("true", "wrong_type"),
        ],
    )
    def test_decimals_are_exact_or_refused(self, text: str, expected: str) -> None:
        out = value(pl.Decimal(38, 2), text)
        assert out == (expected if expected == "wrong_type" else Decimal(expected))

    def test_long_decimals_wherever_they_stand(self) -> None:
        schema = {
            "d": pl.Decimal(38, 20),
            "n": pl.Struct({"d": pl.Decimal(38, 20), "l": pl.List(pl.Decimal(38, 20))}),
            "f": pl.Float64,
            "s": pl.String,
        }
        number = "12345678901234567.12345678901234567"
        message = (
            f'{{"s": "{{\\"d\\": {number}", "\\u0064": {number}, "f": {number}, "x": [{number}, {{"d": {number}}}], '
        )
        message += f'"n": {{"l": [1, {number}, null], "d": {number}}}}}'
        exact = Decimal(number)
        expected = (exact, {"d": exact, "l": [Decimal(1), exact, None]}, float(number), f'{{"d": {number}')
        assert one(schema, message.encode()) == expected
        assert one(schema, message.encode().replace(b", ", b",\n")) == expected
        assert one({"d": schema["d"]}, message.encode()) == (exact,)

    @pytest.mark.parametrize(
        ("dtype", "low", "high"),
        [
            (pl.Int8, -128, 127),
            (pl.Int16, -(2**15), 2**15 - 1),
            (pl.Int32, -(2**31), 2**31 - 1),
            (pl.Int64, -(2**63), 2**63 - 1),
            (pl.UInt8, 0, 255),
            (pl.UInt16, 0, 2**16 - 1),
            (pl.UInt32, 0, 2**32 - 1),
            (pl.UInt64, 0, 2**64 - 1),
        ],
    )
    def test_integers(self, dtype: pl.DataType, low: int, high: int) -> None:
        for good in (low, high, 1):
            assert value(dtype, str(good)) == good
            assert value(pl.List(dtype), f"[{good}]") == [good]
            assert value(pl.Struct({"x": dtype}), f'{{"x": {good}}}') == {"x": good}
        for bad in (low - 1, high + 1, 10**30, "1.0", "1.7", "1e2", '"1"', "true", "[1]", "{}"):
            assert value(dtype, str(bad)) == "wrong_type"
            assert value(pl.List(dtype), f"[{bad}]") == "wrong_type"
            assert value(pl.Struct({"x": dtype}), f'{{"x": {bad}}}') == "wrong_type"

    def test_floats_and_booleans(self) -> None:
        assert [value(pl.Float64, text) for text in ("1", "1.5", "-1e300", "1e-400")] == [1.0, 1.5, -1e300, 0.0]
        assert value(pl.Float32, "1.5") == 1.5
        assert value(pl.Float32, "1e39") == "wrong_type"
        assert [value(pl.Float64, text) for text in ('"1"', "true", "[]", '"NaN"')] == ["wrong_type"] * 4
        assert [value(pl.Boolean, text) for text in ("true", "false", "null")] == [True, False, None]
        assert [value(pl.Boolean, text) for text in ("1", '"true"', "{}")] == ["wrong_type"] * 3

    def test_nested(self) -> None:
        items = pl.List(pl.Struct({"at": pl.Datetime("ms"), "n": pl.Int16, "tags": pl.List(pl.String)}))
        text = '[{"at": 0, "n": 1, "tags": ["a", null]}, null, {}, {"at": "1970-01-01", "other": 1}]'
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        assert value(items, text) == [
            {"at": epoch, "n": 1, "tags": ["a", None]},
            None,
            {"at": None, "n": None, "tags": None},
            {"at": epoch, "n": None, "tags": None},
        ]
        assert [value(items, text) for text in ("[]", "null")] == [[], None]
        for bad in ('[{"at": "x"}]', '[{"n": 70000}]', "[1]", "{}", '[{"tags": {}}]', '[{"tags": 1}]'):
            assert value(items, bad) == "wrong_type"


class TestWhatIsAlteredInSilence:
    """The list in the docstring of `Json`."""

    @pytest.mark.parametrize(
        ("text", "arrives"),
        [("1", "1"), ("1.50", "1.5"), ("true", "true"), ('{"x":1}', '{"x": 1}'), ("[1,2]", "[1, 2]"), ("null", None)],
    )
    def test_anything_where_text_is_declared(self, text: str, arrives: str | None) -> None:
        assert value(pl.String, text) == arrives
        assert value(pl.List(pl.String), f"[{text}]") == [arrives]

    def test_of_equal_keys_the_first_counts(self) -> None:
        schema = {"a": pl.Int64, "n": pl.Struct({"b": pl.Int64})}
        assert one(schema, b'{"a": 1, "a": 2}') == (1, None)
        assert one(schema, b'{"a": null, "a": 2}') == (None, None)
        assert one(schema, b'{"a": 1,\n"a": 2}') == (1, None)
        assert one(schema, b'{"a": 1, "a": "text"}') == (1, None)
        assert one(schema, b'{"a": "text", "a": 1}') == "wrong_type"
        assert one(schema, b'{"n": {"b": 1, "b": 2}, "a": 3}') == (3, {"b": 1})

    def test_floats_are_rounded(self) -> None:
        assert value(pl.Float64, "9007199254740993") == 9007199254740992.0


class TestDetails:
    @pytest.mark.parametrize(
        ("dtype", "text", "detail"),
        [
            (pl.Int64, '"12"', 'v: "12" is text, not Int64'),
            (pl.Int64, "1.7", "v: 1.7 does not fit Int64"),
            (pl.Int8, "300", "v: 300 is not Int8"),
            (pl.Boolean, "1", "v: 1 is a number, not Boolean"),
            (pl.List(pl.Struct({"x": pl.Float64})), '[{}, {"x": "y"}]', 'v[1].x: "y" is text, not Float64'),
            (pl.List(pl.Struct({"x": pl.Date})), '[{}, {"x": "y"}]', 'v[1].x: "y" is not a date (YYYY-MM-DD)'),
            (pl.Decimal(4, 2), "1.234", 'v: "1.234" is not a Decimal(4, 2)'),
        ],
    )
    def test_name_the_column_the_value_and_the_type(self, dtype: object, text: str, detail: str) -> None:
        assert Json({"v": dtype}).decode([b'{"v": %s}' % text.encode()]).bad[0].detail == detail

    def test_are_one_short_line(self) -> None:
        message = b'{"v": [%s]' % b"\n".join([b'"\xff\xfe\\n"'] * 5000)
        for text in (message, b'{"v": "%s"}' % (b"x" * 5000), b'{"v": %s1%s}' % (b"[" * 900, b"]" * 900)):
            detail = Json({"v": pl.Int64}).decode([text]).bad[0].detail
            assert len(detail) <= 300
            assert "\n" not in detail


class TestManyBad:
    @pytest.mark.parametrize("bad", [b'{"a": ', b'{"a": "text"}', b"", None, b'{"a": 1, "t": "soon"}', b"[]"])
    def test_all_of_20_000_take_seconds_at_most(self, bad: bytes | None) -> None:
        started = time.monotonic()
        decoded = Json({"a": pl.Int64, "t": pl.Datetime}).decode([bad] * 20_000)
        assert [one.index for one in decoded.bad] == list(range(20_000))
        assert time.monotonic() - started < 20

    def test_some_among_many(self) -> None:
        chooser = random.Random(1)
        bad = {i for i in range(5_000) if chooser.random() < 0.1}
        values = [b"{" if i in bad else b'{"a": %d}' % i for i in range(5_000)]
        decoded = Json({"a": pl.Int64}).decode(values)
        assert {one.index for one in decoded.bad} == bad
        assert decoded.rows["a"].to_list() == [i for i in range(5_000) if i not in bad]


class TestSchema:
    def test_is_a_value(self) -> None:
        a = Json({"a": pl.Int64, "b": pl.List(pl.Datetime("ms"))}, required=["b", "a"])
        b = Json({"a": pl.Int64(), "b": pl.List(TIME)}, required=("a", "b"))
        assert a == b
        assert hash(a) == hash(b)
        assert repr(a) == repr(b)
        assert a.columns == {"a": pl.Int64(), "b": pl.List(TIME)}
        assert len({a, Json({"a": pl.Int64}), Json({"a": pl.Int32}), Json({"a": pl.Int64}, required="a")}) == 4
        assert Json({"a": pl.Int64, "b": pl.Int64}) != Json({"b": pl.Int64, "a": pl.Int64})

    @pytest.mark.parametrize(
        ("schema", "required", "code", "says"),
        [
            ({}, (), "SP120", "at least one"),
            (["a"], (), "SP120", "mapping"),
            ({"a": int}, (), "SP121", "pl.Int64"),
            ({"a": "Int64"}, (), "SP121", "a"),
            ({"a": pl.Categorical}, (), "SP121", "pl.String"),
            ({"a": pl.Object}, (), "SP121", "a"),
            ({"a": pl.Duration("us")}, (), "SP121", "pl.Int64"),
            ({"a": pl.Binary}, (), "SP121", "base64"),
            ({"a": pl.List}, (), "SP121", "pl.List(pl.Int64)"),
            ({"a": pl.Struct}, (), "SP121", "name its fields"),
            ({"a": pl.Array(pl.Int64, 2)}, (), "SP121", "pl.List"),
            ({"a": pl.List(pl.Struct({"x": pl.Time}))}, (), "SP121", "a[].x"),
            ({"_offset": pl.Int64}, (), "SP122", "_offset"),
            ({"__x": pl.Int64}, (), "SP122", "__x"),
            ({"": pl.Int64}, (), "SP122", "empty"),
            ({"a": pl.Int64}, "b", "SP123", "columns here: a"),
        ],
    )
    def test_refused(self, schema: object, required: object, code: str, says: str) -> None:
        with pytest.raises(TopologyError) as caught:
            Json(schema, required=required)  # type: ignore[arg-type]
        assert caught.value.code == code
        assert says in str(caught.value)
        assert caught.value.fix
