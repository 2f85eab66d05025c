"""A real Kafka broker for tests from Java and Maven alone: one process, free ports, data in a temporary folder."""

from __future__ import annotations

import atexit
import base64
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from .base import NotAvailable

VERSION = "4.3.0"
START_S_MAX = 60.0
STOP_S_MAX = 20.0
MAVEN_S_MAX = 300.0
PROPERTIES = """\
process.roles=broker,controller
node.id=1
log.dirs={data}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
auto.create.topics.enable=false
num.partitions=4
# one that was killed comes back when its session is over
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""


class Broker:
    """One broker that can be stopped, killed and started again on the same data and port.

    Args:
        folder: for data, configuration and `broker.log`.
    """

    def __init__(self, folder: Path) -> None:
        self.log = folder / "broker.log"
        self._config = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        port, controller = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self._classpath = f"{jars()}/*"
        self._config.write_text(PROPERTIES.format(data=folder / "data", port=port, controller=controller))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._run_tool("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(self._config))
        atexit.register(self.kill)

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            NotAvailable: it does not, with the end of its log.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._config)), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_S_MAX
        while not listens(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NotAvailable(f"the broker did not start; end of {self.log}:\n{tail(self.log)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self, away_s: float = 0.0) -> None:
        """Kill it and start it again `away_s` seconds later."""
        self.kill()
        time.sleep(away_s)
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, how)
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        except ProcessLookupError:
            pass

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", self._classpath, *arguments]

    def _run_tool(self, *arguments: str) -> None:
        done = subprocess.run(
            self._java(*arguments), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=START_S_MAX
        )
        self.log.write_bytes(done.stdout)
        if done.returncode != 0:
            raise NotAvailable(f"{arguments[0]} failed:\n{tail(self.log)}")


def jars() -> Path:
    """Folder with the broker's jars; Maven fetches them once for all checkouts.

    Raises:
        NotAvailable: no Java, no Maven, or Maven can't fetch them.
    """
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise NotAvailable(f"not installed: {', '.join(missing)}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamproc"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"kafka-{VERSION}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fetch(folder)
    return folder


def fetch(folder: Path) -> None:
    """Let Maven fetch the jars; the folder appears whole or not at all."""
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    pom = Path(__file__).with_name("pom.xml")
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={part}"]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=MAVEN_S_MAX
    )
    if done.returncode != 0:
        raise NotAvailable(f"Maven could not fetch Kafka {VERSION}:\n{done.stdout[-2000:]}")
    part.rename(folder)


def free_ports(count: int) -> Sequence[int]:
    """Ports that nothing listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a text file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
