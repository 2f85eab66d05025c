"""Brings made-up sensor messages to a real broker: `python -m streamproc.cli.demo.produce localhost:9092`.

Event times are those of the demo, moved so that the last one is now.
"""

from __future__ import annotations

import sys
import time

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

from streamproc.cli.demo import sensors

PER_SECOND = 2_000
FLUSH_S_MAX = 60


def main(bootstrap_servers: str) -> None:
    """Make the topic if there is none, and send everything once."""
    settings = {"bootstrap.servers": bootstrap_servers, "log_level": 3}
    admin = AdminClient(settings)  # the request dies with it
    created = admin.create_topics([NewTopic(sensors.TOPIC, sensors.PARTITIONS, 1)])
    error = created[sensors.TOPIC].exception(FLUSH_S_MAX)
    if error is not None and error.args[0].code() != ck.KafkaError.TOPIC_ALREADY_EXISTS:
        raise error
    producer = ck.Producer({**settings, "enable.idempotence": True})
    start_ms = time.time_ns() // 1_000_000 - sensors.MINUTES * 60_000
    for number, message in enumerate(sensors.messages(start_ms=start_ms)):
        producer.produce(sensors.TOPIC, message.value, message.key, message.partition, timestamp=message.timestamp)
        if number % PER_SECOND == PER_SECOND - 1:
            producer.flush(FLUSH_S_MAX)
            time.sleep(1)
    if left := producer.flush(FLUSH_S_MAX):
        sys.exit(f"{left} messages could not be sent")


if __name__ == "__main__":
    main(sys.argv[1])
