"""librdkafka settings that would break a promise of the worker, each with the reason and the cure."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["UNSAFE", "Scalar", "Unsafe", "refusal"]

Scalar = str | int | float | bool


def _never(_: str) -> bool:
    return False


@dataclass(frozen=True)
class Unsafe:
    """``names`` are shell patterns; ``safe`` says which (lower-cased) values are harmless all the same.

    ``tls``: allowed where kafka.insecure_tls says so.
    """

    names: tuple[str, ...]
    reason: str
    cure: str
    safe: Callable[[str], bool] = _never
    tls: bool = False


def _own(name: str, setting: str) -> Unsafe:
    return Unsafe((name,), "it has a setting of its own", f"set {setting} instead")


UNSAFE: tuple[Unsafe, ...] = (
    Unsafe(
        ("enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store", "auto.commit.interval.ms"),
        "offsets are committed with the scored records; a commit in the background loses or doubles events",
        "remove it",
    ),
    Unsafe(
        ("isolation.level",),
        "reading uncommitted input scores events twice after an aborted transaction",
        "remove it (read_committed is set)",
        safe=lambda value: value == "read_committed",
    ),
    Unsafe(
        ("enable.idempotence", "acks", "request.required.acks", "topic.request.required.acks"),
        "both delivery modes need the idempotent producer and all acknowledgements",
        "remove it",
    ),
    Unsafe(
        ("transactional.id",),
        "two producers with one transactional id fence each other",
        "set delivery.slot for a stable id",
    ),
    Unsafe(("group.id",), "the group's offsets belong to the app", "set app.id"),
    Unsafe(
        ("group.instance.id",),
        "a fenced static member cannot rejoin, so the worker would stop at the next restart",
        "remove it; set delivery.slot for quick restarts",
    ),
    _own("group.protocol", "kafka.group_protocol"),
    _own("auto.offset.reset", "input.start"),
    _own("transaction.timeout.ms", "delivery.transaction_timeout_ms"),
    _own("bootstrap.servers", "kafka.bootstrap_servers"),
    _own("metadata.broker.list", "kafka.bootstrap_servers"),
    _own("security.protocol", "kafka.security_protocol"),
    _own("sasl.mechanism", "kafka.sasl_mechanism"),
    _own("sasl.mechanisms", "kafka.sasl_mechanism"),
    _own("sasl.username", "kafka.sasl_username"),
    _own("sasl.password", "kafka.sasl_password"),
    _own("ssl.ca.location", "kafka.ssl_ca_location"),
    _own("ssl.certificate.location", "kafka.ssl_certificate_location"),
    _own("ssl.key.location", "kafka.ssl_key_location"),
    _own("ssl.key.password", "kafka.ssl_key_password"),
    Unsafe(
        ("partition.assignment.strategy",),
        "the worker's hand-over of partitions is written for cooperative-sticky, which is set",
        "remove it",
    ),
    Unsafe(
        ("enable.ssl.certificate.verification",),
        "without it anyone on the way can read and write the topics",
        "set kafka.ssl_ca_location, or kafka.insecure_tls = true if you mean it",
        safe=lambda value: value in {"true", "1", "t"},
        tls=True,
    ),
    Unsafe(
        ("ssl.endpoint.identification.algorithm",),
        "without it any valid certificate passes for the broker's",
        "remove it, or set kafka.insecure_tls = true if you mean it",
        safe=lambda value: value == "https",
        tls=True,
    ),
    Unsafe(
        ("plugin.library.paths", "ssl.engine.location", "ssl.providers", "sasl.kerberos.kinit.cmd"),
        "it loads or runs other code inside the worker",
        "remove it",
    ),
    Unsafe(
        ("enable.sasl.oauthbearer.unsecure.jwt",),
        "unsigned tokens prove nothing",
        "remove it",
        safe=lambda value: value in {"false", "0", "f"},
    ),
    Unsafe(
        ("sasl.oauthbearer.token.endpoint.url",),
        "the client secret would travel unencrypted",
        "use an https:// address",
        safe=lambda value: value.startswith("https://"),
    ),
    Unsafe(
        ("metadata.recovery.strategy",),
        "with rebootstrap a commit can hang for ever after all brokers were away",
        "remove it (none is set)",
        safe=lambda value: value == "none",
    ),
    Unsafe(
        ("allow.auto.create.topics",),
        "topics made by accident have the wrong number of partitions",
        "remove it; `stream-infer topics create` makes the topics",
        safe=lambda value: value in {"false", "0", "f"},
    ),
    Unsafe(
        ("delivery.report.only.error",),
        "the worker sets it itself, to know of every failed record before it commits",
        "remove it",
        safe=lambda value: value in {"false", "0", "f"},
    ),
    Unsafe(("enable.partition.eof",), "the worker knows the end of a partition by its offsets", "remove it"),
    Unsafe(("debug",), "its log lines may hold tokens and record contents", "remove it"),
    Unsafe(("test.mock.*",), "it replaces the brokers by a simulation", "remove it"),
    Unsafe(
        ("default.topic.config*", "*_cb", "oauth_cb", "logger"),
        "the client's Python hooks are not settings",
        "name the setting itself",
    ),
)


def refusal(name: str, value: Scalar, *, insecure_tls: bool) -> str | None:
    """Why this librdkafka setting is refused, with the cure; None where it is harmless."""
    text = str(value).strip().lower()
    for unsafe in UNSAFE:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in unsafe.names):
            if unsafe.safe(text) or (unsafe.tls and insecure_tls):
                return None
            return f"refused, because {unsafe.reason}; {unsafe.cure}"
    return None
