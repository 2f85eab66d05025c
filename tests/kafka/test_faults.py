"""What goes wrong outside: the real command stops with the cause and the way out, and is exact once that was taken."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka.broker import Broker
from tests.kafka.running import PARTITIONS, Job, stop


@pytest.fixture
def job(kafka: str, tmp_path: Path) -> Job:
    return Job(tmp_path, kafka)


def _caught_up(job: Job) -> None:
    assert job.run("--until-caught-up") == 0, job.printed()


def _refused(job: Job, *says: str) -> None:
    assert job.run("--until-caught-up") == 1, job.printed()
    printed = job.printed()
    assert "Traceback" not in printed
    for text in says:
        assert text in printed


def test_a_topic_made_anew_is_refused_until_reset(job: Job) -> None:
    job.produce(2_000, seed=1)
    _caught_up(job)
    admin = AdminClient({"bootstrap.servers": job.address})
    admin.delete_topics([job.name])[job.name].result(30)
    time.sleep(1)
    admin.create_topics([NewTopic(job.name, PARTITIONS, 1, config={"retention.ms": "-1"})])[job.name].result(30)
    job.logs = {p: [] for p in range(PARTITIONS)}
    job.produce(3_000, seed=2)
    _refused(job, "SP310", "made anew", "streamproc reset")
    told = job.command("reset", "--yes")
    assert told.returncode == 0, told.stdout + told.stderr
    _caught_up(job)
    job.check()


def test_lost_state_goes_on_with_the_rows_that_are_there(job: Job) -> None:
    """All tables of a task stand at the same place here, so that nothing is forgotten but what was held in state."""
    job.produce(4_000, seed=1)
    _caught_up(job)
    before = job.table("silver/readings").height
    admin = AdminClient({"bootstrap.servers": job.address})
    admin.delete_topics([f"{job.name}.state"])[f"{job.name}.state"].result(30)
    _refused(job, "SP410", "streamproc reset")
    told = job.command("reset", "--yes", "--keep-rows")
    assert told.returncode == 0, told.stdout + told.stderr
    _caught_up(job)
    assert job.table("silver/readings").height == before
    job.produce(4_000, seed=2, start_ms=1_760_000_400_000)
    _caught_up(job)
    silver = job.table("silver/readings").select("partition", "offset")
    assert silver.height > 1.5 * before
    assert silver.is_duplicated().sum() == 0
    verified = job.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_reset_asks_and_changes_nothing_when_told_no(job: Job) -> None:
    job.produce(2_000, seed=1)
    _caught_up(job)
    told = job.command("reset")
    assert told.returncode != 0
    assert "forgets" in told.stdout
    _caught_up(job)
    job.check()


def test_records_that_retention_took_unread_stop_the_run(job: Job) -> None:
    job.produce(2_000, seed=1)
    _caught_up(job)
    job.produce(2_000, seed=2)
    end = max(offset for offset, _, _ in job.logs[0]) + 1
    admin, place = AdminClient({"bootstrap.servers": job.address}), TopicPartition(job.name, 0, end)
    admin.delete_records([place])[place].result(30)
    _refused(job, "SP312", "readings/0", "unread records are gone", "streamproc reset")


def test_a_table_that_was_deleted_or_restored_is_refused_by_name(job: Job) -> None:
    job.produce(2_000, seed=1)
    _caught_up(job)
    shutil.rmtree(job.lake / "gold")
    job.produce(500, seed=2)
    for _ in range(2):
        _refused(job, "SP506", "gold/device_windows", "was deleted", "streamproc reset")
        assert not (job.lake / "gold/device_windows").exists()
    verified = job.command("verify")
    assert verified.returncode == 1
    assert "gold/device_windows: no table" in verified.stdout


def test_lost_state_in_kafka_is_refused_and_a_lost_disk_is_not(job: Job) -> None:
    job.produce(2_000, seed=1)
    _caught_up(job)
    shutil.rmtree(job.folder / "state")
    job.produce(2_000, seed=2, start_ms=1_760_000_010_000)
    _caught_up(job)
    job.check()
    for chunk in (job.lake / "_state").rglob("*.chunk"):
        chunk.unlink()
    shutil.rmtree(job.folder / "state")
    _refused(job, "SP402", "is missing")


def test_another_lake_for_the_same_name_is_refused(job: Job) -> None:
    job.produce(500, seed=1)
    _caught_up(job)
    assert job.run("--until-caught-up", "--set", f"lake={job.folder / 'other'}") == 1
    assert "SP308" in job.printed()
    _caught_up(job)
    job.check()


def test_a_full_disk_stops_cleanly_and_nothing_is_lost_once_there_is_space(job: Job) -> None:
    """A limit on the size of files is what a full disk looks like to the writers of tables and state."""
    job.produce(20_000, seed=1)
    _caught_up(job)
    job.produce(20_000, seed=2, start_ms=1_760_000_100_000)
    process = job.start("--until-caught-up")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    assert process.wait(60) == 1, job.printed()
    assert "Traceback" not in job.printed()
    assert '"event": "failed"' in job.printed()
    assert '"code": "SP' in job.printed()
    _caught_up(job)
    job.check()


def test_the_broker_goes_away_for_a_while(broker: Broker, tmp_path: Path) -> None:
    job = Job(tmp_path, broker.address)
    job.produce(10_000, seed=1)
    worker = job.start()
    time.sleep(4)
    broker.kill()
    time.sleep(4)
    broker.start()
    job.produce(10_000, seed=2, start_ms=1_760_000_050_000)
    time.sleep(6)
    assert worker.poll() is None, job.printed()
    assert stop(worker) == 0, job.printed()
    assert job.printed().count("broker unreachable") < 20
    _caught_up(job)
    job.check()


def test_a_worker_that_starts_before_its_broker_waits(broker: Broker, tmp_path: Path) -> None:
    job = Job(tmp_path, broker.address)
    job.produce(2_000, seed=1)
    broker.kill()
    worker = job.start("--until-caught-up")
    time.sleep(3)
    assert worker.poll() is None, job.printed()
    broker.start()
    assert worker.wait(60) == 0, job.printed()
    job.check()


def test_a_missing_topic_is_named_and_its_neighbours_too(job: Job) -> None:
    job.config.write_text(job.config.read_text().replace(f"readings: {job.name}", f"readings: {job.name[:-1]}"))
    _refused(job, f'topic \\"{job.name[:-1]}\\" does not exist', job.name)


def test_infer_prints_a_schema_that_reads_the_topic(job: Job) -> None:
    job.produce(500, seed=1)
    command = ["infer", job.name, "--config", str(job.config)]
    told = subprocess.run([*job.python, *command], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    assert '"device": pl.String' in told.stdout
    assert '"at": pl.Datetime' in told.stdout or '"at": pl.Int64' in told.stdout
