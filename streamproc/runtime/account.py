"""Counters of a task: every row that goes into a step is accounted for (law 7).

For each step, in input rows: in = passed on + held + filtered + duplicates + late + rejected + dropped + unmatched.
"passed" is not counted but follows; rows out are counted apart, as "out". Counters are cumulative over the life of the
task: they travel in its manifest and in every table commit, as of the same position as the rows.
"""

from __future__ import annotations

from collections.abc import Mapping

Counters = dict[str, dict[str, int]]
"""Step id -> outcome -> rows."""

NOT_PASSED = ("held", "filtered", "duplicates", "late", "rejected", "dropped", "unmatched")


def add(counters: Counters, step: str, counts: Mapping[str, int]) -> None:
    """Count rows of a step; zeros leave no trace.

    >>> counters = {}
    >>> add(counters, "filter", {"in": 3, "filtered": 0}); counters
    {'filter': {'in': 3}}
    """
    for outcome, rows in counts.items():
        if rows:
            step_counters = counters.setdefault(step, {})
            step_counters[outcome] = step_counters.get(outcome, 0) + rows


def passed(counts: Mapping[str, int]) -> int:
    """Input rows of a step that went on.

    >>> passed({"in": 10, "late": 2, "held": 3, "out": 99})
    5
    """
    return counts.get("in", 0) - sum(counts.get(outcome, 0) for outcome in NOT_PASSED)


def total(tasks: Mapping[str, Counters]) -> Counters:
    """Counters of several tasks of one stage, added up step by step."""
    result: Counters = {}
    for counters in tasks.values():
        for step, counts in counters.items():
            add(result, step, counts)
    return result


def copy(counters: Mapping[str, Mapping[str, int]]) -> Counters:
    """A snapshot that later counting leaves alone."""
    return {step: dict(counts) for step, counts in counters.items()}
