"""Which rows of one batch are kept by `deduplicate`, as far as the batch itself decides it."""

from __future__ import annotations

import numpy as np

from streamproc.operators.runs import Entries

ROUNDS = 16
"""After so many rounds what is left is settled row by row: one key with many kept rows, each close to the next."""

_NONE = np.iinfo(np.int64).max
_FAR = 1 << 80


def first_ones(rows: Entries, slots: np.ndarray, within: int) -> np.ndarray:
    """Indexes, ascending, of the rows that have no kept row of the same hash at most `within` before them.

    Args:
        rows: in the order in which they are judged.
        slots: of their event times, so that two kept rows of one hash are never in the same slot, and what is at most
            `within` away is in the same slot or the one beside it.
        within: in microseconds.
    """
    order = np.argsort(rows.id)
    same = rows.id[order][1:] == rows.id[order][:-1]
    if not same.any():
        return np.arange(len(rows))
    repeated = np.zeros(len(rows), bool)
    repeated[order[1:][same]] = True
    repeated[order[:-1][same]] = True
    some = np.flatnonzero(repeated)
    repeated[some] = ~_Rounds(rows.take(some), slots[some], within).kept()
    return np.flatnonzero(~repeated)


class _Rounds:
    """Rows of one hash and slot form a group; those of the slot before and after are its neighbours. Each round
    decides, for all groups at once, the first undecided row that no undecided row of a neighbour precedes: it is kept,
    and the undecided rows close to it are not.
    """

    def __init__(self, rows: Entries, slots: np.ndarray, within: int) -> None:
        order = np.lexsort((slots, rows.hi, rows.id))  # stable: rows of a group stay in order
        hi, id, slots = rows.hi[order], rows.id[order], slots[order]
        same_key = (hi[1:] == hi[:-1]) & (id[1:] == id[:-1])
        new = np.concatenate(([True], ~(same_key & (slots[1:] == slots[:-1]))))
        starts = np.flatnonzero(new)
        beside = np.zeros(len(starts) + 1, bool)  # whether group g is the neighbour of group g - 1
        beside[1:-1] = (same_key & (slots[1:] == slots[:-1] + 1))[starts[1:] - 1]
        self._order = order
        self._time = rows.time[order]
        self._group = np.cumsum(new) - 1
        self._beside = beside
        self._within = within
        # A place before the first and after the last group saves the edge cases.
        self._kept_row = np.full(len(starts) + 2, -1)

    def kept(self) -> np.ndarray:
        """Whether each row is kept, in the order in which the rows came."""
        undecided = np.arange(len(self._order))
        for _ in range(ROUNDS):
            undecided = self._round(undecided)
            if not len(undecided):
                break
        self._one_by_one(undecided[np.argsort(self._order[undecided])])
        result = np.zeros(len(self._order), bool)
        result[self._order[self._kept_row[self._kept_row >= 0]]] = True
        return result

    def _round(self, undecided: np.ndarray) -> np.ndarray:
        group = self._group[undecided]
        heads = undecided[np.concatenate(([True], group[1:] != group[:-1]))]
        first = np.full(len(self._kept_row), _NONE)
        first[self._group[heads] + 1] = self._order[heads]
        mine = first[1:-1]
        before = np.where(self._beside[:-1], first[:-2], _NONE)
        after = np.where(self._beside[1:], first[2:], _NONE)
        wins = (mine < before) & (mine < after)
        winners = heads[wins[self._group[heads]]]
        self._kept_row[self._group[winners] + 1] = winners
        rest: np.ndarray = undecided[~self._close(undecided)]
        return rest

    def _close(self, rows: np.ndarray) -> np.ndarray:
        """Which rows have a kept row of their key at most `within` away."""
        group = self._group[rows]
        close: np.ndarray = self._kept_row[group + 1] >= 0
        for other, beside in ((group, self._beside[group]), (group + 2, self._beside[group + 1])):
            kept = self._kept_row[other]
            close |= beside & (kept >= 0) & (np.abs(self._time[kept] - self._time[rows]) <= self._within)
        return close

    def _one_by_one(self, rows: np.ndarray) -> None:
        """Settle rows, given in the order in which they came: none of them is close to a row kept so far."""
        kept: dict[int, int] = {}
        groups, times = self._group[rows].tolist(), self._time[rows].tolist()
        before, after = self._beside[self._group[rows]].tolist(), self._beside[self._group[rows] + 1].tolist()
        for row, group, time, left, right in zip(rows.tolist(), groups, times, before, after, strict=True):
            if (
                group in kept
                or (left and abs(kept.get(group - 1, _FAR) - time) <= self._within)
                or (right and abs(kept.get(group + 1, _FAR) - time) <= self._within)
            ):
                continue
            kept[group] = time
            self._kept_row[group + 1] = row
