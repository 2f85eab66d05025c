"""Commands against a real broker: what plan sees, how a run gets past a record, how it waits, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.kafka.broker import create_topic, produce_json, unique

TOPOLOGY = """
import polars as pl
import streamproc as sp

topology = sp.Topology("{name}")
(
    topology.read_kafka("numbers", format=sp.Json({{"n": pl.Int64}}))
    .expect("small", pl.col("n") < 100, on_fail="stop")
    .write_delta("silver/numbers")
)
"""


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
"""The commands run in folders of their own: streamproc may not be installed, but on this path."""


class Shop:
    """A topology of its own in a folder of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address, self.topic = folder, address, unique("numbers")
        (folder / "job.py").write_text(TOPOLOGY.format(name=unique("shop")))
        (folder / "c.yaml").write_text(
            f"kafka: {{bootstrap_servers: '{address}'}}\nlake: lake\ntopics: {{numbers: {self.topic}}}\n"
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "streamproc", *arguments, "--config", "c.yaml"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def numbers(self) -> list[int]:
        return sorted(pl.read_delta(str(self.folder / "lake/silver/numbers"))["n"])


@pytest.fixture
def shop(kafka: str, tmp_path: Path) -> Shop:
    return Shop(tmp_path, kafka)


def test_plan_sees_the_topic_and_changes_nothing(shop: Shop) -> None:
    missing = shop.run("plan", "job.py")
    assert f'! topic "{shop.topic}" does not exist' in missing.stdout, missing.stderr
    assert "tasks unknown (a topic is missing)" in missing.stdout
    create_topic(shop.address, shop.topic, partitions=3)
    found = shop.run("plan", "job.py")
    assert found.returncode == 0, found.stderr
    assert "3 tasks" in found.stdout
    assert not (shop.folder / "lake").exists()
    assert not (shop.folder / "state").exists()


def test_a_record_that_stops_the_run_is_named_and_skipped(shop: Shop) -> None:
    create_topic(shop.address, shop.topic)
    produce_json(shop.address, shop.topic, [{"n": 1}, {"n": 2}, {"n": 999}, {"n": 3}])
    stopped = shop.run("run", "job.py", "--until-caught-up")
    assert stopped.returncode == 1
    assert failed(stopped)["code"] == "SP602"
    assert "--skip numbers:0:2" in failed(stopped)["fix"]
    assert '"ended"' not in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert shop.numbers() == [1, 2]
    passed = shop.run("run", "job.py", "--until-caught-up", "--skip", "numbers:0:2")
    assert passed.returncode == 0, passed.stderr
    assert shop.numbers() == [1, 2, 3]
    assert shop.run("verify", "job.py").returncode == 0


def failed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line of the log of a run that failed."""
    line = json.loads(done.stderr.splitlines()[-1])
    assert line["event"] == "failed"
    return line


def test_skip_of_what_is_not_there_is_refused_and_of_what_was_read_is_told(shop: Shop) -> None:
    create_topic(shop.address, shop.topic)
    produce_json(shop.address, shop.topic, [{"n": n} for n in range(5)])
    absent = shop.run("run", "job.py", "--until-caught-up", "--skip", "numbers:9:0")
    assert failed(absent)["code"] == "SP222"
    assert "no partition 9" in failed(absent)["message"]
    assert not (shop.folder / "lake").exists()
    assert shop.run("run", "job.py", "--until-caught-up").returncode == 0
    again = shop.run("run", "job.py", "--until-caught-up", "--skip", "numbers:0:1", "--skip", "numbers:0:5")
    assert again.returncode == 0
    assert again.stderr.count("has been read already") == 1
    assert "numbers:0:1 changes nothing" in again.stderr


def test_plan_says_where_a_job_goes_on_and_what_a_run_would_refuse(shop: Shop) -> None:
    create_topic(shop.address, shop.topic)
    produce_json(shop.address, shop.topic, [{"n": n} for n in range(5)])
    assert "first start: earliest" in shop.run("plan", "job.py").stdout
    assert shop.run("run", "job.py", "--until-caught-up").returncode == 0
    produce_json(shop.address, shop.topic, [{"n": n} for n in range(2)])
    goes_on = shop.run("plan", "job.py")
    assert goes_on.returncode == 0, goes_on.stdout
    assert "goes on at offset" in goes_on.stdout
    assert "2 unread" in goes_on.stdout
    (shop.folder / "lake/silver").rename(shop.folder / "aside")
    _refused_alike(shop, "SP506")
    (shop.folder / "aside").rename(shop.folder / "lake/silver")
    _refused_alike(shop, "SP308", "--set", "lake=other")
    assert not (shop.folder / "other").exists()
    _recreate(shop)
    _refused_alike(shop, "SP310")


def _recreate(shop: Shop) -> None:
    admin = AdminClient({"bootstrap.servers": shop.address})
    admin.delete_topics([shop.topic])[shop.topic].result(30)
    time.sleep(1)
    create_topic(shop.address, shop.topic)


def _refused_alike(shop: Shop, code: str, *options: str) -> None:
    """The plan says what the run says."""
    told = shop.run("plan", "job.py", *options)
    run = failed(shop.run("run", "job.py", "--until-caught-up", *options))
    assert told.returncode == 1
    assert run["code"] == code
    assert f"! {run['message']} [{code}]" in told.stdout
    assert f"  fix: {run['fix']}" in told.stdout


def test_plan_sees_state_that_does_not_fit_and_partitions_that_were_added(shop: Shop) -> None:
    create_topic(shop.address, shop.topic)
    produce_json(shop.address, shop.topic, [{"n": n, "t": "2026-01-01T00:00:00Z"} for n in range(5)])
    job = shop.folder / "job.py"
    keyed = job.read_text().replace("}))\n", ', "t": pl.Datetime}), partitioned_by="n")\n')
    keyed = keyed.replace(
        "    .expect(", '    .with_watermark("t", lateness="1s").deduplicate("n", "t", within="1m")\n    .expect('
    )
    job.write_text(keyed)
    assert shop.run("run", "job.py", "--until-caught-up").returncode == 0
    job.write_text(keyed.replace('within="1m"', 'within="2m"'))
    _refused_alike(shop, "SP413")
    job.write_text(keyed)
    grown = AdminClient({"bootstrap.servers": shop.address})
    grown.create_partitions([NewPartitions(shop.topic, 6)])[shop.topic].result(30)
    time.sleep(1)
    _refused_alike(shop, "SP313")


def test_infer_says_what_it_read_and_does_not_speak_of_wait(shop: Shop) -> None:
    create_topic(shop.address, shop.topic, partitions=3)
    produce_json(shop.address, shop.topic, [{"n": n} for n in range(50)])
    assert shop.run("infer", shop.topic, "-n", "10").stdout.startswith(f"# {shop.topic}: 10 of 50 messages read\n")
    wrong = shop.run("infer", shop.topic[:-1])
    assert wrong.returncode == 1
    assert shop.topic in wrong.stderr
    assert "--wait" not in wrong.stderr


def test_wait_waits_for_a_topic_and_a_signal_ends_it_cleanly(shop: Shop) -> None:
    with (shop.folder / "err").open("w") as err:
        process = subprocess.Popen(
            shop.command("run", "job.py", "--wait"), cwd=shop.folder, env=ENVIRONMENT, stderr=err
        )
    try:
        time.sleep(3)
        assert process.poll() is None
        create_topic(shop.address, shop.topic)
        produce_json(shop.address, shop.topic, [{"n": n} for n in range(50)])
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and not _written(shop):
            time.sleep(0.5)
        process.terminate()
        assert process.wait(30) == 0, (shop.folder / "err").read_text()
    finally:
        process.kill()
    assert shop.numbers() == list(range(50))


def _written(shop: Shop) -> bool:
    try:
        return bool(shop.numbers())
    except Exception:  # noqa: BLE001 - not there yet, whatever that looks like
        return False
