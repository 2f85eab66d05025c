"""`streamproc plan`: what a topology would do here, and what would stop it at once. Works offline and never writes."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import typer

from streamproc.cli import outlook, screen, tables
from streamproc.cli.options import ConfigFile, Sets, TopologyFile, settings
from streamproc.cli.outlook import Outlook
from streamproc.errors import StreamprocError
from streamproc.plan import Plan, Seen, load_topology, render
from streamproc.plan import plan as planned
from streamproc.settings import Settings, check_names


def plan(
    file: TopologyFile,
    config: ConfigFile = None,
    sets: Sets = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither Kafka nor the lake.")] = False,
) -> None:
    """Show what a topology would do; nothing is changed."""
    loaded = settings(config, sets)
    made = planned(load_topology(file))
    check_names(made, loaded.settings.topics, loaded.settings.tables)
    lake = tables.lake_of(loaded) if loaded.settings.lake else None
    seen = Outlook() if offline else outlook.look(loaded, made, lake)
    head, *rest = render(made, facts=Seen(seen.partitions, seen.unknown, seen.starts, seen.tables)).splitlines()
    screen.say(head, "bold")
    notes = [*seen.notes, *_unknown_names(loaded.settings, made)]
    for line in [*rest, *(f"! {note}" for note in notes)]:
        screen.say(line, "yellow" if line.startswith("!") else "")
    for line in _refusals(seen.refused):
        screen.say(line, "red" if line.startswith("!") else "")
    if seen.refused:
        raise typer.Exit(1)


def _refusals(errors: Iterable[StreamprocError]) -> Iterator[str]:
    """Each kind of error once, with its detail and the way out: it is often the same in many partitions."""
    errors = list(errors)
    counts = Counter(error.code for error in errors if error.code.startswith(("SP3", "SP4")))
    told: set[str] = set()
    for error in errors:
        if error.code in told:
            continue
        more = counts[error.code] - 1
        told |= {error.code} & counts.keys()
        yield f"! {error.message} [{error.code}]" + (f", and {screen.many(more, 'other')} like it" if more > 0 else "")
        yield from (f"  {line}" for line in error.detail)
        if error.fix:
            yield f"  fix: {error.fix}"


def _unknown_names(settings: Settings, plan: Plan) -> Iterator[str]:
    """Settings that rename what the topology does not have."""
    topics = [*(stage.topic for stage in plan.stages), f"{plan.name}.state"]
    known: Mapping[str, list[str]] = {"topics": topics, "tables": list(plan.tables)}
    for setting, names in known.items():
        for name in getattr(settings, setting):
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f'; did you mean "{near[0]}"?' if near else f"; it has {', '.join(names)}"
                yield f'setting {setting}: {plan.name} has no "{name}"{hint}'
