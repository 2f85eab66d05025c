"""Commands that need no broker, and how errors reach the user."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streamproc as sp
from streamproc.cli import config_show, entry, run, tables

Streamproc = Callable[..., Any]

TOPOLOGY = """
import polars as pl
import streamproc as sp

topology = sp.Topology("shop")
orders = topology.read_kafka("orders", format=sp.Json({"id": pl.String, "n": pl.Int64}))
orders.write_delta("silver/orders")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.py"
    file.write_text(TOPOLOGY)
    return file


def test_plan_offline_says_what_would_be_done_and_writes_nothing(
    streamproc: Streamproc, shop: Path, tmp_path: Path
) -> None:
    ended = streamproc("plan", shop, "--set", "lake=lake")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("shop: 1 stage")
    assert "Nothing was changed." in ended.out
    assert "new, 2 columns" in ended.out
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["shop.py"]


def test_plan_without_a_broker_that_answers_takes_seconds_and_says_so(streamproc: Streamproc, shop: Path) -> None:
    ended = streamproc("plan", shop, "--set", "kafka.bootstrap_servers=127.0.0.1:1")
    assert ended.code == 0, ended.err
    assert "! broker unreachable" in ended.out
    assert "tasks unknown (Kafka can't be asked)" in ended.out


def test_plan_names_a_lake_that_cannot_be_used_once(streamproc: Streamproc, shop: Path) -> None:
    ended = streamproc("plan", shop, "--set", "lake=shop.py/lake")
    assert ended.code == 1
    assert ended.out.count("SP501") == 1
    assert f"{shop}: not a folder" in ended.out


def test_plan_names_settings_for_what_the_topology_does_not_have(streamproc: Streamproc, shop: Path) -> None:
    ended = streamproc("plan", shop, "--set", "topics.order=x", "--set", "tables.silver/orders=y")
    assert ended.code == 0
    assert '! setting topics: shop has no "order"; did you mean "orders"?' in ended.out
    assert "setting tables" not in ended.out


