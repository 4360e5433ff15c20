"""Kafka as the worker sees it: a source of batches, and deliveries that end known.

    source.py        Source: the input consumer, its membership, pause, seek, rebalances
    exactly_once.py  ExactlyOnce: one transaction of scores, rejects, state and offsets
    at_least_once.py AtLeastOnce: the same promises but one: offsets follow the acks
    publish.py       Publisher: batch and scores -> records of the output topics
    state_topic.py   StateTopic: entity state written inside the delivery, and read back
    membership.py    what a live membership of the group looks like on the wire
    settings.py      librdkafka settings, each with its reason

One thread, the owner, makes every call in this package.
"""
