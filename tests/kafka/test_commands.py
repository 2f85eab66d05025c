"""Commands against a real broker: what plan sees, how a run gets past a record, how it waits, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

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
    assert "error[SP602]" in stopped.stderr
    assert "--skip numbers:0:2" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert shop.numbers() == [1, 2]
    passed = shop.run("run", "job.py", "--until-caught-up", "--skip", "numbers:0:2")
    assert passed.returncode == 0, passed.stderr
    assert shop.numbers() == [1, 2, 3]
    assert shop.run("verify", "job.py").returncode == 0


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
