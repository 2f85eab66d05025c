"""Settings: layers, origins, what is refused, and that secrets stay unseen."""

from __future__ import annotations

import io
import json
import logging
import traceback
from pathlib import Path

import pytest
import structlog
from pydantic import ValidationError

import streamproc as sp
from streamproc import config, telemetry
from streamproc.cli import screen
from streamproc.errors import ConfigError
from streamproc.plan import Plan, plan
from streamproc.settings import check_names

CANARY = "canary-7c1f9e"


def write(folder: Path, text: str) -> Path:
    file = folder / "settings.yaml"
    file.write_text(text)
    return file


def refusal(file: Path | None = None, environ: dict[str, str] | None = None, sets: tuple[str, ...] = ()) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ or {}, sets)
    return caught.value


def test_later_layers_win_and_every_value_knows_its_origin(tmp_path: Path) -> None:
    file = write(tmp_path, "kafka: {bootstrap_servers: 'file:1'}\nlake: from-file\nstate_dir: from-file\n")
    environ = {"STREAMPROC_LAKE": "from-env", "STREAMPROC_STATE_DIR": "from-env", "HOME": "/root"}
    loaded = config.load(file, environ, ["state_dir=from-flag"])
    shown = {row.key: (row.value, row.origin) for row in loaded.shown()}
    assert shown["kafka.bootstrap_servers"] == ("file:1", str(file))
    assert shown["lake"] == ("from-env", "STREAMPROC_LAKE")
    assert shown["state_dir"] == ("from-flag", "--set")
    assert shown["topics"] == ("(none)", "default")


def test_environment_alone_is_enough() -> None:
    loaded = config.load(
        environ={"STREAMPROC_KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2", "STREAMPROC_LAKE": "s3://bucket/lake"}
    )
    assert (loaded.bootstrap_servers, loaded.lake) == ("a:1,b:2", "s3://bucket/lake")


def test_pass_through_options_from_everywhere(tmp_path: Path) -> None:
    file = write(tmp_path, "kafka:\n  options:\n    security.protocol: SASL_SSL\n    socket.keepalive.enable: true\n")
    environ = {"STREAMPROC_KAFKA__OPTIONS__SASL_PASSWORD": "p"}
    loaded = config.load(file, environ, ["kafka.options.sasl.username=u", "lake_options.aws_region=eu"])
    assert loaded.kafka_options == {
        "security.protocol": "SASL_SSL",
        "socket.keepalive.enable": "true",
        "sasl.password": "p",
        "sasl.username": "u",
    }
    assert loaded.lake_options == {"aws_region": "eu"}


def test_maps_from_a_variable_are_json() -> None:
    loaded = config.load(environ={"STREAMPROC_TOPICS": '{"events": "prod.events.v2"}'})
    assert loaded.settings.topics == {"events": "prod.events.v2"}


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("lak: x", "lak", "lake"),
        ("kafka: {bootstrap_server: x}", "kafka.bootstrap_server", "kafka.bootstrap_servers"),
        ("statedir: x", "statedir", "state_dir"),
    ],
)
def test_unknown_key_in_the_file(tmp_path: Path, text: str, unknown: str, nearest: str) -> None:
    file = write(tmp_path, text)
    error = refusal(file)
    assert error.code == "SP201"
    assert f'"{unknown}"' in error.message
    assert f'"{nearest}"' in error.fix
    assert str(file) in str(error)


def test_unknown_variable_and_unknown_flag() -> None:
    error = refusal(environ={"STREAMPROC_KAFKA__BOOTSTRAP_SERVER": "x"})
    assert 'did you mean "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS"' in error.fix
    assert 'did you mean "state_dir"' in refusal(sets=("statedir=x",)).fix
    assert config.load(environ={"STREAMPROC_TEST_ANYTHING": "x"}).settings.lake is None


@pytest.mark.parametrize(
    "text",
    [
        *("- a\n- b", "kafka: 3", "lake: [1]", "topics: x", "kafka: {options: {group.id: x}}"),
        *("tables: {a: ../outside}", "tables: {a: ./.}", "tables: {a: _state/x}"),
        *("topics: {a: x, b: x}", "tables: {a: x/y, b: ./x//y/}", "tables: {a: x/y, b: x}"),
    ],
)
def test_values_that_make_no_sense(tmp_path: Path, text: str) -> None:
    assert refusal(write(tmp_path, text)).code in ("SP203", "SP204")


def two_of_each() -> Plan:
    topology = sp.Topology("two")
    for name in "ab":
        topology.read_kafka(name, format=sp.Raw()).write_delta(f"silver/{name}")
    return plan(topology)


@pytest.mark.parametrize(
    ("topics", "tables", "says"),
    [
        ({"a": "b"}, {}, '"a" and "b" of two would be one topic'),
        ({"a": "two.state"}, {}, '"the state" and "a" of two would be one topic'),
        ({}, {"silver/a": "silver/b"}, '"silver/a" and "silver/b" of two would be one table'),
        ({}, {"silver/a": "silver"}, '"silver/a" and "silver/b"'),
        ({}, {"silver/b": "silver//a/x"}, '"silver/a" and "silver/b"'),
        ({}, {"two__late": "silver/a"}, '"silver/a" and "two__late"'),
    ],
)
def test_a_name_that_is_used_already_is_refused(topics: dict[str, str], tables: dict[str, str], says: str) -> None:
    config.load(sets=[f"topics={json.dumps(topics)}", f"tables={json.dumps(tables)}"], environ={})
    with pytest.raises(ConfigError, match=says) as caught:
        check_names(two_of_each(), topics, tables)
    assert caught.value.code == "SP205"


