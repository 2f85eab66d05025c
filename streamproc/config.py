"""Settings: what they are, where each came from, and never a secret on the screen.

Looked up in this order, later ones win: defaults, the file given with `--config`, `STREAMPROC_*` variables (`__` goes a
level down), `--set KEY=VALUE`. Unknown keys are refused, wherever they stand. A setting's key is its path with dots:
`kafka.bootstrap_servers` is `STREAMPROC_KAFKA__BOOTSTRAP_SERVERS` in the environment.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError

from streamproc import strict_yaml
from streamproc.errors import ConfigError
from streamproc.settings import HARMLESS, Model, Settings

PREFIX = "STREAMPROC_"
TEST_PREFIX = PREFIX + "TEST_"
"""Variables of the project's own tests: no settings."""


def _leaves(model: type[Model], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """(key, whether it is a map) of every setting."""
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Model):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, getattr(inner, "__origin__", None) is Mapping


_IS_MAP = dict(_leaves(Settings))
_REASONS = {"path_type": "must be the path of a folder", "string_type": "must be text"}
"""Pydantic's reasons that speak of Python, in the user's words."""


class Key(NamedTuple):
    """A setting, or with `item` one entry of a setting that is a map."""

    setting: str
    item: str | None = None

    def __str__(self) -> str:
        return self.setting if self.item is None else f"{self.setting}.{self.item}"


class Shown(NamedTuple):
    """A row of `config show`."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class Config:
    """Settings with the origin of each.

    Args:
        settings: the values.
        origins: where each value that is no default came from.
        file: the file that was read, if any.
    """

    settings: Settings
    origins: Mapping[Key, str]
    file: Path | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address.

        Raises:
            ConfigError: it is not set; names every place looked in.
        """
        return self._needed("kafka.bootstrap_servers", self.settings.kafka.bootstrap_servers, "localhost:9092")

    @property
    def lake(self) -> str:
        """Address of the lake.

        Raises:
            ConfigError: it is not set; names every place looked in.
        """
        return self._needed("lake", self.settings.lake, "./lake")

    @property
    def kafka_options(self) -> dict[str, str]:
        """The pass-through librdkafka settings, revealed: for the client alone."""
        return {key: value.get_secret_value() for key, value in self.settings.kafka.options.items()}

    @property
    def lake_options(self) -> dict[str, str]:
        """The object store's options, revealed: for the store alone."""
        return {key: value.get_secret_value() for key, value in self.settings.lake_options.items()}

    def secrets(self) -> frozenset[str]:
        """Values that must never be seen: what logs are cleaned of."""
        options = {**self.settings.kafka.options, **self.settings.lake_options}
        return frozenset(value.get_secret_value() for key, value in options.items() if key not in HARMLESS)

    def shown(self) -> list[Shown]:
        """Every setting for people, secrets hidden, with its origin."""
        rows = []
        for setting, is_map in _IS_MAP.items():
            value: Any = self.settings
            for name in setting.split("."):
                value = getattr(value, name)
            if is_map:
                entries = [Key(setting, item) for item in value] or [Key(setting)]
            else:
                entries = [Key(setting)]
            for key in entries:
                shown = _show(key, value if key.item is None else value[key.item])
                rows.append(Shown(str(key), shown, self.origins.get(key, "default")))
        return rows

    def _needed(self, setting: str, value: str | None, example: str) -> str:
        if value:
            return value
        variable = _variable(setting)
        raise ConfigError(
            "SP202",
            f'setting "{setting}" is missing',
            detail=[
                "looked in, in this order:",
                f"  --set {setting}=...   not given",
                f"  {variable}   not set",
                f"  {self.file}   has no {setting}" if self.file else "  --config FILE   not given",
            ],
            fix=f"export {variable}={example}",
        )


def load(file: Path | None = None, environ: Mapping[str, str] | None = None, sets: Sequence[str] = ()) -> Config:
    """Read the settings.

    Args:
        file: YAML file, or None.
        environ: the environment, by default the process's.
        sets: `KEY=VALUE` texts.

    Raises:
        ConfigError: a key is unknown (named with the nearest one), a value is invalid, the file can't be read.

    >>> config = load(environ={"STREAMPROC_LAKE": "./lake"}, sets=["kafka.options.sasl.password=hunter2"])
    >>> config.lake, config.settings.kafka.options
    ('./lake', {'sasl.password': SecretStr('**********')})
    """
    layers = [
        *([_from_file(file)] if file else []),
        _from_environment(os.environ if environ is None else environ),
        _from_flags(sets),
    ]
    values: dict[Key, object] = {}
    origins: dict[Key, str] = {}
    for layer in layers:
        for key, value, origin in layer:
            values[key], origins[key] = value, origin
    return Config(_validated(values, origins), origins, file)


