"""How clients of Kafka are configured, what their errors mean, and how long is retried.

Three answers to an error: `retry` (the broker is away or busy), `fenced` (another process took over), `refused` (a
retry would not help). Secrets never leave this file: options are not in `repr`, texts of errors are cleaned of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException

from streamproc.errors import LogError

ATTEMPT_S_MIN = 0.1
ATTEMPT_S_MAX = 5.0
"""Longest that one request is waited for; so often a stop is looked at."""
BACKOFF_S = 1.0
BACKOFF_S_MAX = 2.0

Kind = Literal["retry", "fenced", "refused"]
T = TypeVar("T")

_log = structlog.get_logger()

_FENCED = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError._FENCED,  # noqa: SLF001 - librdkafka's own codes begin with an underscore
    }
)
_RETRY = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)


class Stopped(Exception):
    """The run was asked to stop while something was waited for."""


@dataclass(frozen=True)
class KafkaSettings:
    """Where Kafka is and how patient to be with it.

    Args:
        bootstrap_servers: `host:port`, several with commas.
        options: librdkafka settings passed through to every client, e.g. `security.protocol`, `sasl.password`.
        session_s: seconds without a heartbeat after which the group takes a worker for dead.
        patience_s: seconds that the broker may be away before a run gives up.
    """

    bootstrap_servers: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    session_s: float = 10.0
    patience_s: float = 300.0

    def config(self, **own: Any) -> dict[str, Any]:
        """A librdkafka configuration; names in `own` have underscores for dots and win over the options."""
        quiet = {"log_level": 2, "reconnect.backoff.ms": 100, "reconnect.backoff.max.ms": 2000}
        return {
            **quiet,
            **self.options,
            "bootstrap.servers": self.bootstrap_servers,
            **{name.replace("_", "."): value for name, value in own.items()},
        }

    def clean(self, text: str) -> str:
        """The text without the values of options: any of them may be a secret."""
        for value in sorted(self.options.values(), key=len, reverse=True):
            if len(value) >= 4:  # shorter ones ("SSL" is longer than most) would only garble the text
                text = text.replace(value, "***")
        return text


def kind(error: KafkaError) -> Kind:
    """What to do about an error."""
    if error.code() in _FENCED:
        return "fenced"
    return "retry" if error.code() in _RETRY or error.retriable() else "refused"


def cause(error: BaseException) -> KafkaError:
    """The error inside librdkafka's exception."""
    return error.args[0]


def make(settings: KafkaSettings, client: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
    """A client of Kafka.

    Raises:
        LogError: librdkafka does not accept the configuration.
    """
    try:
        return client(config)
    except (KafkaException, TypeError, ValueError) as error:
        text = cause(error).str() if isinstance(error, KafkaException) else str(error)
        raise LogError(
            "SP305", f"Kafka's client refuses its settings: {settings.clean(text)}", fix="mend kafka.options"
        ) from None


def refused(settings: KafkaSettings, what: str, error: KafkaError) -> LogError:
    """The error for what a retry does not help with."""
    return LogError(
        "SP305",
        f"Kafka refused to {what}: {error.name()}",
        detail=[settings.clean(error.str())],
        fix="check the rights of this user and kafka.options",
    )


class Backoff:
    """Waits that double, each told in one line."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._delay_s = BACKOFF_S
        self._began = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the limit has passed."""
        return time.monotonic() - self._began > self.limit_s

    def next_s(self, what: str, reason: str) -> float:
        """Seconds to wait now, no longer than the limit; says so."""
        left_s = max(0.0, self.limit_s - (time.monotonic() - self._began))
        delay_s, self._delay_s = min(self._delay_s, left_s), min(2 * self._delay_s, BACKOFF_S_MAX)
        _log.warning(f"{what}: retrying in {delay_s:.3g} s", reason=reason)
        return delay_s

    def unreachable(self, settings: KafkaSettings, reason: str) -> LogError:
        """The error once the limit has passed."""
        return LogError(
            "SP302",
            f"broker unreachable: {settings.bootstrap_servers}",
            detail=[f"retried for {self.limit_s:.3g} s; last: {reason}"],
            fix="check kafka.bootstrap_servers and that the broker runs",
        )


class Retry:
    """Calls the broker until it answers, within the settings' patience.

    Args:
        settings: of the connection.
        stop: ends every wait.
        listen: lets the client tell what it has met; it may set `heard`.
    """

    def __init__(
        self, settings: KafkaSettings, stop: threading.Event, listen: Callable[[], object] = lambda: None
    ) -> None:
        self.settings = settings
        self.heard = ""
        self._listen = listen
        self._stop = stop
        self._deadline: float | None = None

    @property
    def limit_s(self) -> float:
        """Seconds that all that is asked now may take; after `drain` they grow less."""
        return self.settings.patience_s if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    @property
    def attempt_s(self) -> float:
        """Seconds that one request may take."""
        return max(ATTEMPT_S_MIN, min(ATTEMPT_S_MAX, self.limit_s))

    def call(self, what: str, request: Callable[[float], T]) -> T:
        """Result of `request(timeout in seconds)`, called again while the broker is away.

        Args:
            what: completes "Kafka refused to ...".

        Raises:
            LogError: SP302 not reachable within the limit, SP305 refused.
            KafkaException: fenced.
            Stopped: asked to stop meanwhile.
        """
        backoff = Backoff(self.limit_s)
        while True:
            try:
                result = request(self.attempt_s)
                self.heard = ""
                return result
            except KafkaException as exception:
                error = cause(exception)
                if kind(error) == "fenced":
                    raise
                if kind(error) == "refused":
                    raise refused(self.settings, what, error) from None
                self._listen()
                reason = self.settings.clean(self.heard or error.str())
                if backoff.over:
                    raise backoff.unreachable(self.settings, reason) from None
            self.sleep(backoff.next_s("broker unreachable", reason))

    def drain(self, limit_s: float) -> None:
        """The stop has come: all that is still to be done has this long together, and no stop ends it."""
        self._deadline = time.monotonic() + limit_s
        self._stop = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: asked to stop meanwhile.
        """
        if self._stop.wait(seconds):
            raise Stopped
