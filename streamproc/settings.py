"""The settings themselves: names, types, defaults, and what is a secret. `config.py` fills them in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator

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
    lake: Text | None = None
    lake_options: Mapping[str, Secret] = Field(default_factory=dict)
    state_dir: Path = Path("state")
    topics: Mapping[str, Text] = Field(default_factory=dict)
    tables: Mapping[str, Text] = Field(default_factory=dict)

    @field_validator("lake")
    @classmethod
    def _no_credentials(cls, lake: str | None) -> str | None:
        if lake and "://" in lake and ("?" in lake or re.search(r"://[^/]*:[^/]*@", lake)):
            raise ValueError("an address must not hold credentials: put them into lake_options")
        return lake

    @field_validator("tables")
    @classmethod
    def _under_the_lake(cls, tables: Mapping[str, str]) -> Mapping[str, str]:
        for path in tables.values():
            if not path or path.startswith("/") or "://" in path or ".." in path.split("/"):
                raise ValueError(f'"{path}" is not a path under the lake')
        return tables
