"""A task: the steps of a stage on one partition, run batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from streamproc import position
from streamproc.errors import DataError
from streamproc.operators.base import Operator, Result, Stateful
from streamproc.operators.batch import Batch, Records
from streamproc.plan.model import FAILED_SCHEMA, SOURCE, Plan, Stage, Step
from streamproc.runtime import account
from streamproc.runtime.log import TopicPartition
from streamproc.state.manifest import Manifest
from streamproc.state.task_state import TaskState


@dataclass
class Outputs:
    """Rows for tables, gathered over one batch."""

    frames: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def add(self, table: str, rows: pl.DataFrame | None) -> None:
        if rows is not None and rows.height:
            self.frames.setdefault(table, []).append(rows)

    def rows(self, table: str) -> pl.DataFrame | None:
        """All rows of a table, None if there are none."""
        frames = self.frames.get(table)
        return pl.concat(frames) if frames else None


class Task:
    """Args:
    plan, stage, partition: what it runs, and on what.
    manifest: its newest manifest.
    state: its chunks.
    """

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        partition: TopicPartition,
        manifest: Manifest,
        state: TaskState,
    ) -> None:
        self.id = manifest.task
        self.plan = plan
        self.stage = stage
        self.partition = partition
        self.topic_id = manifest.topic_id
        self.position = manifest.position
        self.lake = manifest.lake
        self.counters = account.copy(manifest.counters)
        self.tables = {name: state for name, state in manifest.tables.items() if name in self.sinks}
        self.state = state
        self.dirty = False
        self._partitions = manifest.partitions
        self._skips = manifest.skips
        self._operators: list[Operator | None] = [step.build() if step.build else None for step in stage.steps]
        self._stateful: list[tuple[Step, Stateful]] = [
            (step, operator)
            for step, operator in zip(stage.steps, self._operators, strict=True)
            if isinstance(operator, Stateful)
        ]
        for step, operator in self._stateful:
            state.restore(step.id, operator)

    @property
    def sinks(self) -> tuple[str, ...]:
        """Tables it writes to."""
        return (*self.stage.tables, self.plan.rejected, self.plan.late)

    def process(self, records: Records, end: int) -> Outputs:
        """Run the records at positions [self.position, end) through all steps.

        Raises:
            DataError: a record must stop the run; the task is as it was before the call.
            ValueError: the records do not follow on: a defect of the driver, and nothing was processed.
        """
        first = position.before(records.offsets[0]) if len(records) else self.position
        last = position.after_record(records.offsets[-1]) if len(records) else end
        if not self.position <= first <= last <= end:
            raise ValueError(f"{self.id} stands at {self.position}, was given [{first}, {last}) as if up to {end}")
        if not len(records):
            self.dirty, self.position = self.dirty or end > self.position, end
            return Outputs()
        before = [(operator, operator.state) for _, operator in self._stateful]
        outputs, counters = Outputs(), account.copy(self.counters)
        try:
            self._run(records, end, outputs, counters)
        except DataError:
            for operator, state in before:
                operator.state = state
            raise
        self.counters, self.position, self.dirty = counters, end, True
        return outputs

    def manifest(self) -> Manifest:
        """Write state that changed, and say what there is to know of the task as of its position."""
        return Manifest(
            task=self.id,
            position=self.position,
            topic_id=self.topic_id,
            fingerprint=self.stage.fingerprint,
            lake=self.lake,
            partitions=self._partitions,
            skips=tuple(offset for offset in self._skips if position.record(offset) >= self.position),
            steps=self.state.stage(self._stateful),
            tables=dict(self.tables),
            counters=account.copy(self.counters),
        )

    def _run(self, records: Records, end: int, outputs: Outputs, counters: account.Counters) -> None:
        account.add(counters, SOURCE, {"in": len(records)})
        records = self._without_skipped(records, outputs, counters)
        rows = pl.DataFrame([records.positions])
        source = Batch(rows, records, self.position, end)
        results: list[Batch] = []
        for step, operator in zip(self.stage.steps, self._operators, strict=True):
            batch = source if step.parent < 0 else results[step.parent]
            if operator is None:
                account.add(counters, step.id, {"in": batch.rows.height, "out": batch.rows.height})
                outputs.add(str(step.table), batch.rows)
                results.append(batch)
                continue
            result = _processed(step, operator, batch)
            account.add(counters, step.id, {"in": batch.rows.height, "out": result.batch.rows.height, **result.counts})
            self._side_rows(step, batch, result, outputs)
            results.append(result.batch)

    def _side_rows(self, step: Step, batch: Batch, result: Result, outputs: Outputs) -> None:
        if result.rejected is not None:
            outputs.add(self.plan.rejected, failed_rows(batch.source, step.id, result.rejected))
        if result.late is not None:
            outputs.add(self.plan.late, failed_rows(batch.source, step.id, result.late))

    def _without_skipped(self, records: Records, outputs: Outputs, counters: account.Counters) -> Records:
        hit = [i for i, offset in enumerate(records.offsets) if offset in self._skips] if self._skips else []
        if not hit:
            return records
        rejected = pl.DataFrame([records.positions]).with_row_index("i").filter(pl.col("i").is_in(hit)).drop("i")
        rejected = rejected.with_columns(reason=pl.lit("skipped"), detail=pl.lit("run --skip"))
        outputs.add(self.plan.rejected, failed_rows(records, SOURCE, rejected))
        account.add(counters, SOURCE, {"rejected": len(hit)})
        return records.take([i for i in range(len(records)) if i not in set(hit)])


def _processed(step: Step, operator: Operator, batch: Batch) -> Result:
    """What the step makes of a batch; an error says at which step, and at which line of the user."""
    try:
        return operator.process(batch)
    except DataError as error:
        error.step = error.step or step.id
        error.location = error.location or step.location
        raise


def failed_rows(records: Records, step: str, failed: pl.DataFrame) -> pl.DataFrame:
    """Rows for the tables of rejected and late rows: `FAILED_SCHEMA` and the position.

    Args:
        records: the source of the batch.
        step: id of the step that did not take them.
        failed: position, reason, detail and perhaps value, as in `Result.rejected`.
    """
    at = failed[position.COLUMN]
    index = records.positions.search_sorted(at)
    own = failed["value"] if "value" in failed.columns else records.value_series.gather(index)
    return (
        failed.select(
            topic=pl.lit(records.topic),
            partition=pl.lit(records.partition, pl.Int32),
            offset=at // (1 << position.SHIFT),
            timestamp=records.timestamp_series.gather(index),
            key=records.key_series.gather(index),
            value=own,
            step=pl.lit(step),
            reason="reason",
            detail="detail",
        )
        .cast(pl.Schema(FAILED_SCHEMA))
        .with_columns(at)
    )


def cut(records: Records, at: int) -> Records:
    """The records below a position."""
    return records.slice(0, int(records.positions.search_sorted(at)))
