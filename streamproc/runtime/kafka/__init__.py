"""Kafka under the worker: connection, admin, slots, the log of offsets and manifests, and the driver."""
