"""Log lines: one a line, readable by people and machines, safe from what strangers send."""

import io
import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.log import configure, escaped, get_logger


@pytest.fixture(autouse=True)
def restored():
    package = logging.getLogger("stream_infer")
    before = package.handlers[:], package.level, package.propagate
    yield
    package.handlers[:], package.level, package.propagate = before[0], before[1], before[2]


def logged(form, tell, level="info"):
    stream = io.StringIO()
    configure(form, level, stream)
    tell(get_logger("stream_infer.worker"))
    return stream.getvalue()


def test_text_is_time_level_event_fields():
    line = logged(
        "text", lambda log: log.info("assigned", partitions=[0, 1], epoch=3, took_s=0.12345678, why="a b")
    )
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO assigned partitions=\[0,1\] epoch=3 took_s=0\.123457 why="a b"\n',
        line,
    )


def test_json_is_one_object_a_line():
    lines = logged(
        "json", lambda log: (log.info("assigned", partitions=[0, 1]), log.warning("slow", took_s=0.5))
    )
    first, second = map(json.loads, lines.splitlines())
    assert first["event"] == "assigned"
    assert first["partitions"] == [0, 1]
    assert first["level"] == "info"
    assert first["logger"] == "stream_infer.worker"
    assert second["took_s"] == 0.5


def test_the_level_is_kept():
    assert logged("text", lambda log: log.info("quiet"), level="warning") == ""
    assert "DEBUG loud" in logged("text", lambda log: log.debug("loud"), level="debug")


def test_only_our_lines_go_there():
    assert logged("text", lambda _: logging.getLogger("elsewhere").error("not ours")) == ""


def fail(log):
    failures = []
    try:
        int("x\x1b[31m")
    except ValueError as error:
        failures.append(error)
    log.error("failed", raised=failures[0], partition=3)


def test_an_error_brings_its_traceback():
    text = logged("text", fail)
    assert " ERROR failed partition=3\n" in text
    assert "    Traceback (most recent call last):\n" in text
    assert "\x1b" not in text
    line = json.loads(logged("json", fail))
    assert "ValueError" in line["traceback"]


@pytest.mark.parametrize("form", ["text", "json"])
@given(value=st.text())
def test_a_value_never_makes_a_second_line(form, value):
    out = logged(form, lambda log: log.info("rejected", reason=value))
    assert out.count("\n") == 1
    assert out.endswith("\n")
    assert out[:-1].isprintable()


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_stars(form):
    names = ("sasl_password", "client_secret", "access_token", "ssl.key.pem", "sasl.oauthbearer.config")
    out = logged(form, lambda log: log.info("connecting", **dict.fromkeys(names, "c4n4ry")))
    assert "c4n4ry" not in out
    assert out.count("***") == len(names)


def test_lines_of_a_kafka_client_fit_in():
    stream = io.StringIO()
    configure("text", "info", stream)
    logging.getLogger("stream_infer.client").log(logging.WARNING, "%s [%s] %s", "FAIL", "rdkafka#1", "down\n")
    assert " WARNING FAIL [rdkafka#1] down\\n\n" in stream.getvalue()


@given(st.text(), st.integers(10, 100))
def test_escaped_text_is_printable_and_bounded(text, longest):
    safe = escaped(text, longest)
    assert safe.isprintable()
    # A character may become up to ten (\U0001f600).
    assert len(safe) <= 10 * longest
    assert not (text.isprintable() and len(text) <= longest) or safe == text
