"""Threads, buffers and upkeep of a sink."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamproc.errors import Fenced, TableError
from streamproc.position import before
from streamproc.sinks.base import Claim
from streamproc.sinks.delta import DeltaSink, verify
from streamproc.sinks.delta import sink as sink_module
from streamproc.sinks.delta import table as table_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.sinks.conftest import Lake


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Commits of rows wait until it is set."""
    event, real = threading.Event(), table_module.write_deltalake

    def write(*args: Any, **kwargs: Any) -> None:
        assert event.wait(20)
        real(*args, **kwargs)

    monkeypatch.setattr(table_module, "write_deltalake", write)
    return event


def eventually(what: Callable[[], bool]) -> bool:
    """Whether it comes true within 20 seconds."""
    return any(what() or time.sleep(0.01) for _ in range(2_000))


def _write(sink: DeltaSink, lake: Lake, start: int, end: int) -> None:
    sink.write("a", lake.batch("a", start, end), before(end), {"in": end})


def _python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},  # noqa: PTH109
    )


def test_a_commit_runs_beside_the_caller(lake: Lake, gate: threading.Event) -> None:
    sink = lake.open("w1", executor=None)
    lake.claim(sink, first=True)
    _write(sink, lake, 0, 5)
    first = sink.commit()
    _write(sink, lake, 5, 9)  # not part of it
    second = sink.commit()
    assert not first.done()
    gate.set()
    assert first.result(20)["a"].v == before(5)
    assert second.result(20)["a"].v == before(9)
    assert lake.rows() == list(range(9))
    assert sink.buffered_rows == 0


def test_a_full_buffer_is_committed_ahead_and_then_makes_write_wait(lake: Lake, gate: threading.Event) -> None:
    sink = lake.open("w1", executor=None, rows_flush=100)
    lake.claim(sink, first=True)
    _write(sink, lake, 0, 99)
    assert sink._flush is None
    _write(sink, lake, 99, 110)  # starts a commit, doesn't wait
    _write(sink, lake, 110, 199)
    blocked = threading.Thread(target=_write, args=(sink, lake, 199, 250))
    blocked.start()
    blocked.join(0.3)
    assert blocked.is_alive()
    gate.set()
    blocked.join(20)
    assert not blocked.is_alive()
    assert sink.buffered_rows < 200
    assert sink.commit().result(20)["a"].v == before(250)
    assert lake.rows() == list(range(250))
    assert verify(lake.uri).ok


def test_the_buffer_is_bounded_however_much_is_written(lake: Lake) -> None:
    sink = lake.open("w1", executor=None, rows_flush=500)
    lake.claim(sink, first=True)
    highest = 0
    for i in range(0, 6000, 200):
        _write(sink, lake, i, i + 200)
        highest = max(highest, sink.buffered_rows)
    assert highest < 1000 + 200
    sink.commit().result(20)
    assert lake.rows() == list(range(6000))


def test_bytes_count_too(lake: Lake) -> None:
    sink = lake.open("w1", bytes_flush=10_000)
    lake.claim(sink, first=True)
    _write(sink, lake, 0, 2_000)
    assert sink.buffered_rows == 0
    assert len(lake.rows()) == 2_000


def test_what_went_wrong_ahead_is_raised_by_the_next_call(lake: Lake) -> None:
    zombie, owner = lake.open("w1", rows_flush=10), lake.open("w2")
    known = lake.claim(zombie, first=True)
    lake.claim(owner, confirmed=known)
    _write(zombie, lake, 0, 15)
    with pytest.raises(Fenced) as caught:
        zombie.commit().result(20)
    assert caught.value.tasks == {"a"}
    with pytest.raises(Fenced):
        _write(zombie, lake, 15, 16)
    assert lake.rows() == []


def test_close_waits_for_what_is_in_flight_and_drops_the_rest(lake: Lake, gate: threading.Event) -> None:
    sink = lake.open("w1", executor=None)
    lake.claim(sink, first=True)
    _write(sink, lake, 0, 5)
    future = sink.commit()
    assert eventually(future.running)
    _write(sink, lake, 5, 9)
    gate.set()
    sink.close()
    assert future.result(0)["a"].v == before(5)
    assert lake.rows() == list(range(5))


