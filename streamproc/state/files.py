"""Chunks as files below the lake, `_state/<task>/<id>.chunk`, in a folder or object store: what survives the disk."""

from __future__ import annotations

from collections.abc import Iterable

import obstore
import structlog
from obstore.store import ObjectStore

from streamproc.errors import StateError
from streamproc.state.damage import missing, seal, unseal

FOLDER = "_state"
_SUFFIX = ".chunk"

_log = structlog.get_logger()


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
                detail=[_first(error)],
                fix="free space or mend the permissions of the lake, then start again; nothing is lost",
            ) from error

    def get(self, task: str, id: str) -> bytes:
        try:
            sealed = bytes(obstore.get(self._store, _path(task, id)).bytes())
        except FileNotFoundError:
            raise missing(task, id) from None
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _unreadable(f'chunk "{id}" of the state of {task} can\'t be read', error) from error
        return unseal(sealed, task, id)

    def fetch(self, task: str, ids: Iterable[str]) -> None:
        for id in ids:
            self.get(task, id)

    def list(self, task: str) -> frozenset[str]:
        try:
            pages = list(obstore.list(self._store, f"{FOLDER}/{task}"))
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _unreadable(f"state of {task} can't be listed", error) from error
        found = [item["path"] for page in pages for item in page if item["path"].endswith(_SUFFIX)]
        return frozenset(path.rsplit("/", 1)[1].removesuffix(_SUFFIX) for path in found)

    def delete(self, task: str, ids: Iterable[str]) -> None:
        for id in ids:
            try:
                obstore.delete(self._store, _path(task, id))
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                continue
            except (OSError, obstore.exceptions.BaseError) as error:
                # What is not needed any more must not stop a run: the next start of the task finds it and tries again.
                _log.warning("a chunk that is not needed any more can't be deleted", chunk=id, reason=_first(error))

    def drop(self, task: str) -> None:
        pass

    def close(self) -> None:
        pass


def _unreadable(what: str, error: Exception) -> StateError:
    fix = "see whether the lake can be reached, then start again; nothing is lost"
    return StateError("SP405", what, detail=[_first(error)], fix=fix)


def _first(error: Exception) -> str:
    return str(error).splitlines()[0]


def _path(task: str, id: str) -> str:
    return f"{FOLDER}/{task}/{id}{_SUFFIX}"
