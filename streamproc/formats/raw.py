"""Messages as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from streamproc.errors import TopologyError
from streamproc.formats.base import Decoded


@dataclass(frozen=True)
class Raw:
    """Key and value as bytes; nothing is decoded, so nothing is bad. For `read_kafka` only.

    >>> Raw().columns
    {'key': Binary, 'value': Binary}
    """

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The columns it yields."""
        return {"key": pl.Binary(), "value": pl.Binary()}

    def decode(self, values: Sequence[bytes | None]) -> Decoded:  # noqa: ARG002 - of the protocol
        """A column can't be decoded as raw.

        Raises:
            TopologyError: SP124, always.
        """
        raise TopologyError("SP124", "Raw() has nothing to decode", fix="use it in read_kafka(format=Raw()) only")
