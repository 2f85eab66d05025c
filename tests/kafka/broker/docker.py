"""A broker in a container, where a Docker daemon answers and `testcontainers` is installed."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from typing import Any

from .base import NotAvailable

DAEMON_S_MAX = 5.0
IMAGE = "apache/kafka:4.3.0"


def start() -> Any:
    """A started container; `get_bootstrap_server()` is its address, `stop()` ends it.

    Raises:
        NotAvailable: no package, no daemon, or the container does not start.
    """
    if shutil.which("docker") is None:
        raise NotAvailable("no docker command")
    try:
        subprocess.run(["docker", "info"], capture_output=True, check=True, timeout=DAEMON_S_MAX)
        kafka = importlib.import_module("testcontainers.kafka")
        container = kafka.KafkaContainer(IMAGE).with_kraft()
        container.start()
    except (OSError, subprocess.SubprocessError) as error:
        raise NotAvailable("no Docker daemon answers") from error
    except ImportError as error:
        raise NotAvailable("the package testcontainers is not installed") from error
    except Exception as error:  # the container library raises whatever its parts raise
        raise NotAvailable(f"the container did not start: {error}") from error
    return container
