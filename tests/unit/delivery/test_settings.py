"""The settings that carry the promise cannot be overridden."""

from confluent_kafka import Consumer, Producer

from stream_infer.delivery.settings import consumer_settings, producer_settings, reader_settings

CONNECTION = {"bootstrap.servers": "broker:9092"}


def test_the_promise_is_put_on_top_of_what_users_say() -> None:
    hostile = {
        "enable.auto.commit": True,
        "isolation.level": "read_uncommitted",
        "auto.offset.reset": "latest",
    }
    settings = consumer_settings(CONNECTION, hostile, "smd", "consumer")

    assert settings["enable.auto.commit"] is False
    assert settings["isolation.level"] == "read_committed"
    assert settings["auto.offset.reset"] == "error"
    assert producer_settings(CONNECTION, {"acks": "1"}, "smd-0", 10_000)["acks"] == "all"


def test_users_tune_the_rest() -> None:
    assert (
        consumer_settings(CONNECTION, {"fetch.wait.max.ms": 7}, "smd", "consumer")["fetch.wait.max.ms"] == 7
    )
    assert producer_settings(CONNECTION, {"linger.ms": 7}, None, 10_000)["linger.ms"] == 7


def test_records_fail_before_their_transaction() -> None:
    settings = producer_settings(CONNECTION, {}, "smd-0", 10_000)

    assert settings["message.timeout.ms"] < settings["transaction.timeout.ms"]


def test_session_time_out_is_set_where_the_client_has_it() -> None:
    assert consumer_settings(CONNECTION, {}, "smd", "classic")["session.timeout.ms"] <= 10_000
    assert "session.timeout.ms" not in consumer_settings(CONNECTION, {}, "smd", "consumer")


def test_a_reader_sees_ends_and_only_what_is_committed() -> None:
    settings = reader_settings(CONNECTION, {}, "smd")

    assert settings["enable.partition.eof"] is True
    assert settings["isolation.level"] == "read_committed"


def test_a_reader_is_made_whatever_bounds_the_member_has() -> None:
    """Its own protocol is classic, where no poll time-out may be shorter than the session."""
    connection = {"bootstrap.servers": "", "log_level": 0}
    for bounds in (
        {"max.poll.interval.ms": 6_000},
        {"session.timeout.ms": 200_000, "max.poll.interval.ms": 300_000},
    ):
        Consumer(reader_settings(connection, bounds, "smd")).close()


def test_the_shortest_transaction_time_out_makes_a_producer() -> None:
    """librdkafka refuses a socket time-out longer than the transaction's."""
    connection = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    Producer(producer_settings(connection, {}, "smd-0", 2_000)).close(0)
