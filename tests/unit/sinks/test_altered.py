"""Tables that somebody else deletes, restores or alters under the job."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from streamproc.errors import TableError
from streamproc.position import before
from streamproc.sinks.base import Claim, TableState
from streamproc.sinks.delta import DeltaSink

if TYPE_CHECKING:
    from tests.unit.sinks.conftest import Lake

Refuses = Callable[..., TableError]
Change = Callable[[DeltaTable], object]


def _restore(table: DeltaTable) -> None:
    table.restore(2)


def _delete(table: DeltaTable) -> None:
    table.delete("n = 3")


def _update(table: DeltaTable) -> None:
    table.update({"n": "n + 100"}, predicate="n = 3")


def _merge(table: DeltaTable) -> None:
    source = table.to_pyarrow_dataset().to_table().slice(0, 1)
    table.merge(source, "s.n = t.n", source_alias="s", target_alias="t").when_matched_delete().execute()


def _overwrite(table: DeltaTable) -> None:
    write_deltalake(table, table.to_pyarrow_dataset().to_table().slice(0, 1), mode="overwrite")


ALTERING: dict[str, Change] = {
    "RESTORE": _restore,
    "DELETE": _delete,
    "UPDATE": _update,
    "MERGE": _merge,
    "WRITE": _overwrite,
}


def _compact(table: DeltaTable) -> None:
    table.optimize.compact()


def _vacuum(table: DeltaTable) -> None:
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


def _append(table: DeltaTable) -> None:
    write_deltalake(table, table.to_pyarrow_dataset().to_table().slice(0, 1), mode="append")


def _property(table: DeltaTable) -> None:
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 7 days"})


HARMLESS: dict[str, Change] = {"compact": _compact, "vacuum": _vacuum, "append": _append, "property": _property}


@pytest.fixture
def running(lake: Lake) -> tuple[DeltaSink, TableState]:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    lake.put(sink, 0, 5)
    return sink, lake.put(sink, 5, 10)["a"]


@pytest.mark.parametrize("name", ALTERING)
def test_rows_altered_under_the_job(
    lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses, name: str
) -> None:
    ALTERING[name](lake.table())
    refuses(lambda: lake.put(running[0], 10, 12), "SP507", lake.uri, f"version 4: {name}", "streamproc reset")


@pytest.mark.parametrize("name", ALTERING)
def test_rows_altered_between_two_runs(
    lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses, name: str
) -> None:
    ALTERING[name](lake.table())
    other = lake.open("w2")
    refuses(lambda: lake.claim(other, start=10, confirmed=running[1]), "SP507", f"version 4: {name}")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_leaves_rows_as_they_are_is_fine(lake: Lake, running: tuple[DeltaSink, TableState], name: str) -> None:
    HARMLESS[name](lake.table())
    state = lake.put(running[0], 10, 12)["a"]
    assert state.v == before(12)
    assert set(lake.rows()) == set(range(12))
    HARMLESS[name](lake.table())
    assert lake.claim(lake.open("w2"), start=12, confirmed=state).v == before(12)


def test_what_was_done_before_the_confirmed_version_is_known_already(
    lake: Lake, running: tuple[DeltaSink, TableState]
) -> None:
    _delete(lake.table())
    version = lake.version()
    state = TableState(running[1].id, version, before(10), 1)
    assert lake.claim(lake.open("w2"), start=10, confirmed=state).v == before(10)


def test_deleted_under_the_job(lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses) -> None:
    shutil.rmtree(lake.uri)
    refuses(lambda: lake.put(running[0], 10, 12), "SP506", lake.uri, "deleted", "streamproc reset")
    refuses(lambda: lake.claim(lake.open("w2"), start=10, confirmed=running[1]), "SP506", "deleted", "offset 10")


def test_deleted_between_two_runs(lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses) -> None:
    """However often it is tried, and whatever else is claimed: nothing takes its place."""
    shutil.rmtree(lake.uri)
    for writer in ("w2", "w3"):
        sink = lake.open(writer)
        claims = [Claim("b", "T", 0, None, True), Claim("a", "T", before(12), running[1], False)]
        for start in (sink.check, sink.claim):
            refuses(
                lambda start=start, claims=claims: start(claims),
                "SP506",
                "was deleted",
                "offset 10",
                "streamproc reset",
            )
    assert not Path(lake.uri).exists()


def test_deleted_between_check_and_claim(lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses) -> None:
    sink = lake.open("w2")
    sink.check([Claim("a", "T", before(10), running[1], False)])
    shutil.rmtree(lake.uri)
    refuses(lambda: lake.claim(sink, start=10, confirmed=running[1]), "SP506", "was deleted")
    assert not Path(lake.uri).exists()


def test_replaced_under_the_job(lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses) -> None:
    table = lake.table()
    DeltaTable.create(lake.uri, table.schema(), mode="overwrite")
    refuses(lambda: lake.put(running[0], 10, 12), "SP506", "made anew")


def test_a_column_added_under_the_job(lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses) -> None:
    lake.table().alter.add_columns([Field("note", PrimitiveType("string"))])
    refuses(lambda: lake.put(running[0], 10, 12), "SP502", '"note" (string)')


def test_given_to_another_topology_under_the_job(
    lake: Lake, running: tuple[DeltaSink, TableState], refuses: Refuses
) -> None:
    lake.table().alter.set_table_properties({"streamproc.topology": "other"}, raise_if_not_exists=False)
    refuses(lambda: lake.put(running[0], 10, 12), "SP503", '"other"')
