"""What is no error and yet worth a line."""

from __future__ import annotations

from collections.abc import Iterable

from streamproc.flow import nodes
from streamproc.flow.duration import text
from streamproc.flow.nodes import Node
from streamproc.flow.topology import Topology


def sinkless(topology: Topology) -> list[str]:
    """Streams that nobody reads and that end in no table."""
    parents = {node.parent for node in topology.nodes}
    return [
        f"this stream ends without a table: nothing is done with it   {node.location}"
        for node in topology.nodes
        if node not in parents and not isinstance(node, nodes.WriteDelta)
    ]


def delays(outputs: Iterable[nodes.WriteDelta]) -> list[str]:
    """How long after their start windows appear in tables."""
    return [
        f"{node.table} appears {delay} after a window starts; a partition without new messages holds its last ones"
        for node in outputs
        if (delay := _delay(node))
    ]


def _delay(node: Node) -> str:
    windows, lateness, at = 0, 0, node.parent
    while at is not None:
        if isinstance(at, nodes.GroupBy):
            windows += at.windows[0].every
        if isinstance(at, nodes.WithWatermark):
            lateness = at.lateness
        at = at.parent
    return f"{text(windows)} + {text(lateness)}" if windows else ""
