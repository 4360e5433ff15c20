"""Kafka Streams with a micro-batch and ONNX Runtime Java. Needs a JDK with javac, 17 or newer."""
