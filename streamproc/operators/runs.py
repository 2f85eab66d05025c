"""Sorted runs of hashes with their event times: a set that is only added to, probed many hashes at a time.

Runs are merged whenever the last two are of similar size, so a set of n entries has about log(n) of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of a set, or hashes to look for: one element each in all arrays.

    Args:
        id: UInt64, half of the hash; what runs are sorted by.
        hi: UInt64, the other half.
        time: Int64, event time in microseconds.
    """

    id: np.ndarray
    hi: np.ndarray
    time: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    def take(self, index: np.ndarray | slice) -> Entries:
        """The entries at `index`."""
        return Entries(self.id[index], self.hi[index], self.time[index])

    def sorted(self) -> Entries:
        """As a run."""
        return self.take(np.argsort(self.id))


Runs = tuple[Entries, ...]


def join(parts: Sequence[Entries]) -> Entries:
    """All entries of `parts`, one after the other."""
    return Entries(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("id", "hi", "time")))


def add(runs: Runs, run: Entries) -> Runs:
    """A set with the entries of another run."""
    while runs and len(runs[-1]) <= 2 * len(run):
        both = join((runs[-1], run))
        # Stable means timsort, which finds the two runs and merges them in one pass.
        runs, run = runs[:-1], both.take(np.argsort(both.id, kind="stable"))
    return (*runs, run)


def probe(runs: Runs, wanted: Entries, within: int) -> np.ndarray:
    """For each of `wanted` whether a set has an entry of that hash with an event time at most `within` away.

    An id occurs once in a set unless two hashes share 64 of their 128 bits, so there is hardly ever a second step.
    """
    order = np.argsort(wanted.id)  # sorted hashes are looked up several times faster: memory is read in order
    wanted = wanted.take(order)
    found = np.zeros(len(wanted), bool)
    for run in runs:
        at = np.searchsorted(run.id, wanted.id)
        rows = np.flatnonzero(at < len(run))
        while len(rows):
            rows = rows[run.id[at[rows]] == wanted.id[rows]]
            hits = rows[run.hi[at[rows]] == wanted.hi[rows]]
            found[hits] |= np.abs(run.time[at[hits]] - wanted.time[hits]) <= within
            at[rows] += 1
            rows = rows[at[rows] < len(run)]
    result = np.empty_like(found)
    result[order] = found
    return result


def groups(values: np.ndarray) -> Iterator[tuple[int, np.ndarray | slice]]:
    """Each different value, ascending, with the indexes where it is, ascending."""
    if not len(values):
        return
    if values[0] == values[-1] and values.min() == values.max():
        yield int(values[0]), slice(None)
        return
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order])) + 1
    for index in np.split(order, starts):
        yield int(values[index[0]]), index
