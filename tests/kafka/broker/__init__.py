"""Where tests find a real broker: an address given, Docker, or Java and Maven, in this order."""

from .base import NotAvailable
from .java import Broker
from .topics import create_topic, produce_json, unique

__all__ = ["Broker", "NotAvailable", "create_topic", "produce_json", "unique"]
