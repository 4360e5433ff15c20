"""Streaming inference on Kafka: Avro events in, scored events out, exactly once."""
