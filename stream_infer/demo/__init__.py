"""The demo: a real Kafka, a trained model, real events from a producer, the worker, and a live view of it all.

settings   what the user chose
traffic    which rows become events, in which order, which of them are broken on purpose
producer   the process that publishes them
stage      Kafka, registry, topics, model, worker and producer, from open to close
reading    a consumer in a thread of its own, for watch and for comparing, who does what analysts would
watch      reads what the worker publishes, as it comes: latency, alarms, rejects
audit      reads everything back at the end: nothing lost, nothing twice
view       the live view; summary: the last word; run: the order of it all
"""

__all__: list[str] = []
