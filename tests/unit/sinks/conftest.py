from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from streamproc.errors import TableError
from streamproc.plan.model import Table
from streamproc.position import COLUMN, before, record
from streamproc.sinks.base import Claim, TableState
from streamproc.sinks.delta import DeltaSink
from streamproc.sinks.delta import table as table_module
from streamproc.sinks.inline import InlineExecutor

NAME = "silver/readings"
COLUMNS: dict[str, pl.DataType] = {"task": pl.String(), "n": pl.Int64(), "at": pl.Datetime("us", "UTC")}


def batch(task: str, start: int, end: int) -> pl.DataFrame:
    n = pl.Series("n", range(start, end), dtype=pl.Int64)
    return pl.DataFrame(
        {"n": n, COLUMN: pl.Series([record(i) for i in range(start, end)], dtype=pl.Int64)}
    ).with_columns(task=pl.lit(task), at=(pl.col("n") * 1_000_000).cast(pl.Datetime("us", "UTC")))


class Lake:
    """A lake in a folder, and sinks on its one table. A sink here is a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slept: list[float] = []
        self.sinks: list[DeltaSink] = []
        self.planned = Table(NAME, COLUMNS)

    batch = staticmethod(batch)

    @property
    def uri(self) -> str:
        return f"{self.folder}/{NAME}"

    def open(self, writer: str, *, topology: str = "job", **options: Any) -> DeltaSink:
        options = {"executor": InlineExecutor(), "sleep": self.slept.append} | options
        sink = DeltaSink(self.planned, str(self.folder), topology=topology, writer=writer, **options)
        self.sinks.append(sink)
        return sink

    def claim(
        self,
        sink: DeltaSink,
        task: str = "a",
        start: int = 0,
        confirmed: TableState | None = None,
        *,
        first: bool = False,
        topic: str = "T",
        same_code: bool = True,
    ) -> TableState:
        return sink.claim([Claim(task, topic, before(start), confirmed, first, same_code)])[task]

    def put(self, sink: DeltaSink, start: int, end: int, task: str = "a") -> Mapping[str, TableState]:
        sink.write(task, batch(task, start, end), before(end), {"in": end})
        return sink.commit().result(timeout=30)

    def table(self) -> DeltaTable:
        return DeltaTable(self.uri)

    def rows(self, task: str = "a") -> list[int]:
        frame = pl.scan_delta(self.uri).filter(task=task).select("n").collect()
        return sorted(frame["n"].to_list())

    def version(self) -> int:
        return self.table().version()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    made = Lake(tmp_path)
    yield made
    for sink in made.sinks:
        sink.close()


Break = Callable[..., None]


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`faulty(when, then=..., times=...)`: the next writes of rows raise, before or after they have landed."""
    real = table_module.write_deltalake

    def arm(
        when: str, *, error: BaseException | None = None, times: int = 1, then: Callable[[], None] | None = None
    ) -> list[str]:
        hits: list[str] = []

        def write(*args: Any, **kwargs: Any) -> None:
            if len(hits) >= times:
                real(*args, **kwargs)
                return
            hits.append(when)
            if when == "after":
                real(*args, **kwargs)
            if then is not None:
                then()
            raise error or OSError("connection reset by peer")

        monkeypatch.setattr(table_module, "write_deltalake", write)
        return hits

    return arm


@pytest.fixture
def refuses() -> Callable[..., TableError]:
    """Calls something and gives the TableError that it raises; all of `words` are in its text."""

    def check(call: Callable[[], Any], code: str, *words: str) -> TableError:
        with pytest.raises(TableError) as caught:
            call()
        assert caught.value.code == code, caught.value
        for word in words:
            assert word in str(caught.value)
        return caught.value

    return check
