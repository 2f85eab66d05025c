"""`Topology`: the builder that a topology file makes one of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from streamproc.flow import arguments
from streamproc.flow.arguments import invalid
from streamproc.flow.location import caller
from streamproc.flow.nodes import Node, ReadKafka, Start
from streamproc.flow.stream import Stream
from streamproc.formats.base import Format

Columns = str | Sequence[str]


class Topology:
    """Reads, what is done with them, and the tables they end in. Nothing happens until it is planned and run.

    Args:
        name: names the job: its consumer group, its state and its tables' owner. Letters, digits, "_", "-", ".".
        rejected: table of rows that were rejected, `<name>__rejected` by default.
        late: table of rows that came too late for a step, `<name>__late` by default.

    Raises:
        TopologyError: a name that can't be one.

    >>> Topology("iot_sensors").rejected
    'iot_sensors__rejected'
    """

    def __init__(self, name: str, *, rejected: str | None = None, late: str | None = None) -> None:
        self.location = caller()
        self.name = arguments.name(self.location, "topology", name)
        self.rejected = rejected if rejected is not None else f"{name}__rejected"
        self.late = late if late is not None else f"{name}__late"
        for table in (self.rejected, self.late):
            if not isinstance(table, str):
                raise invalid(self.location, f"a table is named by text, not {table!r}")
        self._nodes: list[Node] = []

    def __repr__(self) -> str:
        return f"Topology({self.name!r})"

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All verbs in the order of their calls: parents come before children."""
        return tuple(self._nodes)

    def add(self, node: Node) -> Node:
        """Take in a verb; streams do."""
        self._nodes.append(node)
        return node

    def read_kafka(
        self,
        topic: Columns,
        *,
        format: Format,
        partitioned_by: Columns | None = None,
        start: Start = "earliest",
        name: str | None = None,
    ) -> Stream:
        """A stream of the messages of a topic.

        Args:
            topic: its logical name; several are a union: the same steps on each of them.
            format: what messages hold: `Json({...})`, `Raw()`. Those that don't decode are rejected.
            partitioned_by: columns that decide the partition of a message: equal values are always in the same one.
                Keyed steps (`deduplicate`, `group_by`) need it among their keys. A later `decode` may bring the column.
            start: where the very first start begins: "earliest", "latest" or a datetime with a time zone.
            name: pins the id of the step.
        """
        at = caller()
        if start not in ("earliest", "latest") and not (isinstance(start, datetime) and start.tzinfo):
            raise invalid(at, f"start={start!r} is not known", '"earliest", "latest" or a datetime with a time zone')
        topics = arguments.columns(at, "read_kafka", arguments.one_or_more(topic))
        declared = None
        if partitioned_by is not None:
            declared = arguments.columns(at, "partitioned_by", arguments.one_or_more(partitioned_by))
        return Stream(
            self,
            ReadKafka(
                parent=None,
                location=at,
                name=arguments.pinned(at, name),
                topics=tuple(arguments.name(at, "topic", one) for one in topics),
                format=arguments.format(at, "read_kafka", format),
                partitioned_by=declared,
                start=start,
            ),
        )
