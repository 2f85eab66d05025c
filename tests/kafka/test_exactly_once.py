"""The real command on real Kafka through crashes, drains and company: exactly the answer of what was produced."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.kafka.running import Job, kill, stop

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


@pytest.fixture
def job(kafka: str, tmp_path: Path) -> Job:
    return Job(tmp_path, kafka)


def test_runs_until_caught_up_then_goes_on_where_it_stood(job: Job) -> None:
    job.produce(10_000, seed=1)
    assert job.run("--until-caught-up") == 0, job.printed()
    first = job.check()
    assert min(len(part) for part in (first.silver, first.gold, first.rejected, first.late)) > 10
    assert first.duplicates > 100
    job.produce(5_000, seed=2, start_ms=1_760_000_060_000)
    assert job.run("--until-caught-up") == 0, job.printed()
    assert job.check().silver.total() > first.silver.total()


def test_a_drained_worker_exits_with_0_and_loses_nothing(job: Job) -> None:
    producing = job.producing(20_000, seed=3, seconds=8)
    for _ in range(2):
        worker = job.start()
        time.sleep(4)
        assert worker.poll() is None, job.printed()
        assert stop(worker) == 0, job.printed()
    producing.join()
    assert job.run("--until-caught-up") == 0, job.printed()
    job.check()


def test_killed_at_any_time_it_is_exact(job: Job) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    producing = job.producing(40_000, seed=seed, seconds=20)
    kills = 0
    while producing.is_alive():
        worker = job.start()
        time.sleep(dice.uniform(1.5, 4.5))
        kills += kill(worker)
    producing.join()
    assert kills >= 4
    assert job.run("--until-caught-up") == 0, job.printed()
    job.check()


def test_two_workers_join_and_leave(job: Job) -> None:
    producing = job.producing(40_000, seed=4, seconds=25)
    first = job.start()
    time.sleep(5)
    second = job.start()
    time.sleep(7)
    assert stop(first) == 0, job.printed()
    time.sleep(3)
    third = job.start()
    time.sleep(6)
    assert kill(third)
    producing.join()
    assert stop(second) == 0, job.printed()
    assert job.run("--until-caught-up") == 0, job.printed()
    job.check()
