"""Fixtures of all tests that need a real broker.

`kafka` is its address. It comes from the environment (`STREAMPROC_TEST_KAFKA`), from Docker, or from Java and Maven.
Where none of them can be had the tests are skipped with the reason; in CI that is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .broker import Broker, NotAvailable, docker

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All these tests share one broker, so one worker of pytest-xdist runs them."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kafka)
            item.add_marker(pytest.mark.xdist_group("kafka"))


@pytest.fixture(scope="session")
def kafka_or_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | Broker]:
    """The address of a broker that was found, or one that is ours."""
    if address := os.environ.get("STREAMPROC_TEST_KAFKA"):
        yield address
        return
    try:
        container = docker.start()
    except NotAvailable as error:
        reasons = [f"Docker: {error}"]
    else:
        yield container.get_bootstrap_server()
        container.stop()
        return
    try:
        broker = Broker(tmp_path_factory.mktemp("kafka"))
        broker.start()
    except NotAvailable as error:
        reasons.append(f"Java: {error}")
        give_up("no Kafka to test on; STREAMPROC_TEST_KAFKA is not set; " + "; ".join(reasons))
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def kafka(kafka_or_broker: str | Broker) -> str:
    """Address of a real broker."""
    return kafka_or_broker if isinstance(kafka_or_broker, str) else kafka_or_broker.address


@pytest.fixture
def broker(kafka_or_broker: str | Broker) -> Iterator[Broker]:
    """The broker itself, for tests that stop it; it runs again afterwards."""
    if isinstance(kafka_or_broker, str):
        pytest.skip("this broker is not ours to stop")
    yield kafka_or_broker
    if not kafka_or_broker.running:
        kafka_or_broker.start()


def give_up(reason: str) -> None:
    """Skip; fail where a skip would hide that nothing was tested."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
