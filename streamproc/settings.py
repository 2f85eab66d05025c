"""The settings themselves: names, types, defaults, and what is a secret. `config.py` fills them in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

from streamproc.errors import ConfigError
from streamproc.plan.model import Plan

HARMLESS = frozenset(
    "security.protocol sasl.mechanism sasl.mechanisms client.id client.rack ssl.ca.location broker.address.family "
    "ssl.endpoint.identification.algorithm enable.ssl.certificate.verification sasl.kerberos.service.name "
    "region aws_region endpoint aws_endpoint aws_endpoint_url allow_http aws_allow_http".split()
)
"""Pass-through options whose value may be shown; every other one is taken for a secret."""

OWN_OPTIONS = frozenset(
    "bootstrap.servers group.id group.instance.id transactional.id enable.auto.commit enable.auto.offset.store "
    "enable.idempotence isolation.level auto.offset.reset".split()
)
"""librdkafka settings that exactly-once depends on: they are not for the user to set."""


def _as_text(value: object) -> object:
    """YAML reads `true` and `9092` as what they look like; librdkafka and object stores want text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _at_home(value: object) -> object:
    """`~` and `~user` at the beginning of a path: only a shell would replace them."""
    if not (isinstance(value, str) and value.startswith("~")):
        return value
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise ValueError(f'there is no home folder "{value.split("/")[0]}"') from None


Text = Annotated[str, BeforeValidator(_as_text)]
Secret = Annotated[SecretStr, BeforeValidator(_as_text)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Kafka(Model):
    """Where the log is.

    Args:
        bootstrap_servers: `host:port`, several with commas. Needed to run.
        options: librdkafka settings passed through, e.g. `security.protocol`, `sasl.password`.
    """

    bootstrap_servers: Text | None = None
    options: Mapping[str, Secret] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _not_ours(cls, options: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        if taken := sorted(OWN_OPTIONS & options.keys()):
            raise ValueError(f'"{taken[0]}" is set by streamproc itself')
        return options


class Settings(Model):
    """All settings.

    Args:
        kafka: see `Kafka`.
        lake: folder or object store (`s3://bucket/path`, `az://`, `gs://`) that tables are under. Needed to run.
        lake_options: options of the object store, e.g. `aws_region`, `aws_secret_access_key`.
        state_dir: folder for local state; a copy of what the lake has, so it may be lost.
        topics: logical topic name -> name in Kafka, where they differ.
        tables: logical table name -> path under the lake, where they differ.
    """

    kafka: Kafka = Kafka()
    lake: Annotated[Text | None, BeforeValidator(_at_home)] = None
    lake_options: Mapping[str, Secret] = Field(default_factory=dict)
    state_dir: Annotated[Path, BeforeValidator(_at_home)] = Path("state")
    topics: Mapping[str, Text] = Field(default_factory=dict)
    tables: Mapping[str, Text] = Field(default_factory=dict)

    @field_validator("lake")
    @classmethod
    def _no_credentials(cls, lake: str | None) -> str | None:
        if lake and "://" in lake and ("?" in lake or re.search(r"://[^/]*:[^/]*@", lake)):
            raise ValueError("an address must not hold credentials: put them into lake_options")
        return lake

    @field_validator("topics")
    @classmethod
    def _own_topics(cls, topics: Mapping[str, str]) -> Mapping[str, str]:
        if clash := same_place(topics):
            raise ValueError(f'"{clash[0]}" and "{clash[1]}" would be one topic, "{topics[clash[1]]}"')
        return topics

    @field_validator("tables")
    @classmethod
    def _under_the_lake(cls, tables: Mapping[str, str]) -> Mapping[str, str]:
        for path in tables.values():
            parts = _parts(path)
            if not parts or path.startswith("/") or "://" in path or ".." in parts or parts[0] == "_state":
                raise ValueError(f'"{path}" is not a path under the lake')
        if clash := same_place(tables, nested=True):
            raise ValueError(f'"{clash[0]}" and "{clash[1]}" would be one table, or inside each other')
        return tables


def same_place(places: Mapping[str, str], *, nested: bool = False) -> tuple[str, str] | None:
    """Two logical names that stand for the same place, or None.

    Args:
        places: logical name -> place.
        nested: places are paths, and one inside another is the same place too.

    >>> same_place({"a": "x", "b": "y", "c": "x"}), same_place({"a": "x", "b": "./x/y"}, nested=True)
    (('a', 'c'), ('a', 'b'))
    """
    seen: dict[str, list[str]] = {}
    for name, place in places.items():
        parts = _parts(place) if nested else [place]
        for other, there in seen.items():
            short = min(len(parts), len(there))
            if parts[:short] == there[:short]:
                return other, name
        seen[name] = parts
    return None


def check_names(plan: Plan, topics: Mapping[str, str], tables: Mapping[str, str]) -> None:
    """Check that all topics and all tables of a topology are different ones, after the settings have renamed some.

    Raises:
        ConfigError: SP205, two of them would be the same; the topic of the topology's state counts.
    """
    state = f"{plan.name}.state"
    kafka = {stage.topic: topics.get(stage.topic, stage.topic) for stage in plan.stages}
    paths = {name: tables.get(name, name) for name in plan.tables}
    for what, places, nested in (("topic", {"the state": state, **kafka}, False), ("table", paths, True)):
        if clash := same_place(places, nested=nested):
            raise ConfigError(
                "SP205",
                f'"{clash[0]}" and "{clash[1]}" of {plan.name} would be one {what}',
                detail=[f"{name} -> {places[name]}" for name in clash],
                fix=f"another name in the setting {what}s",
            )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
