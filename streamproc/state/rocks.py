"""Chunks at hand in RocksDB on the local disk, over the lake's files: reading state never goes over the network.

The disk may be lost, stale or another's: only ids that a manifest names are used, and a chunk never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

from rocksdict import Options, Rdict, WriteOptions

from streamproc.errors import StateError
from streamproc.state.chunks import ChunkStore
from streamproc.state.damage import seal, unseal

_PARALLEL_FETCHES = 8


class RocksChunks:
    """A `ChunkStore` that keeps a copy of every chunk in RocksDB.

    Args:
        folder: where RocksDB lives; made if missing. One process at a time.
        durable: where the chunks survive.

    Raises:
        StateError: the folder can't be opened.
    """

    def __init__(self, folder: Path, durable: ChunkStore) -> None:
        self._durable = durable
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = Rdict(str(folder), _options())
        except Exception as error:
            raise StateError(
                "SP406",
                f"local state in {folder} can't be opened",
                detail=[str(error).splitlines()[0]],
                fix="delete the folder: it is a copy, and is fetched again from the lake",
            ) from error
        # A lost write is fetched again: the write-ahead log would only be copied for nothing.
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # the stub is wrong

    def put(self, task: str, id: str, data: bytes) -> None:
        self._durable.put(task, id, data)
        self._db.put(_key(task, id), seal(data), write_opt=self._unlogged)

    def get(self, task: str, id: str) -> bytes:
        sealed = self._db.get(_key(task, id))
        if sealed is not None:
            with suppress(StateError):  # a copy that is damaged is fetched again
                return unseal(sealed, task, id)
        data = self._durable.get(task, id)
        self._db.put(_key(task, id), seal(data), write_opt=self._unlogged)
        return data

    def fetch(self, task: str, ids: Iterable[str]) -> None:
        wanted = {_key(task, id): id for id in ids}
        here = set(self._keys(task))
        for key in here - wanted.keys():
            self._db.delete(key, write_opt=self._unlogged)
        absent = [id for key, id in wanted.items() if key not in here]
        with ThreadPoolExecutor(_PARALLEL_FETCHES, thread_name_prefix="fetch") as pool:
            for _ in pool.map(partial(self.get, task), absent):
                pass

    def list(self, task: str) -> frozenset[str]:
        return self._durable.list(task)

    def delete(self, task: str, ids: Iterable[str]) -> None:
        ids = list(ids)
        for id in ids:
            self._db.delete(_key(task, id), write_opt=self._unlogged)
        self._durable.delete(task, ids)

    def drop(self, task: str) -> None:
        for key in list(self._keys(task)):
            self._db.delete(key, write_opt=self._unlogged)

    def close(self) -> None:
        self._db.flush()
        self._db.close()
        self._durable.close()

    def _keys(self, task: str) -> Iterable[bytes]:
        prefix = _key(task, "")
        for key in cast(Iterable[bytes], self._db.keys(from_key=prefix)):
            if not key.startswith(prefix):
                return
            yield key


def _key(task: str, id: str) -> bytes:
    return f"{task}\0{id}".encode()


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(16 << 20)
    options.set_max_write_buffer_number(2)
    options.set_keep_log_file_num(2)
    return options
