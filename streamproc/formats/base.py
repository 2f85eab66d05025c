"""The seam of all formats: bytes in, a frame and the bad messages out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl


@dataclass(frozen=True, slots=True)
class Bad:
    """One message that could not be decoded: its index in the input, a reason code and a detail for people."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded messages.

    Args:
        rows: the good messages, in order, with the format's schema.
        good: their indexes in the input (UInt32), or None if all messages were good.
        bad: the others, in order.
    """

    rows: pl.DataFrame
    good: pl.Series | None = None
    bad: Sequence[Bad] = ()


class Format(Protocol):
    """Bytes of messages to columns."""

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The columns it yields."""
        ...

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch at once; None is a tombstone."""
        ...


DETAIL_LENGTH_MAX = 300
"""Longest detail of a rejected message, in characters: payloads and exception texts may be of any size."""


def clip(text: str, length: int = DETAIL_LENGTH_MAX) -> str:
    """`text` in at most `length` characters, its line breaks as spaces.

    >>> clip("a long text", 8)
    'a lon...'
    """
    line = " ".join(text[: length * 4].split())
    return line if len(line) <= length else line[: length - 3] + "..."
