"""A real Apache Kafka and a real schema registry on this machine, for the demo, the tests and a developer."""

from stream_infer.embedded.kafka import EmbeddedKafka
from stream_infer.embedded.registry import EmbeddedRegistry

__all__ = ["EmbeddedKafka", "EmbeddedRegistry"]
