"""Topology -> plan: place every verb, number the steps, merge what reads one topic into a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import streamproc.plan.keyed  # noqa: F401  registers its verbs
from streamproc.errors import TopologyError
from streamproc.flow import nodes
from streamproc.flow.nodes import Node
from streamproc.flow.topology import Topology
from streamproc.plan import tables
from streamproc.plan.fingerprint import fingerprint
from streamproc.plan.model import SOURCE, Plan, Stage, Step, Table
from streamproc.plan.problems import problem
from streamproc.plan.steps import Placed, place, read
from streamproc.plan.warnings import delays, sinkless

FRESHNESS = 1_000_000
"""Time between commits where a sink does not say, in microseconds."""

ERRORS_MAX = 10
"""So many are shown at once."""


def plan(topology: Topology) -> Plan:
    """Compile a topology. Looks at nothing outside of it and changes nothing.

    Raises:
        TopologyError: what is wrong, with the user's line, the columns there and what to do; with what is wrong on
            other streams, ten in all.

    >>> from streamproc import Json, Topology
    >>> import polars as pl
    >>> topology = Topology("shop")
    >>> topology.read_kafka("orders", format=Json({"id": pl.String})).write_delta("silver/orders")
    >>> plan(topology).stage("orders").tables
    ('silver/orders',)
    """
    placed, outputs = _place_all(topology)
    ids = _number(topology, placed)
    if not outputs:
        raise TopologyError(
            "SP116",
            f'topology "{topology.name}" writes no table',
            location=topology.location,
            fix='end a stream with .write_delta("silver/...")',
        )
    merged = _Merged(topology, placed, ids, dict(outputs))
    all_tables = tables.collect(topology, outputs)
    live = _live(topology)
    topics = dict.fromkeys(
        topic for node in topology.nodes if isinstance(node, nodes.ReadKafka) and node in live for topic in node.topics
    )
    return Plan(
        name=topology.name,
        stages=tuple(_stage(merged, topic, live) for topic in topics),
        tables=all_tables,
        rejected=topology.rejected,
        late=topology.late,
        warnings=(*sinkless(topology), *delays(node for node, _ in outputs)),
    )


@dataclass(frozen=True)
class _Merged:
    topology: Topology
    placed: Mapping[Node, Placed]
    ids: Mapping[Node, str]
    outputs: Mapping[Node, Table]


def _place_all(topology: Topology) -> tuple[dict[Node, Placed], list[tuple[nodes.WriteDelta, Table]]]:
    """Every verb at its place. What follows a verb that is wrong is not judged, what stands beside it is."""
    declared = _declared(topology)
    relied_on = _ancestors(node for node in topology.nodes if isinstance(node, nodes.Deduplicate | nodes.GroupBy))
    placed: dict[Node, Placed] = {}
    outputs: list[tuple[nodes.WriteDelta, Table]] = []
    errors: list[TopologyError] = []
    for node in topology.nodes:
        if node.parent is not None and node.parent not in placed:
            continue
        try:
            if isinstance(node, nodes.ReadKafka):
                placed[node] = read(node, node.partitioned_by or declared.get(node.topics[0]))
                continue
            assert node.parent is not None
            here = replace(placed[node.parent].here, relied_on=node in relied_on)
            if isinstance(node, nodes.WriteDelta):
                table = tables.output(node, here)
                outputs.append((node, table))
                placed[node] = Placed(here, node.verb, None, [table.name, table.columns, table.partition_by])
            else:
                placed[node] = place(node, here)
        except TopologyError as error:
            error.location = error.location or node.location  # formats and operators know none
            errors.append(error)
    if errors:
        errors[0].more = tuple(errors[1:ERRORS_MAX])
        raise errors[0]
    _all_appear(topology, placed)
    return placed, outputs


def _declared(topology: Topology) -> dict[str, tuple[str, ...]]:
    """What each topic is partitioned by. One read may say so for all; they must not contradict each other."""
    first: dict[str, nodes.ReadKafka] = {}
    declared: dict[str, tuple[str, ...]] = {}
    for node in topology.nodes:
        if not isinstance(node, nodes.ReadKafka):
            continue
        for topic in node.topics:
            other = first.setdefault(topic, node)
            if other.start != node.start:
                raise _contradiction(node, other, topic, f"start={node.start!r} and start={other.start!r}")
            if node.partitioned_by is None:
                continue
            known = declared.setdefault(topic, node.partitioned_by)
            if set(known) != set(node.partitioned_by):
                raise _contradiction(node, other, topic, f"partitioned by {node.partitioned_by} and {known}")
    return declared


def _contradiction(node: Node, other: Node, topic: str, what: str) -> TopologyError:
    return problem(
        "SP117",
        node,
        f'two reads of topic "{topic}" contradict each other: {what}',
        detail=[f"the other: {other.location}"],
        fix="read it once and use the stream twice",
    )


def _all_appear(topology: Topology, placed: Mapping[Node, Placed]) -> None:
    """Refuse a `partitioned_by` column that no step after the read brings."""
    for node in topology.nodes:
        if not isinstance(node, nodes.ReadKafka) or not node.partitioned_by:
            continue
        after = [placed[other].here.partition or {} for other in topology.nodes if _source(other) is node]
        for name in node.partitioned_by:
            if all(one.get(name) is None for one in after):
                columns = ", ".join(placed[node].here.columns)
                raise problem(
                    "SP104",
                    node,
                    f'unknown column "{name}" in partitioned_by: neither the topic nor a later step brings it',
                    detail=[f"columns of the topic: {columns}"],
                    fix=f'.with_columns({name}=...), or a format that has "{name}"',
                )


def _source(node: Node) -> Node:
    while node.parent is not None:
        node = node.parent
    return node


def _number(topology: Topology, placed: Mapping[Node, Placed]) -> dict[Node, str]:
    """Ids: the kind and the place among its like, unless the user pinned it."""
    seen: Counter[str] = Counter()
    owners: dict[str, Node] = {}
    ids: dict[Node, str] = {}
    for node in topology.nodes:
        kind = placed[node].kind
        seen[kind] += 1
        id = kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"
        if node.name is not None:
            id = f"expect:{node.name}" if isinstance(node, nodes.Expect) else node.name
        if id == SOURCE:
            raise problem(
                "SP118",
                node,
                f'no step can be named "{SOURCE}": records are counted under it as they are read',
                fix="give it another name",
            )
        if id in owners:
            raise problem(
                "SP118",
                node,
                f'two steps are named "{id}"',
                detail=[f"the other: {owners[id].location}"],
                fix="give one of them another name",
            )
        owners[id] = node
        ids[node] = id
    return ids


def _live(topology: Topology) -> set[Node]:
    """Nodes that some table depends on."""
    return _ancestors(node for node in topology.nodes if isinstance(node, nodes.WriteDelta))


def _ancestors(some: Iterable[Node]) -> set[Node]:
    """These nodes, and all that they read from."""
    found: set[Node] = set()
    for node in some:
        at: Node | None = node
        while at is not None and at not in found:
            found.add(at)
            at = at.parent
    return found


def _stage(merged: _Merged, topic: str, live: set[Node]) -> Stage:
    """All steps that run on a topic. Reads of it with the same format are one step."""
    steps: list[Step] = []
    index: dict[Node, int] = {}
    reads: dict[str, int] = {}
    parameters = []
    members = [node for node in merged.topology.nodes if node in live and topic in _topics(node)]
    for node in members:
        placed = merged.placed[node]
        if isinstance(node, nodes.ReadKafka):
            key = fingerprint(node.format)
            if key in reads:
                index[node] = reads[key]
                continue
            reads[key] = len(steps)
        index[node] = len(steps)
        table = merged.outputs.get(node)
        parent = -1 if node.parent is None else index[node.parent]
        steps.append(
            Step(
                id=merged.ids[node],
                kind=placed.kind,
                parent=parent,
                columns=placed.here.columns,
                build=placed.build,
                table=table.name if table else None,
                signature=placed.signature,
                lineage=_lineage(merged, node) if placed.signature and node.name is None else "",
                summary=placed.summary,
                hidden=placed.hidden,
                location=node.location,
            )
        )
        parameters.append([merged.ids[node], placed.kind, parent, placed.parameters, dict(placed.here.columns)])
    sinks = [node for node in members if isinstance(node, nodes.WriteDelta)]
    interval = min(FRESHNESS if node.freshness is None else node.freshness for node in sinks)
    first = next(node for node in members if isinstance(node, nodes.ReadKafka))
    return Stage(
        name=topic,
        topic=topic,
        steps=tuple(steps),
        start=first.start,
        fingerprint=fingerprint([topic, parameters, merged.topology.rejected, merged.topology.late]),
        interval=timedelta(microseconds=interval),
    )


def _lineage(merged: _Merged, node: Node) -> str:
    """Stable hash of all steps before this one."""
    before: list[Node] = []
    while node.parent is not None:
        node = node.parent
        before.insert(0, node)
    return fingerprint([[merged.placed[one].kind, merged.placed[one].parameters] for one in before])


def _topics(node: Node) -> tuple[str, ...]:
    source = _source(node)
    assert isinstance(source, nodes.ReadKafka)
    return source.topics
