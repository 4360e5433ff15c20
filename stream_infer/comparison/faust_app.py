"""A Faust app as the analysts' app needs it: how it connects, reads and keeps its tables."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import faust

from stream_infer.comparison.transport import Counted, CountedTransport

__all__ = ["AppSettings", "faust_app"]


@dataclass(frozen=True)
class AppSettings:
    """``id`` is the consumer group, ``security`` librdkafka's settings to connect, ``partitions`` the topic's."""

    id: str
    servers: str
    security: Mapping[str, Any]
    topic: str
    verdict_topic: str
    partitions: int
    data_dir: str
    host: str
    port: int
    replication_factor: int = 1
    verdict_interval_s: float = 10.0


def faust_app(given: AppSettings, counted: Counted) -> faust.App:
    """An app without agents: it reads committed records from where they are ``counted`` up to."""
    urls = [f"kafka://{server.strip()}" for server in given.servers.split(",")]
    app = faust.App(
        given.id,
        broker=urls,
        broker_credentials=_credentials(given.security),
        store="memory://",
        datadir=given.data_dir,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        topic_replication_factor=given.replication_factor,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_bind=given.host,
        web_host=given.host,
        web_port=given.port,
        autodiscover=False,
    )
    app.transport = CountedTransport(app, given.topic, counted)
    return app


def _credentials(security: Mapping[str, Any]) -> Any:
    """Faust's form of librdkafka's settings of the connection; None where it is plain."""
    protocol = security.get("security.protocol", "PLAINTEXT")
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=security.get("ssl.ca.location"))
        if certificate := security.get("ssl.certificate.location"):
            key, password = security["ssl.key.location"], security.get("ssl.key.password")
            context.load_cert_chain(certificate, key, password)
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=security.get("sasl.username"),
        password=security.get("sasl.password"),
        ssl_context=context,
        mechanism=security.get("sasl.mechanism"),
    )