_Layer = Iterable[tuple[Key, object, str]]


def _from_file(file: Path) -> _Layer:
    try:
        body = strict_yaml.load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError("SP204", f'configuration file "{file}" can\'t be read: {reason}') from None
    except strict_yaml.Error as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        raise ConfigError(
            "SP204", f"configuration file is not valid YAML: {strict_yaml.reason(error)}", detail=[place]
        ) from None
    if body is None:
        return []
    if not isinstance(body, dict):
        raise ConfigError("SP204", f'configuration file "{file}" must hold keys and values')
    return list(_flat(body, "", str(file)))


def _flat(body: Mapping[object, object], prefix: str, origin: str) -> Iterator[tuple[Key, object, str]]:
    for name, value in body.items():
        path = f"{prefix}{name}"
        if path in _IS_MAP:
            yield from _entries(path, value, origin)
        elif not any(setting.startswith(path + ".") for setting in _IS_MAP):
            raise _unknown(path, origin, list(_IS_MAP))
        elif isinstance(value, dict):
            yield from _flat(value, path + ".", origin)
        elif value is not None:
            raise ConfigError("SP203", f'setting "{path}" must hold keys and values', detail=[f"in {origin}"])


def _entries(setting: str, value: object, origin: str) -> _Layer:
    if not _IS_MAP[setting]:
        return [] if value is None else [(Key(setting), value, origin)]
    if value is None:
        return []
    if not isinstance(value, dict):
        raise ConfigError("SP203", f'setting "{setting}" must hold keys and values', detail=[f"in {origin}"])
    return [(Key(setting, str(item)), entry, origin) for item, entry in value.items()]


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX):
            continue
        path = name.removeprefix(PREFIX).lower().replace("__", ".")
        yield from _assigned(path, environ[name], name, [_variable(setting) for setting in _IS_MAP], name)


def _from_flags(sets: Sequence[str]) -> _Layer:
    for text in sets:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("SP203", f'"--set {path}" has no value', fix=f"--set {path}=VALUE")
        yield from _assigned(path, value, "--set", list(_IS_MAP), path)


def _assigned(path: str, value: str, origin: str, known: list[str], name: str) -> _Layer:
    """One text for the setting, or the entry of a map, at `path`."""
    if path in _IS_MAP:
        return _entries(path, _parsed(path, value, origin) if _IS_MAP[path] else value, origin)
    for setting, is_map in _IS_MAP.items():
        if is_map and path.startswith(setting + "."):
            item = path.removeprefix(setting + ".")
            # Variables can't have dots in their names, librdkafka's settings have nothing else.
            return [(Key(setting, item.replace("_", ".") if setting == "kafka.options" else item), value, origin)]
    raise _unknown(name, origin, known)


def _parsed(path: str, value: str, origin: str) -> object:
    try:
        return strict_yaml.load(value)
    except strict_yaml.Error as error:
        raise ConfigError(
            "SP203", f'setting "{path}" is not a JSON object: {strict_yaml.reason(error)}', detail=[f"from {origin}"]
        ) from None


def _validated(values: Mapping[Key, object], origins: Mapping[Key, str]) -> Settings:
    body: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key.setting.split(".")
        place = body
        for parent in parents:
            place = place.setdefault(parent, {})
        if key.item is None:
            place[last] = value
        else:
            place.setdefault(last, {})[key.item] = value
    try:
        return Settings.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        places = dict.fromkeys(o for key, o in origins.items() if f"{key}.".startswith(f"{path}."))
        reason = _REASONS.get(first["type"], first["msg"].removeprefix("Value error, "))
        # Not chained: the cause holds the values.
        raise ConfigError(
            "SP203", f'setting "{path}" is invalid: {reason}', detail=[f"from {', '.join(places)}"]
        ) from None


def _unknown(name: str, origin: str, known: list[str]) -> ConfigError:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    place = f"in {origin}" if origin != name else "in the environment"
    return ConfigError(
        "SP201",
        f'unknown setting "{name}"',
        detail=[place, f"known: {', '.join(known)}"],
        fix=f'did you mean "{nearest[0]}"?',
    )


def _variable(setting: str) -> str:
    return PREFIX + setting.upper().replace(".", "__")


def _show(key: Key, value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value() if key.item in HARMLESS else str(value)
    if value is None:
        return "(not set)"
    return "(none)" if value == {} else str(value)