def test_plan_tells_how_a_table_differs(streamproc: Streamproc, shop: Path, tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"], "n": ["text"]}).write_delta(tmp_path / "lake/silver/orders")
    ended = streamproc("plan", shop, "--set", "lake=lake")
    assert ended.code == 1
    assert "schema DIFFERS" in ended.out
    assert '! table "lake/silver/orders" exists and is not as planned [SP502]' in ended.out
    assert "  fix: " in ended.out


def test_a_mistake_in_the_topology_shows_the_users_line(streamproc: Streamproc, shop: Path) -> None:
    shop.write_text(TOPOLOGY + 'orders.filter(pl.col("m") > 1).write_delta("silver/many")\n')
    ended = streamproc("plan", shop)
    assert ended.code == 1
    assert "error[SP104]" in ended.err
    assert "shop.py:8   orders.filter" in ended.err
    assert "Traceback" not in ended.err + ended.out


def test_a_topology_file_that_is_not_there(streamproc: Streamproc) -> None:
    ended = streamproc("run", "nowhere.py", "--set", "lake=lake", "--set", "kafka.bootstrap_servers=x")
    assert ended.code == 1
    assert 'no topology file "nowhere.py"' in failed(ended)["message"]


@pytest.mark.parametrize("place", ["orders", "orders:0", "orders:0:x", "orders:0:-1", "other:0:1"])
def test_skip_wants_a_record_of_this_topology(streamproc: Streamproc, shop: Path, place: str) -> None:
    ended = streamproc("run", shop, "--skip", place, "--set", "lake=lake", "--set", "kafka.bootstrap_servers=x")
    assert ended.code == 1
    assert failed(ended)["code"] == "SP222"


@pytest.mark.parametrize("command", ["run", "reset"])
def test_missing_settings_are_named_before_anything_happens(streamproc: Streamproc, shop: Path, command: str) -> None:
    ended = streamproc(command, shop)
    assert ended.code == 1
    assert "SP202" in ended.err
    assert "STREAMPROC_" in ended.err


def failed(ended: Any) -> dict[str, Any]:
    """The last line of a run's log."""
    line = json.loads(ended.err.splitlines()[-1])
    assert line["event"] == "failed"
    return line


def test_a_run_s_error_is_the_last_line_of_its_log(
    streamproc: Streamproc, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_text(TOPOLOGY + 'orders.filter(pl.col("m") > 1).write_delta("silver/many")\n')
    here = ("--set", "lake=lake", "--set", "kafka.bootstrap_servers=x")
    wrong = streamproc("run", shop, *here)
    line = failed(wrong)
    assert (wrong.code, wrong.out, len(wrong.err.splitlines())) == (1, "", 1)
    assert (line["code"], line["level"]) == ("SP104", "error")
    assert "shop.py:8" in line["location"]
    assert line["fix"]
    assert isinstance(line["detail"], list)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(run, "load_topology", lambda _: 1 / 0)
    defect = streamproc("run", shop, *here)
    assert defect.code == 2
    assert "ZeroDivisionError" in failed(defect)["message"]
    assert "Traceback" not in defect.err
    assert list(tmp_path.glob("streamproc-*.log"))


def test_config_show_hides_secrets_and_names_origins(
    streamproc: Streamproc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("kafka: {options: {security.protocol: SASL_SSL, sasl.username: canary-1}}\n")
    monkeypatch.setenv("STREAMPROC_KAFKA__OPTIONS__SASL_PASSWORD", "canary-2")
    ended = streamproc("config", "show", "--config", "c.yaml", "--set", "lake_options.account_key=canary-3")
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines()}
    assert rows["kafka.options.security.protocol"] == ["SASL_SSL", "c.yaml"]
    assert rows["kafka.options.sasl.password"] == ["**********", "STREAMPROC_KAFKA__OPTIONS__SASL_PASSWORD"]
    assert "canary" not in ended.out + ended.err


def test_show_prints_rows_and_names_the_nearest_table(streamproc: Streamproc, tmp_path: Path) -> None:
    frame = pl.DataFrame({"at": [datetime(2026, 1, 1, tzinfo=UTC)], "n": [1]})
    frame.write_delta(tmp_path / "lake/gold/minutes")
    ended = streamproc("show", "gold/minutes", "--set", "lake=lake")
    assert ended.out.splitlines()[1:] == ["at                   n", "2026-01-01 00:00:00  1"]
    missing = streamproc("show", "gold/minute", "--set", "lake=lake")
    assert missing.code == 1
    assert 'did you mean "gold/minutes"?' in missing.err


@pytest.mark.parametrize("command", [["show", "t"], ["verify"], ["verify", "t"]])
def test_a_lake_that_is_not_there(streamproc: Streamproc, tmp_path: Path, command: list[str]) -> None:
    ended = streamproc(*command, "--set", "lake=elsewhere")
    assert ended.code == 1
    assert f'there is no lake at "{tmp_path}/elsewhere"' in ended.err
    assert "STREAMPROC_LAKE" in ended.err
    assert not (tmp_path / "elsewhere").exists()


def test_payloads_cannot_drive_the_terminal() -> None:
    assert tables.text(pl.DataFrame({"value": [b"\x1b[2Jgone\n"]})) == "value\n?[2Jgone?"


def test_verify_of_nothing_and_of_a_table_that_lost_a_commit(streamproc: Streamproc, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    assert "no tables in lake" in streamproc("verify", "--set", "lake=lake").err
    for _ in range(3):
        pl.DataFrame({"n": [1]}).write_delta(tmp_path / "lake/t", mode="append")
    assert streamproc("verify", "--set", "lake=lake").out.endswith("verify: 1 table, 0 gaps, 0 overlaps\n")
    (tmp_path / "lake/t/_delta_log" / f"{1:020}.json").unlink()
    ended = streamproc("verify", "t", "--set", "lake=lake")
    assert ended.code == 1
    assert "log: version 2: versions 1 to 1 are missing" in ended.out


def test_an_unexpected_exception_is_one_line_and_a_file(
    streamproc: Streamproc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(config_show, "settings", lambda *_: 1 / 0)
    ended = streamproc("config", "show")
    [log] = tmp_path.glob("streamproc-*.log")
    assert ended.code == 2
    assert "unexpected error: ZeroDivisionError" in ended.err
    assert str(log) in ended.err.replace("\n", "")
    assert "Traceback" not in ended.err
    assert "Traceback" in log.read_text()


def test_wrong_usage_is_exit_2(streamproc: Streamproc) -> None:
    assert streamproc("plan").code == 2
    assert streamproc("no-such-command").code == 2


def test_the_version_can_be_asked(streamproc: Streamproc) -> None:
    assert streamproc("--version").out == f"streamproc {sp.__version__}\n"


STOPPED = """
import time
from unittest.mock import Mock
from streamproc.cli.run import _signals
with _signals(Mock()) as stop:
    print("ready", flush=True)
    print("asked" if stop.wait(30) else "not asked", flush=True)
    time.sleep(30 if {hangs} else 0)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends_at_once(number: signal.Signals) -> None:
    calm = signalled(STOPPED.format(hangs=False), number, times=1)
    assert calm == (0, ["asked", "ended"])
    impatient = signalled(STOPPED.format(hangs=True), number, times=2)
    assert impatient == (128 + number, ["asked"])


def signalled(code: str, number: signal.Signals, times: int) -> tuple[int, list[str]]:
    """Exit code and lines of a process that gets a signal after each line that it prints."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        lines = []
        for _ in range(times):
            process.send_signal(number)
            lines.append(process.stdout.readline().strip())
        lines += process.stdout.read().split()  # not `communicate`, which passes over what is buffered here
        return process.wait(60), [line for line in lines if line]


def test_the_installed_command_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamproc", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    for command in ("demo", "plan", "run", "verify", "show", "infer", "reset", "config"):
        assert command in done.stdout


IMPORTING = """
import importlib.util, sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "streamproc.cli.main":
            print("importing", flush=True)
            time.sleep(30)
sys.meta_path.insert(0, Slow())
spec = importlib.util.spec_from_file_location("streamproc_entry", {file!r})
entry = importlib.util.module_from_spec(spec)
spec.loader.exec_module(entry)
assert not any(name.split(".")[0] == "streamproc" for name in sys.modules)
entry.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_imported_ends_it_quietly(number: signal.Signals) -> None:
    command = [sys.executable, "-c", IMPORTING.format(file=entry.__file__)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + number, "", "")


ASKING = """
import polars as pl
pl.select(1)
pl.LazyFrame({"a": [1]}).collect()
from streamproc.cli import screen
screen.confirm("Go on?")
"""


def test_ctrl_c_ends_a_question() -> None:
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-c", ASKING])
    try:
        seen = b""
        while b"Go on?" not in seen:
            seen += os.read(terminal, 1000)
        time.sleep(0.2)
        os.write(terminal, b"\x03")
        deadline = time.monotonic() + 10
        while not (ended := os.waitpid(process, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ended[0] == process
        process = 0
    finally:
        os.close(terminal)
        if process:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
