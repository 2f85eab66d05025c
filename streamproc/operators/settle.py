"""What becomes of rows that failed a step: the four values of `on_fail`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streamproc.errors import DataError
from streamproc.operators.aside import put_aside
from streamproc.operators.base import OnFail, Result
from streamproc.operators.batch import Batch

_OUTCOMES = {"warn": "warned", "drop": "dropped", "reject": "rejected"}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a row failed: a reason code, and a detail for people."""

    reason: str
    detail: str


def settle(
    batch: Batch,
    passed: Batch,
    failed: Sequence[int],
    on_fail: OnFail,
    *,
    why: Callable[[Sequence[int]], Sequence[Failure]],
    stop: Callable[[int, Failure], DataError],
) -> Result:
    """The result of a step.

    Args:
        batch: its input.
        passed: what it passes on: without the failed rows, or with them where they are only warned of.
        failed: rows of `batch` that failed, ascending.
        on_fail: what the user wants.
        why: explains some rows of `batch`; asked only where somebody will read it.
        stop: makes the error for a row's position.

    Raises:
        DataError: the first failed row stops the run.
    """
    if not failed:
        return Result(passed)
    if on_fail == "stop":
        error = stop(int(batch.positions[failed[0]]), why(failed[:1])[0])
        error.skippable = not batch.aggregated
        raise error
    counts = {_OUTCOMES[on_fail]: len(failed)}
    if on_fail != "reject":
        return Result(passed, counts)
    failures = why(failed)
    detail = pl.Series([failure.detail for failure in failures], dtype=pl.String)
    rejected = put_aside(batch, np.asarray(failed, np.int64), "", detail)
    assert rejected is not None
    reasons = pl.Series("reason", [failure.reason for failure in failures], dtype=pl.String)
    return Result(passed, counts, rejected=rejected.with_columns(reasons))