def test_a_commit_that_hangs_makes_nobody_wait_for_ever(
    lake: Lake, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = lake.open("w1", executor=None, rows_flush=10)
    lake.claim(sink, first=True)
    monkeypatch.setattr(sink_module, "WAIT_S", 0.1)
    monkeypatch.setattr(sink_module, "CLOSE_S", 0.1)
    with pytest.raises(TableError, match="SP508") as caught:
        _write(sink, lake, 0, 25)
    assert "not taking rows" in str(caught.value)
    assert lake.uri in str(caught.value)
    for wait in (
        lambda: sink.release("a"),
        lambda: lake.claim(sink, "b"),
        lambda: sink.check([Claim("b", "T", 0, None, True)]),
    ):
        with pytest.raises(TableError, match="SP508"):
            wait()
    waiting = sink.commit()
    sink.close()
    assert waiting.cancelled()
    gate.set()
    assert eventually(lambda: lake.rows() == list(range(25)))


HANGS = """
    import sys, threading
    import polars as pl
    from streamproc.plan.model import Table
    from streamproc.position import COLUMN, before, record
    from streamproc.sinks.base import Claim
    from streamproc.sinks.delta import DeltaSink, sink as sink_module, table

    sink_module.CLOSE_S = 0.1
    sink = DeltaSink(Table("t", {"n": pl.Int64()}), sys.argv[1], topology="job", writer="w1")
    sink.claim([Claim("a", "T", 0, None, True)])
    begun = threading.Event()
    table.write_deltalake = lambda *_, **__: begun.set() or threading.Event().wait()
    sink.write("a", pl.DataFrame({"n": [1], COLUMN: [record(0)]}), before(1), {})
    sink.commit()
    begun.wait(20)
    sink.close()
"""


def test_a_process_ends_though_a_commit_hangs(tmp_path: Path) -> None:
    run = _python(HANGS, str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert "left behind" in run.stderr


def test_commits_stay_fast(lake: Lake) -> None:
    sink = lake.open("w1", executor=None)
    sink.claim([Claim(f"t{i}", "T", 0, None, True) for i in range(4)])
    took = []
    for i in range(120):
        sink.write("t0", lake.batch("t0", i, i + 1), before(i + 1), {"in": i})
        start = time.perf_counter()
        sink.commit().result(20)
        took.append(time.perf_counter() - start)
        time.sleep(0.002)
    early, late = sorted(took[10:40])[15], sorted(took[90:])[15]
    assert late < 5 * early + 0.01, (early, late)
    log = Path(lake.uri, "_delta_log")
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2
    assert lake.rows("t0") == list(range(120))
    assert verify(lake.uri).ok


def test_a_checkpoint_of_the_log_that_fails_costs_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def checkpoint(self: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(table_module.Table, "checkpoint", checkpoint)
    sink = lake.open("w1")
    lake.claim(sink, first=True)
    sink._owner._maintenance._commits = 49
    lake.put(sink, 0, 5)
    lake.put(sink, 5, 7)
    assert lake.rows() == list(range(7))


FULL = """
    import resource, sys
    from pathlib import Path
    import polars as pl
    from streamproc.errors import TableError
    from streamproc.plan.model import Table
    from streamproc.position import COLUMN, before, record
    from streamproc.sinks.base import Claim
    from streamproc.sinks.delta import DeltaSink

    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    sink = DeltaSink(Table("t", {"text": pl.String()}), sys.argv[1], topology="job", writer="w1")
    sink.claim([Claim("a", "T", 0, None, True)])
    rows = pl.DataFrame({"text": [str(i) * 50 for i in range(20_000)], COLUMN: [record(i) for i in range(20_000)]})
    sink.write("a", rows.head(10), before(10), {})
    sink.commit().result(60)
    sink.write("a", rows.slice(10), before(20_000), {})
    try:
        sink.commit().result(60)
    except TableError as error:
        print(error)
        sys.exit(3)
"""


def test_a_real_limit_on_file_size_stops_cleanly_and_nothing_is_lost(lake: Lake, tmp_path: Path) -> None:
    run = _python(FULL, str(tmp_path), "20000")
    assert run.returncode == 3, run.stderr
    assert "error[SP508]" in run.stdout
    assert "make room" in run.stdout
    found = verify(f"{tmp_path}/t")
    assert found.ok
    assert (found.tasks["a"], found.rows) == (before(10), 10)
    again = FULL.replace("0, None, True", "before(10), None, False")
    mended = _python(again.replace('sink.write("a", rows.head(10), before(10), {})', ""), str(tmp_path), "-1")
    assert mended.returncode == 0, mended.stderr
    assert verify(f"{tmp_path}/t").rows == 20_000


def test_a_lake_that_is_no_folder(lake: Lake) -> None:
    (lake.folder / "silver").write_text("a file in the way")
    with pytest.raises(TableError) as caught:
        lake.claim(lake.open("w1"), first=True)
    assert lake.uri in str(caught.value)
