"""Running the real command on real Kafka: a job in a folder of its own, its processes, its tables, its answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import yaml
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.oracle.readings import Answer, answer, generate

JOBS = Path(__file__).parent / "jobs"
PARTITIONS = 4


class Sent(NamedTuple):
    """A message to produce; `timestamp` in milliseconds since 1970."""

    partition: int
    key: bytes
    timestamp: int
    value: bytes | None


class Job:
    """A job, by default the readings, under a name, topic, lake and state of its own; and what was produced for it."""

    def __init__(
        self, folder: Path, address: str, source: Path = JOBS / "readings.py", topic: str = "readings"
    ) -> None:
        self.name = f"{source.stem}_{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.lake = folder / "lake"
        self.address = address
        self.logs: dict[int, list[tuple[int, int, bytes | None]]] = {p: [] for p in range(PARTITIONS)}
        self.file = folder / "job.py"
        self.file.write_text(source.read_text().replace(f'Topology("{source.stem}")', f'Topology("{self.name}")'))
        self.config = folder / "config.yaml"
        self.config.write_text(
            yaml.safe_dump(
                {
                    "kafka": {"bootstrap_servers": address},
                    "lake": str(self.lake),
                    "state_dir": str(folder / "state"),
                    "topics": {topic: self.name},
                }
            )
        )
        # Messages carry timestamps of long ago: the broker must not take them for old.
        admin = AdminClient({"bootstrap.servers": address})
        topic = NewTopic(self.name, PARTITIONS, 1, config={"retention.ms": "-1"})
        admin.create_topics([topic])[self.name].result(30)

    python = (sys.executable, "-m", "streamproc")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A worker process; what it prints goes to a file of its own."""
        out = (self.folder / f"out-{time.monotonic_ns()}.log").open("wb")
        command = [*self.python, "run", str(self.file), "--config", str(self.config), *arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)

    def run(self, *arguments: str, timeout: float = 90) -> int:
        """A worker process to its end."""
        process = self.start(*arguments)
        try:
            return process.wait(timeout)
        finally:
            process.kill()

    def printed(self) -> str:
        """What all processes printed, in order."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')}" for path in sorted(self.folder.glob("out-*.log"))
        )

    def produce(self, count: int, *, seed: int, seconds: float = 0, start_ms: int = 1_760_000_000_000) -> None:
        """Produce generated readings over about so many seconds, and note where each came to be."""
        made = generate(count, seed, start_ms)
        self.send(
            [Sent(int(device[7:]) % PARTITIONS, device.encode(), at, value) for device, at, value in made], seconds
        )

    def send(self, messages: Sequence[Sent], seconds: float = 0) -> None:
        """Produce messages over about so many seconds, and note where each came to be."""
        producer = Producer(
            {
                "bootstrap.servers": self.address,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 60_000,
            }
        )

        def note(error: object, message: Message) -> None:
            assert error is None, error
            entry = (message.offset(), message.timestamp()[1], message.value())
            self.logs[message.partition()].append(entry)

        began = time.monotonic()
        for i, (partition, key, timestamp, value) in enumerate(messages):
            while True:
                try:
                    producer.produce(
                        self.name, value, key=key, partition=partition, timestamp=timestamp, on_delivery=note
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            if i % 100 == 0:
                producer.poll(0)
                time.sleep(max(0.0, began + seconds * i / len(messages) - time.monotonic()))
        assert producer.flush(60) == 0

    def producing(
        self, count: int, *, seed: int, seconds: float, start_ms: int = 1_760_000_000_000
    ) -> threading.Thread:
        """The same beside what the test does."""
        thread = threading.Thread(
            target=self.produce, args=(count,), kwargs={"seed": seed, "seconds": seconds, "start_ms": start_ms}
        )
        thread.start()
        return thread

    def expected(self) -> Answer:
        return answer({p: sorted(log, key=lambda entry: entry[0]) for p, log in self.logs.items()})

    def table(self, name: str) -> pl.DataFrame:
        """A table as Polars reads it."""
        return pl.read_delta(str(self.lake / name))

    def command(self, name: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Another command on this job, to its end."""
        command = [*self.python, name, str(self.file), "--config", str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def account(self) -> dict[str, dict[str, int]]:
        """The account of the last worker that ended by itself: step -> outcome -> rows."""
        ended = [line for line in self.printed().splitlines() if '"event": "ended"' in line]
        return json.loads(ended[-1])["accounts"]["readings"]

    def check(self, *, account: bool = True) -> Answer:
        """Assert that all tables hold exactly the answer, that the Delta log proves it, and that the account adds up.

        Args:
            account: False where the last worker did not have all partitions.
        """
        expected = self._check_tables()
        verified = self.command("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        if account:
            counts = self.account()
            assert counts["source"]["in"] == sum(len(log) for log in self.logs.values())
            rejected = sum(step.get("rejected", 0) for step in counts.values())
            late = sum(step.get("late", 0) for step in counts.values())
            assert (rejected, late) == (expected.rejected.total(), expected.late.total())
            assert counts["deduplicate"]["duplicates"] == expected.duplicates
            assert counts["write_delta"]["in"] == expected.silver.total()
            assert counts["write_delta-2"]["in"] == expected.gold.total()
            in_windows = sum(row[2] for row in expected.gold.elements())
            window = counts["group_by"]
            assert window["in"] == in_windows + window["held"] + window["late"]
        return expected

    def _check_tables(self) -> Answer:
        expected = self.expected()
        silver = Counter(self.table("silver/readings").select("partition", "offset", "id").iter_rows())
        gold = Counter(
            self.table("gold/device_windows")
            .select(pl.col("window_start").dt.epoch("us"), "device", "n", "hot", "total", "last")
            .iter_rows()
        )
        rejected = Counter(self.table(f"{self.name}__rejected").select("partition", "offset").iter_rows())
        late = Counter(self.table(f"{self.name}__late").select("partition", "offset", "step").iter_rows())
        for what, got, wanted in (
            ("silver", silver, expected.silver),
            ("gold", gold, expected.gold),
            ("rejected", rejected, expected.rejected),
            ("late", late, expected.late),
        ):
            missing, extra = wanted - got, got - wanted
            told = f"{what}: {missing.total()} missing {list(missing)[:3]}, {extra.total()} extra {list(extra)[:3]}"
            assert not missing + extra, told + "\n" + self.printed()[-5000:]
        return expected


def stop(process: subprocess.Popen[bytes], timeout: float = 30) -> int:
    """SIGTERM and wait for the drain."""
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """SIGKILL; whether it was still running."""
    running = process.poll() is None
    process.kill()
    process.wait()
    return running
