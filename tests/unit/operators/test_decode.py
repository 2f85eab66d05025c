from __future__ import annotations

import polars as pl
import pytest

from streamproc import position
from streamproc.errors import DataError
from streamproc.formats.json import Json
from streamproc.operators.base import OnFail
from streamproc.operators.decode import Decode
from streamproc.operators.read import ReadRaw
from tests.unit.operators.batches import at, batch, places, rejected, source

FORMAT = Json({"a": pl.Int64, "b": pl.String})
VALUES = [b'{"a": 0}', b"{", b'{"a": 2, "b": "x"}', None]


def test_read_raw_gives_keys_and_values() -> None:
    result = ReadRaw().process(source([b"x", None]))
    assert result.batch.rows.columns == ["key", "value", position.COLUMN]
    assert result.batch.visible.rows() == [(b"k0", b"x"), (b"k1", None)]
    assert places(result) == [0, 1]
    assert not result.counts


def test_the_source_step_decodes_the_records() -> None:
    result = Decode(FORMAT).process(source(VALUES))
    assert result.batch.rows.columns == ["a", "b", position.COLUMN]
    assert result.batch.visible.rows() == [(0, None), (2, "x")]
    assert places(result) == [0, 2]
    assert result.counts == {"rejected": 2}
    assert rejected(result) == [(1, "not_json"), (3, "tombstone")]
    assert result.rejected is not None
    assert result.rejected.columns == [position.COLUMN, "reason", "detail"]


def test_all_good_and_none_at_all() -> None:
    result = Decode(FORMAT).process(source([b"{}"]))
    assert (places(result), dict(result.counts), result.rejected) == ([0], {}, None)
    assert Decode(FORMAT).process(source([])).batch.rows.schema == {**FORMAT.columns, position.COLUMN: pl.Int64}


@pytest.mark.parametrize("dtype", [pl.Binary, pl.String])
def test_a_column_is_replaced_in_its_place(dtype: pl.DataType) -> None:
    values = pl.Series("value", ['{"a": 0}', "{", None], dtype=pl.String).cast(dtype)
    rows = pl.DataFrame({"x": [1, 2, 3], "value": values, "y": [4, 5, 6], "gone": [7, 8, 9]})
    result = Decode(FORMAT, "value", "reject", ("x", "y")).process(batch(rows))
    assert result.batch.rows.columns == ["x", "a", "b", "y", position.COLUMN]
    assert result.batch.visible.rows() == [(1, 0, None, 4)]
    assert rejected(result) == [(1, "not_json"), (2, "tombstone")]


@pytest.mark.parametrize(
    ("on_fail", "rows", "counts"),
    [
        ("warn", [(0, None), (None, None), (2, "x"), (None, None)], {"warned": 2}),
        ("drop", [(0, None), (2, "x")], {"dropped": 2}),
    ],
)
def test_on_fail(on_fail: OnFail, rows: list[tuple[object, ...]], counts: dict[str, int]) -> None:
    result = Decode(FORMAT, None, on_fail).process(source(VALUES))
    assert result.batch.visible.rows() == rows
    assert places(result) == ([0, 1, 2, 3] if on_fail == "warn" else [0, 2])
    assert result.counts == counts
    assert result.rejected is None


@pytest.mark.parametrize("values", [[None, b"{"], [b"", b"x"]])
def test_warn_keeps_a_batch_without_any_good_row(values: list[bytes | None]) -> None:
    result = Decode(FORMAT, None, "warn").process(source(values))
    assert result.batch.visible.rows() == [(None, None), (None, None)]


def test_stop_names_the_first_bad_message() -> None:
    with pytest.raises(DataError) as caught:
        Decode(FORMAT, None, "stop").process(source(VALUES))
    assert caught.value.position == at(1)
    assert caught.value.code == "SP601"
    assert "not_json" in str(caught.value)
