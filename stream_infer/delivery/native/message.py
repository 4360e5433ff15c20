"""``rd_kafka_message_t`` as a kernel sees it: where its fields lie, proved by proof.py before anything relies on it."""

__all__ = [
    "ERROR",
    "KEY",
    "KEY_LENGTH",
    "LENGTH",
    "MESSAGE_WORDS",
    "OFFSET",
    "OPAQUE",
    "PARTITION",
    "PAYLOAD",
    "TOPIC",
]

ERROR = 0
TOPIC = 8
PARTITION = 16
PAYLOAD = 24
LENGTH = 32
KEY = 40
KEY_LENGTH = 48
OFFSET = 56
OPAQUE = 64
MESSAGE_WORDS = 9
