"""Errors that several verbs share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from streamproc.errors import TopologyError
from streamproc.flow.nodes import Node
from streamproc.operators.batch import HIDDEN


def problem(code: str, node: Node, message: str, *, detail: Iterable[str] = (), fix: str = "") -> TopologyError:
    """An error at the user's line."""
    return TopologyError(code, message, detail=detail, fix=fix, location=node.location)


def columns_here(columns: Iterable[str]) -> str:
    """The line that lists what could have been named."""
    return "columns here: " + (", ".join(columns) or "none")


def unknown_column(
    node: Node, name: str, columns: Iterable[str], *, where: str = "", hidden: bool = False
) -> TopologyError:
    """SP104, with the nearest name."""
    known = list(columns)
    near = difflib.get_close_matches(name, [*known, *(HIDDEN if hidden else ())], n=1, cutoff=0.6)
    return problem(
        "SP104",
        node,
        f'unknown column "{name}" in {where or node.verb}',
        detail=[columns_here(known)],
        fix=f'did you mean "{near[0]}"?' if near else "use a column that is there, or add it before this step",
    )


def known(node: Node, names: Iterable[str], columns: Iterable[str], *, where: str = "") -> None:
    """Refuse the first name that is not a column; a hidden one needs a name of its own first."""
    there = list(columns)
    for name in names:
        if name in there:
            continue
        if name in HIDDEN:
            raise problem(
                "SP119",
                node,
                f'hidden column "{name}" can\'t be named in {where or node.verb}: it is for expressions only',
                fix=f'.with_columns({name[1:]}=pl.col("{name}")) before, and name "{name[1:]}"',
            )
        raise unknown_column(node, name, there, where=where)
