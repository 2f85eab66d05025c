"""Turns what a test sends into messages: bytes with keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import polars as pl

Row = Mapping[str, Any]
Message = Row | bytes | str | None
"""A row becomes JSON, text UTF-8; bytes go as they are; None is a tombstone."""

Messages = Message | Sequence[Message] | pl.DataFrame
Key = bytes | str | Callable[[Any], bytes | str | None]
"""A constant as bytes, the name of a field, or what makes one from a message."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_list(messages: Messages) -> list[Message]:
    """One or many messages, or a frame's rows."""
    if isinstance(messages, pl.DataFrame):
        return list(messages.iter_rows(named=True))
    if messages is None or isinstance(messages, Mapping | bytes | str):
        return [messages]
    return list(messages)


def encode(message: Message) -> bytes | None:
    """A message's value.

    Raises:
        TypeError: it holds what JSON can't.

    >>> encode({"at": datetime(2026, 1, 1, 8), "n": 1})
    b'{"at":"2026-01-01T08:00:00Z","n":1}'
    """
    if message is None or isinstance(message, bytes):
        return message
    if isinstance(message, str):
        return message.encode()
    return orjson.dumps(message, default=str, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z)


def keys(messages: Iterable[Message], key: Key | None, default: Sequence[str]) -> list[bytes | None]:
    """Key of each message.

    Args:
        messages: as they were sent.
        key: what the test asked for.
        default: columns that the topic is partitioned by, used where `key` is None and a message is a row.

    Raises:
        ValueError: a message does not have the field.
    """
    return [_key(message, key, default) for message in messages]


def milliseconds(moment: datetime) -> int:
    """A Kafka timestamp; a naive time is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def _key(message: Message, key: Key | None, default: Sequence[str]) -> bytes | None:
    if isinstance(key, bytes):
        return key
    if callable(key):
        return _as_bytes(key(message))
    if key is not None:
        if not isinstance(message, Mapping) or key not in message:
            raise ValueError(f'no field "{key}" to take the key from in {message!r}; a constant key is given as bytes')
        return _as_bytes(message[key])
    if not default or not isinstance(message, Mapping):
        return None
    values = [message.get(column) for column in default]
    return _as_bytes(values[0] if len(values) == 1 else values)


def _as_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else orjson.dumps(value, default=str)
