"""The connection that commands need beside `run`: impatient, since somebody waits in front of the screen."""

from __future__ import annotations

import threading

from streamproc.config import Config
from streamproc.runtime.kafka.admin import Admin
from streamproc.runtime.kafka.connection import KafkaSettings

PATIENCE_S = 5.0
MISSING, UNREACHABLE = "SP301", "SP302"
"""Codes of the errors for a topic that does not exist and a broker that does not answer."""


def connection(config: Config, patience_s: float = PATIENCE_S) -> KafkaSettings:
    """Where Kafka is.

    Raises:
        ConfigError: its address is not set.
    """
    return KafkaSettings(config.bootstrap_servers, config.kafka_options, patience_s=patience_s)


def admin(config: Config, patience_s: float = PATIENCE_S) -> Admin:
    """What is asked of the cluster; see `connection`."""
    return Admin(connection(config, patience_s), config.settings.topics, threading.Event())
