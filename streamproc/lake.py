"""The lake: the folder or bucket below which all tables and the state of all topologies are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from streamproc.errors import TableError

_ID = "_state/lake.id"


@dataclass(frozen=True)
class Lake:
    """Args:
    location: a folder, or a URL such as "s3://bucket/prefix".
    options: settings of the object store, as delta-rs and object_store name them; secrets, so never shown.
    tables: logical table name -> path below the lake, where they differ.
    """

    location: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    tables: Mapping[str, str] = field(default_factory=dict)

    @property
    def local(self) -> Path | None:
        """The folder, if it is one."""
        return None if "://" in self.location else Path(self.location).resolve()

    @property
    def address(self) -> str:
        """Where it is, the same from every working directory."""
        return str(self.local or self.location)

    def table_uri(self, table: str) -> str:
        """Where a table is, by its logical name."""
        path = self.path(table)
        return str(self.local / path) if self.local else f"{self.location.rstrip('/')}/{path}"

    def path(self, table: str) -> str:
        """A table's path below the lake."""
        return self.tables.get(table, table)

    def store(self, *, create: bool = False) -> ObjectStore:
        """Its files.

        Args:
            create: make the folder if it is missing.

        Raises:
            TableError: it is not a folder, a known URL or can't be made.
        """
        try:
            if self.local:
                return LocalStore(self.local, mkdir=create)
            return from_url(self.location, config=dict(self.options))  # type: ignore[call-overload, no-any-return]
        except (OSError, ValueError, BaseError) as error:
            raise self._unusable(error) from error

    def identity(self, new_id: Callable[[], str]) -> str:
        """The lake's own id, made with it and kept in it: the same under every path or mount.

        Raises:
            TableError: the lake can't be read or written.
        """
        store = self.store(create=True)
        try:
            with suppress(AlreadyExistsError, FileExistsError):
                obstore.put(store, _ID, new_id().encode(), mode="create")
            return bytes(obstore.get(store, _ID).bytes()).decode()
        except (OSError, BaseError) as error:
            raise self._unusable(error) from error

    def known_identity(self) -> str | None:
        """The lake's id, None if it has none yet; nothing is made.

        Raises:
            TableError: the lake can't be read.
        """
        if self.local and not self.local.exists():
            return None
        try:
            return bytes(obstore.get(self.store(), _ID).bytes()).decode()
        except FileNotFoundError:
            return None
        except (OSError, BaseError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> TableError:
        return TableError(
            "SP501",
            f'the lake "{self.location}" can\'t be used',
            detail=[str(error).splitlines()[0]],
            fix="see that it exists, can be reached and is writable; for object stores, its lake_options",
        )
