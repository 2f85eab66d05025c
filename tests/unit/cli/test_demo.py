"""The demo: numbers that add up, a folder that is only emptied if it is the demo's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streamproc.cli import accounting
from streamproc.cli.demo import command, folder, sensors, shipped
from streamproc.errors import ConfigError, StreamprocError
from streamproc.plan import load_topology, plan

MIX = sensors.Mix(messages=4_000, duplicates=100, implausible=30, broken=20, ahead=10, late=15)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    few = sensors.messages(MIX)
    monkeypatch.setattr(sensors, "messages", lambda: few)
    monkeypatch.setattr(command, "FEED_S", 0.5)


@pytest.mark.usefixtures("small")
def test_every_message_is_accounted_for_as_it_was_made(streamproc: Callable[..., Any], tmp_path: Path) -> None:
    ended = streamproc("demo")
    assert ended.code == 0, ended.err
    told = " ".join(ended.out.split())
    written = MIX.messages - MIX.duplicates - MIX.implausible - MIX.broken - MIX.ahead
    assert "4,000 messages read in" in told
    assert f"silver/readings {written:,} written" in told
    assert f"{MIX.duplicates} duplicates same device_id, event_time within 10m" in told
    assert f'60 rejected {MIX.implausible} "plausible", {MIX.broken} not JSON, {MIX.ahead} over 1h ahead' in told
    closed, windows, held, late = _windows(told)
    assert closed + held + late == written
    assert windows == pl.read_delta(str(tmp_path / "lake/gold/truck_minutes")).height
    assert "verify: 4 tables, 0 gaps, 0 overlaps" in told
    assert (tmp_path / "lake" / folder.MARKER).is_file()


def _windows(told: str) -> list[int]:
    found = re.search(r"([\d,]+) rows in ([\d,]+) closed windows ([\d,]+) rows in open windows .* (\d+) late", told)
    assert found
    assert int(found.group(4)) == MIX.late
    return [int(number.replace(",", "")) for number in found.groups()]


@pytest.mark.usefixtures("small")
def test_a_second_run_empties_its_own_folder_and_ends_the_same(streamproc: Callable[..., Any], tmp_path: Path) -> None:
    first = streamproc("demo", "--lake", "elsewhere")
    (tmp_path / "elsewhere" / "left-over").write_text("x")
    second = streamproc("demo", "--lake", "elsewhere")
    assert (first.code, second.code) == (0, 0), second.err
    assert not (tmp_path / "elsewhere" / "left-over").exists()
    assert _numbers(first.out) == _numbers(second.out)


def _numbers(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("  ")]


def test_a_folder_with_anything_else_in_it_is_refused(streamproc: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "thesis.txt").write_text("years of work")
    ended = streamproc("demo")
    assert ended.code == 1
    assert "error[SP220]" in ended.err
    assert "--lake lake-demo" in ended.err
    assert (tmp_path / "lake" / "thesis.txt").read_text() == "years of work"


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("x")
    with pytest.raises(ConfigError, match="SP221"):
        folder.prepare(tmp_path / "lake")


def test_links_in_the_folder_are_removed_not_followed(tmp_path: Path) -> None:
    outside, lake = tmp_path / "outside", tmp_path / "lake"
    outside.mkdir()
    (outside / "kept").write_text("x")
    folder.prepare(lake)
    (lake / "link").symlink_to(outside)
    folder.prepare(lake)
    assert [child.name for child in lake.iterdir()] == [folder.MARKER]
    assert (outside / "kept").exists()


def test_unknown_topology_names_those_there_are(streamproc: Callable[..., Any]) -> None:
    ended = streamproc("demo", "--topology", "nope")
    assert ended.code == 1
    assert "there are: iot_sensors" in ended.err


def test_numbers_that_do_not_add_up_are_an_error() -> None:
    made = plan(load_topology(shipped.path("iot_sensors")))
    counters = {step.id: {"in": 10, "out": 10} for step in made.stages[0].steps}
    counters["source"] = {"in": 10}
    counters["group_by"] = {"in": 10, "held": 4, "late": 1, "out": 2}
    counters["write_delta-2"] = {"in": 2, "out": 2}
    accounts = {"iot_sensors/sensor-data/0": counters}
    stored = {"silver/readings": 10, "gold/truck_minutes": 2, made.rejected: 0, made.late: 1}
    accounting.check(made, accounts, {"sensor-data": 10}, stored)
    with pytest.raises(StreamprocError) as caught:
        accounting.check(made, accounts, {"sensor-data": 11}, {**stored, "silver/readings": 9})
    assert len(caught.value.detail) == 2
    counters["deduplicate"] = {"in": 10, "duplicates": 1, "out": 10}
    with pytest.raises(StreamprocError, match="SP901"):
        accounting.check(made, accounts, {"sensor-data": 10}, stored)
