"""What Kafka's client would refuse is told before anything starts, by the name of the setting."""

from pathlib import Path

import pytest

from stream_infer.checks import require
from stream_infer.config import Config, parse
from stream_infer.errors import ConfigError

FILE = Path("worker.toml")


def settings(**kafka: object) -> Config:
    return parse(
        {
            "app": {"id": "smd"},
            "kafka": {"bootstrap_servers": "127.0.0.1:1", **kafka},
            "registry": {"url": "http://127.0.0.1:1"},
            "input": {"topic": "events", "features": "features"},
            "model": {"path": "models/smd"},
        },
        {},
        FILE,
    )


@pytest.mark.parametrize(
    ("kafka", "words"),
    [
        ({"consumer": {"fetch.bogus": 1}}, r"\[kafka.consumer\].*fetch.bogus"),
        ({"consumer": {"fetch.min.bytes": "few"}}, r"\[kafka.consumer\].*fetch.min.bytes"),
        ({"producer": {"linger.ms": -5}}, r"\[kafka.producer\].* -5 is outside allowed range"),
        (
            {"group_protocol": "classic", "consumer": {"max.poll.interval.ms": 5_000}},
            r"\[kafka.consumer\].*max.poll.interval.ms.*session.timeout.ms",
        ),
        (
            {"group_protocol": "consumer", "consumer": {"session.timeout.ms": 5_000}},
            r"\[kafka.consumer\].*session.timeout.ms",
        ),
        ({"security_protocol": "SSL", "ssl_ca_location": "/nowhere/ca.pem"}, r"\[kafka\].*ssl.ca.location"),
    ],
)
def test_a_setting_that_the_client_refuses_is_named(kafka: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){words}.*correct the setting"):
        require(settings(**kafka), FILE)
