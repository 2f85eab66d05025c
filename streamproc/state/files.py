"""Chunks as files below the lake, `_state/<task>/<id>.chunk`, in a folder or object store: what survives the disk."""

from __future__ import annotations

from collections.abc import Iterable

import obstore
from obstore.store import ObjectStore

from streamproc.errors import StateError
from streamproc.state.damage import missing, seal, unseal

FOLDER = "_state"
_SUFFIX = ".chunk"


class FileChunks:
    """A `ChunkStore` whose chunks are all read from and written to the lake.

    Args:
        store: the lake.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, task: str, id: str, data: bytes) -> None:
        try:
            obstore.put(self._store, _path(task, id), seal(data), use_multipart=False)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise StateError(
                "SP404",
                f"state of {task} can't be written to the lake",
                detail=[str(error).splitlines()[0]],
                fix="free space or mend the permissions of the lake, then start again; nothing is lost",
            ) from error

    def get(self, task: str, id: str) -> bytes:
        try:
            sealed = bytes(obstore.get(self._store, _path(task, id)).bytes())
        except FileNotFoundError:
            raise missing(task, id) from None
        except (OSError, obstore.exceptions.BaseError) as error:
            raise StateError(
                "SP405",
                f'chunk "{id}" of the state of {task} can\'t be read',
                detail=[str(error).splitlines()[0]],
                fix="see whether the lake can be reached, then start again; nothing is lost",
            ) from error
        return unseal(sealed, task, id)

    def fetch(self, task: str, ids: Iterable[str]) -> None:
        for id in ids:
            self.get(task, id)

    def list(self, task: str) -> frozenset[str]:
        found = (item["path"] for page in obstore.list(self._store, f"{FOLDER}/{task}") for item in page)
        return frozenset(path.rsplit("/", 1)[1].removesuffix(_SUFFIX) for path in found if path.endswith(_SUFFIX))

    def delete(self, task: str, ids: Iterable[str]) -> None:
        for id in ids:
            try:
                obstore.delete(self._store, _path(task, id))
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                continue

    def drop(self, task: str) -> None:
        pass

    def close(self) -> None:
        pass


def _path(task: str, id: str) -> str:
    return f"{FOLDER}/{task}/{id}{_SUFFIX}"
