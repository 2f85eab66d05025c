"""The text of a plan, as `streamproc plan` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from streamproc.plan.model import Plan, Stage, Step

_LABELS = {"with_watermark": "watermark"}
_LABEL_WIDTH, _TABLE_WIDTH = 14, 45


@dataclass(frozen=True)
class Seen:
    """What was seen of Kafka and the lake, as far as they could be reached.

    Args:
        partitions: number of partitions by topic.
        unknown: why partitions are unknown, where they are.
        starts: by topic, where a job that has state goes on.
        tables: what to say of tables, by name: "new, 6 columns", "exists (version 812), schema matches".
    """

    partitions: Mapping[str, int] = field(default_factory=dict)
    unknown: str = "Kafka was not asked"
    starts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)


def render(plan: Plan, *, facts: Seen = Seen()) -> str:
    """A plan for people.

    Args:
        facts: what was seen of the outside; without it partitions are unknown, and tables are only what is planned.
    """
    lines = [_head(plan, facts)]
    for number, stage in enumerate(plan.stages, 1):
        start = facts.starts.get(stage.topic) or f"first start: {stage.start}"
        lines.append(f"stage {number}  {stage.topic}, {_partitions(stage, facts)}, {start}")
        lines += _children(plan, stage, -1, "  ", facts)
    lines += [f"  -> {name:<{_TABLE_WIDTH - 3}}{_table(plan, name, facts)}" for name in (plan.rejected, plan.late)]
    lines += [f"! {warning}" for warning in plan.warnings]
    return "\n".join(line.rstrip() for line in lines)


def _head(plan: Plan, facts: Seen) -> str:
    known = [facts.partitions[stage.topic] for stage in plan.stages if stage.topic in facts.partitions]
    tasks = _many(sum(known), "task") if len(known) == len(plan.stages) else f"tasks unknown ({facts.unknown})"
    topics = _many(len({stage.topic for stage in plan.stages}), "topic")
    counts = f"{_many(len(plan.stages), 'stage')}, {tasks}, {topics}, {_many(len(plan.tables), 'table')}"
    return f"{plan.name}: {counts}. Nothing was changed."


def _partitions(stage: Stage, facts: Seen) -> str:
    number = facts.partitions.get(stage.topic)
    return "partitions unknown" if number is None else _many(number, "partition")


def _children(plan: Plan, stage: Stage, parent: int, indent: str, facts: Seen) -> Iterator[str]:
    """Tables first. One more step goes on below; several are branches, each with a dash."""
    children = [index for index, step in enumerate(stage.steps) if step.parent == parent]
    for index in children:
        if table := stage.steps[index].table:
            yield f"{indent}-> {table:<{_TABLE_WIDTH - len(indent) - 1}}{_table(plan, table, facts)}"
    steps = [index for index in children if stage.steps[index].table is None]
    for index in steps:
        branch = len(steps) > 1
        yield indent + ("- " if branch else "") + _step(stage.steps[index])
        yield from _children(plan, stage, index, indent + ("  " if branch else ""), facts)


def _step(step: Step) -> str:
    label = _LABELS.get(step.kind, step.kind)
    state = f'   state "{step.id}"' if step.signature and step.kind != "with_watermark" else ""
    text, local, place = step.summary.partition("   local")
    return f"{label:<{_LABEL_WIDTH}}{text}{state}{local}{place}"


def _table(plan: Plan, name: str, facts: Seen) -> str:
    table = plan.tables[name]
    parts = [facts.tables.get(name) or _many(len(table.columns), "column")]
    if table.partition_by:
        parts.append("by " + ", ".join(table.partition_by))
    if table.role != "output":
        parts.append(f"{table.role} rows")
    return ", ".join(parts)


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
