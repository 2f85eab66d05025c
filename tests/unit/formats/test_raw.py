from __future__ import annotations

import polars as pl
import pytest

from streamproc.errors import TopologyError
from streamproc.formats.raw import Raw


def test_columns_and_identity() -> None:
    assert Raw().columns == {"key": pl.Binary(), "value": pl.Binary()}
    assert Raw() == Raw()
    assert repr(Raw()) == "Raw()"


def test_a_column_is_not_decoded_as_raw() -> None:
    with pytest.raises(TopologyError, match="SP124"):
        Raw().decode([b"x"])