def test_names_may_be_swapped() -> None:
    names, tables = {"a": "b", "b": "a"}, {"silver/a": "silver/b", "silver/b": "silver/a"}
    loaded = config.load(sets=[f"topics={json.dumps(names)}", f"tables={json.dumps(tables)}"], environ={}).settings
    check_names(two_of_each(), loaded.topics, loaded.tables)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nowhere.yaml").message
    assert refusal(write(tmp_path, "a: b: c")).detail == (f"{tmp_path / 'settings.yaml'}:1",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lake: x\nlake: y", "a key comes twice"),
        (f"kafka: {{options: {{a: {CANARY}, a: {CANARY}}}}}", "a key comes twice"),
        (f"lake: [{CANARY}", "expected ',' or ']', but got '<stream end>'"),
        (f"lake: *{CANARY}", "found undefined alias ..."),
        (f"lake: !{CANARY} x", "tag ..."),
    ],
)
def test_a_file_that_is_not_yaml_is_told_why_without_its_text(tmp_path: Path, text: str, says: str) -> None:
    error = refusal(write(tmp_path, text))
    assert error.code == "SP204"
    assert says in error.message
    assert str(tmp_path / "settings.yaml") in error.detail[0]
    assert CANARY not in "".join(traceback.format_exception(error))


def test_a_value_that_is_refused_names_where_it_came_from() -> None:
    assert refusal(sets=("topics={a",)).detail == ("from --set",)
    assert refusal(environ={"STREAMPROC_TABLES": "{a"}).detail == ("from STREAMPROC_TABLES",)
    both = {"STREAMPROC_LAKE": "s3://a:b@c", "STREAMPROC_LAKE_OPTIONS__AWS_REGION": "eu"}
    assert refusal(environ=both).detail == ("from STREAMPROC_LAKE",)


def test_reasons_are_in_the_users_words(tmp_path: Path) -> None:
    assert "must be the path of a folder" in refusal(write(tmp_path, "state_dir: [1]")).message


def test_home_is_found_without_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    loaded = config.load(environ={}, sets=["lake=~/lake", "state_dir=~/state"])
    assert (loaded.lake, loaded.settings.state_dir) == ("/home/me/lake", Path("/home/me/state"))
    assert "no home folder" in refusal(sets=("lake=~nobody-of-this-name/x",)).message


def test_missing_setting_names_every_place_in_order(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, "lake: x"), {})
    with pytest.raises(ConfigError) as caught:
        loaded.bootstrap_servers  # noqa: B018 - it raises
    places = [line.split()[0] for line in caught.value.detail[1:]]
    assert places == ["--set", "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS", str(tmp_path / "settings.yaml")]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        config.load(environ={}).settings.lake = "x"  # type: ignore[misc]


def secret_config() -> config.Config:
    return config.load(
        environ={"STREAMPROC_KAFKA__OPTIONS__SASL_PASSWORD": CANARY},
        sets=[f"lake_options.aws_secret_access_key={CANARY}", f"kafka.options.made.up.setting={CANARY}"],
    )


def test_secret_is_not_in_repr_nor_config_show_nor_missing_setting() -> None:
    loaded = secret_config()
    assert loaded.kafka_options["sasl.password"] == CANARY
    seen = [repr(loaded), str(loaded.settings), loaded.settings.model_dump_json(), repr(loaded.shown())]
    with pytest.raises(ConfigError) as caught:
        loaded.lake  # noqa: B018 - it raises
    assert CANARY not in "".join([*seen, str(caught.value)])


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        (f"kafka: {{options: [{CANARY}]}}", ()),
        (f"kafka: {{options: {{sasl.password: [{CANARY}]}}}}", ()),
        (f"kafka: {{options: {{sasl.password: '{CANARY}", ()),
        ("", (f"lake=s3://user:{CANARY}@bucket",)),
        ("", (f"lake=az://box/path?sig={CANARY}",)),
        ("", (f"lake_options={CANARY}: {CANARY}: x",)),
    ],
)
def test_secret_is_not_in_errors_about_it(tmp_path: Path, text: str, sets: tuple[str, ...]) -> None:
    error = refusal(write(tmp_path, text), sets=sets)
    assert CANARY not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("json_lines", [True, False])
def test_secret_is_not_in_logs(json_lines: bool) -> None:
    stream = io.StringIO()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    telemetry.configure(secrets=secret_config().secrets(), stream=stream, json=json_lines)
    try:
        log = structlog.get_logger("streamproc.test")
        log.info(f"connecting with {CANARY}", options={"a": [CANARY]}, sasl_password="other")
        logging.getLogger("streamproc.plain").warning("refused %s", CANARY)
        try:
            raise RuntimeError(CANARY)
        except RuntimeError:
            log.exception("failed")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers, logging.getLogger().level = before
    text = stream.getvalue()
    assert text.count(telemetry.MASK) >= 4
    assert CANARY not in text
    assert "other" not in text
    if json_lines:
        assert [json.loads(line)["level"] for line in text.splitlines()] == ["info", "warning", "error"]


def test_secret_is_not_on_the_screen_nor_in_the_traceback_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    screen.hide(secret_config().secrets())
    try:
        screen.error(ConfigError("SP999", f"refused {CANARY}", detail=[f"by {CANARY}"], fix=f"not {CANARY}"))
        screen.crash(RuntimeError(CANARY))
    finally:
        screen.hide(())
    [log] = tmp_path.glob("streamproc-*.log")
    written = capsys.readouterr()
    assert "refused **********" in written.err
    assert "RuntimeError" in log.read_text()
    assert CANARY not in written.out + written.err + log.read_text()
