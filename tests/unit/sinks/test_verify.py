"""What `verify` finds, in planted logs and in real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import write_deltalake

from streamproc.cli.verify import _details
from streamproc.errors import TableError
from streamproc.position import before
from streamproc.sinks.delta import Restart, counters, head, reset, row_count, verify
from streamproc.sinks.delta.log import Added, Commit
from streamproc.sinks.delta.verify import check

if TYPE_CHECKING:
    from tests.unit.sinks.conftest import Lake

Refuses = Callable[..., TableError]


def claim(version: int, v: int, epoch: int = 1) -> Commit:
    metadata = {"topology": "job", "epochs": {"a": epoch}, "claim": True, "v": {"a": before(v)}}
    return Commit(version, "WRITE", metadata=metadata, txns={"a": before(v), "a#owner": epoch})


def data(version: int, start: int, end: int, epoch: int = 1, **more: Any) -> Commit:
    part = {"from": before(start), "to": before(end), "rows": abs(end - start), "counters": {"in": end}}
    metadata = {"topology": "job", "epochs": {"a": epoch}, "tasks": {"a": part}}
    fields = {"added": (Added(f"{version}.parquet", abs(end - start)),), "txns": {"a": before(end), "a#owner": epoch}}
    return Commit(version, "WRITE", metadata=metadata, **(fields | more))  # type: ignore[arg-type]


def restart(version: int, v: int | None, epoch: int) -> Commit:
    place = None if v is None else before(v)
    metadata = {"topology": "job", "epochs": {"a": epoch}, "reset": {"a": place}}
    return Commit(version, "WRITE", metadata=metadata, txns={"a": -1 if place is None else place, "a#owner": epoch})


CREATED = Commit(0, "CREATE TABLE", metadata={"topology": "job"})


def kinds(*commits: Commit) -> list[tuple[int, str]]:
    return [(problem.version, problem.kind) for problem in check([CREATED, *commits]).problems]


def test_a_sound_log() -> None:
    found = check([CREATED, claim(1, 5), data(2, 5, 8), data(3, 8, 9), claim(4, 9, 2), data(5, 9, 20, 2)])
    assert found.ok
    assert (found.commits, found.rows, found.tasks, found.since, found.version) == (6, 15, {"a": before(20)}, 0, 5)
    assert found.counters == {"a": {"in": 20}}


@pytest.mark.parametrize(
    ("commits", "expected"),
    [
        ((claim(1, 0), data(2, 1, 5)), [(2, "gap")]),
        ((claim(1, 0), data(2, 0, 5), data(3, 6, 9)), [(3, "gap")]),
        ((claim(1, 0), data(2, 0, 5), data(3, 3, 9)), [(3, "overlap")]),
        ((claim(1, 0), data(2, 0, 5), data(3, 0, 5)), [(3, "overlap")]),
        ((claim(1, 0), data(2, 0, 5), claim(3, 3, 2)), [(3, "regression")]),
        ((claim(1, 0), data(2, 0, 5), claim(3, 7, 2)), [(3, "gap")]),
        ((claim(1, 0), data(2, 0, 5), claim(3, 5, 2), data(4, 5, 9, 1)), [(4, "epoch")]),
        ((claim(1, 0), data(2, 0, 5, added=(Added("x", 4),))), [(2, "rows")]),
        ((claim(1, 0), data(2, 0, 5, rows_written=6)), [(2, "rows")]),
        ((claim(1, 0), data(2, 0, 5), data(3, 5, 10, added=(Added("2.parquet", 5),))), [(3, "file twice")]),
        ((claim(1, 0), data(3, 0, 5)), [(3, "log")]),
        ((claim(1, 0), data(2, 0, 5), Commit(3, "DELETE", removes_rows=True)), [(3, "altered")]),
        ((claim(1, 0), data(2, 0, 5), restart(3, 2, 2), claim(4, 2, 3), data(5, 2, 9, 3)), []),
        ((claim(1, 0), data(2, 0, 5), restart(3, None, 2), claim(4, 0, 3), data(5, 0, 9, 3)), []),
        ((claim(1, 0), Commit(2, "DELETE", removes_rows=True), restart(3, 0, 2), data(4, 0, 3, 2)), []),
        ((claim(1, 0), data(2, 0, 5, removed=("x",)), Commit(3, "OPTIMIZE", removed=("2.parquet",))), []),
    ],
)
def test_planted(commits: tuple[Commit, ...], expected: list[tuple[int, str]]) -> None:
    assert kinds(*commits) == expected


def test_what_was_left_out_is_told_and_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    def left_out(version: int, start: int, end: int, epoch: int) -> Commit:
        commit = claim(version, end, epoch)
        return replace(commit, metadata=commit.metadata | {"restarts": {"a": before(start)}})

    log = [CREATED, claim(1, 0), data(2, 0, 5), left_out(3, 5, 9, 2), data(4, 9, 12, 2), left_out(5, 12, 20, 3)]
    found = check(log)
    assert (found.problems, found.rows, found.tasks) == ((), 8, {"a": before(20)})
    assert [str(restart) for restart in found.restarts] == [
        "version 3: a: from offset 5 to offset 9 not written by this topology",
        "version 5: a: from offset 12 to offset 20 not written by this topology",
    ]
    _details("readings", found)
    shown = " ".join(capsys.readouterr().out.split())
    assert "left out: version 3: a: from offset 5 to offset 9 not written by this topology" in shown
    assert kinds(*log[1:4], data(4, 10, 12, 2)) == [(4, "gap")]
    assert kinds(*log[1:4], data(4, 6, 12, 2)) == [(4, "overlap")]
    assert kinds(*log[1:3], left_out(3, 6, 9, 2)) == [(3, "gap")]  # not even where it says that it was
    assert kinds(*log[1:3], left_out(3, 3, 9, 2)) == [(3, "regression")]


def test_a_range_that_goes_back_and_a_txn_that_says_something_else() -> None:
    assert {kind for _, kind in kinds(claim(1, 0), data(2, 0, 5), data(3, 5, 3))} == {"regression"}
    assert kinds(claim(1, 0), data(2, 0, 5, txns={"a": before(4), "a#owner": 1})) == [(2, "regression")]
    assert kinds(claim(1, 0), data(2, 0, 5, txns={})) == [(2, "regression")]


def test_a_problem_names_version_task_and_offsets() -> None:
    (problem,) = check([CREATED, claim(1, 0), data(2, 0, 5), data(3, 6, 9)]).problems
    assert problem.text == "version 3: a: writes offset 6 to offset 9, but offset 5 was reached: the rest is missing"


def _edit(lake: Lake, version: int, change: Callable[[dict[str, Any]], None]) -> None:
    path = Path(lake.uri, "_delta_log", f"{version:020}.json")
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        change(action)
    path.write_text("\n".join(json.dumps(action) for action in actions))


def test_a_real_log_and_gaps_planted_in_it(lake: Lake) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    for i in range(4):
        lake.put(sink, i, i + 1)
    assert verify(lake.uri).ok
    assert counters(lake.uri) == {"a": {"in": 4}}

    def change(action: dict[str, Any]) -> None:
        if "commitInfo" in action:
            action["commitInfo"]["streamproc"]["tasks"]["a"]["from"] = before(2) + 7

    _edit(lake, 4, change)
    (problem,) = verify(lake.uri).problems
    assert (problem.version, problem.kind, problem.task) == (4, "gap", "a")


def test_rows_written_twice_by_a_tool_without_positions(lake: Lake) -> None:
    """A file that is added again, as happens when an answer of an object store is lost, without transaction ids."""
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    lake.put(sink, 0, 3)
    log = Path(lake.uri, "_delta_log")
    add = next(line for line in (log / f"{2:020}.json").read_text().splitlines() if line.startswith('{"add"'))
    (log / f"{3:020}.json").write_text('{"commitInfo": {"operation": "WRITE"}}\n' + add)
    found = verify(lake.uri)
    assert [(problem.version, problem.kind) for problem in found.problems] == [(3, "file twice")]
    assert found.count("file twice") == 1


def test_a_log_that_was_cleaned_is_spoken_for_from_where_it_begins(lake: Lake) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    for i in range(6):
        lake.put(sink, i, i + 1)
    lake.table().create_checkpoint()
    for version in range(4):
        Path(lake.uri, "_delta_log", f"{version:020}.json").unlink()
    found = verify(lake.uri)
    assert found.ok
    assert (found.since, found.version, found.rows) == (4, 7, 4)


def test_no_table(lake: Lake, refuses: Refuses) -> None:
    refuses(lambda: verify(lake.uri), "SP511", lake.uri)
    refuses(lambda: head(lake.uri), "SP511", lake.uri)
    refuses(lambda: reset(lake.uri, {}, topology="job", writer="r"), "SP511", lake.uri)
    assert not Path(lake.uri).exists()


def test_first_rows_and_number_of_rows(lake: Lake) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    assert (head(lake.uri, 3).height, row_count(lake.uri)) == (0, 0)
    lake.put(sink, 0, 10)
    assert (head(lake.uri, 3).height, row_count(lake.uri)) == (3, 10)


def test_reset_to_a_place(lake: Lake) -> None:
    running = lake.open("w1")
    lake.claim(running, first=True)
    lake.put(running, 0, 10)
    known = reset(lake.uri, {"a": Restart(before(4), "U")}, topology="job", writer="r", delete_rows=True)["a"]
    with pytest.raises(Exception, match="SP701"):
        lake.put(running, 10, 12)  # whoever still runs is fenced
    sink = lake.open("w2")
    state = lake.claim(sink, start=4, confirmed=known, topic="U")
    assert (state.v, state.epoch) == (before(4), 3)
    lake.put(sink, 4, 6)
    assert lake.rows() == [4, 5]
    assert verify(lake.uri).ok


def test_reset_that_forgets(lake: Lake) -> None:
    first = lake.open("w1")
    lake.claim(first, first=True)
    lake.put(first, 0, 10)
    assert reset(lake.uri, {"a": None}, topology="job", writer="r") == {}
    sink = lake.open("w2")
    assert lake.claim(sink, start=0, first=True, topic="U").epoch == 3
    lake.put(sink, 0, 3)
    assert lake.rows() == sorted([*range(10), *range(3)])  # rows were kept, as asked
    assert verify(lake.uri).ok


def test_reset_of_an_empty_table_is_recorded_too(lake: Lake) -> None:
    lake.claim(lake.open("w1"), first=True)
    reset(lake.uri, {"a": Restart(before(3), "T")}, topology="job", writer="r", delete_rows=True)
    assert lake.table().transaction_version("a") == before(3)
    assert verify(lake.uri).tasks == {"a": before(3)}


def test_reset_accepts_what_others_altered_before(lake: Lake) -> None:
    first = lake.open("w1")
    lake.claim(first, first=True)
    known = lake.put(first, 0, 10)["a"]
    lake.table().delete("n = 3")
    assert verify(lake.uri).count("altered") == 1
    reset(lake.uri, {"a": Restart(before(10), "T")}, topology="job", writer="r")
    assert lake.claim(lake.open("w2"), start=10, confirmed=known).v == before(10)
    assert verify(lake.uri).ok


def test_reset_refuses_another_topology(lake: Lake, refuses: Refuses) -> None:
    lake.claim(lake.open("w1"), first=True)
    refuses(lambda: reset(lake.uri, {}, topology="other", writer="r"), "SP503", '"job"')


def test_appends_of_others_are_no_problem(lake: Lake) -> None:
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    lake.put(sink, 0, 3)
    table = lake.table()
    write_deltalake(table, table.to_pyarrow_dataset().to_table(), mode="append")
    assert verify(lake.uri).ok
