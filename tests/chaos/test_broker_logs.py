"""A transaction marker that a broker left out is found in its log, and told by the report."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.broker_logs import BrokerLogs

# As Kafka 4.3.1 logs it; a few partitions are named as a Set.
LINE = (
    "18:02:11.345 INFO [Transaction Marker Channel Manager 2]: Couldn't find leader endpoint for partitions {} while "
    "trying to send transaction markers for app-0, these partitions are likely deleted already and hence can be "
    "skipped (kafka.coordinator.transaction.TransactionMarkerChannelManager)\n"
)


def test_left_out_markers_are_counted_by_partition_from_where_the_run_began(tmp_path: Path) -> None:
    first, second = tmp_path / "node-1.log", tmp_path / "node-2.log"
    first.write_text(LINE.format("Set(app.scored-9)"))
    logs = BrokerLogs(tmp_path)
    with first.open("a") as log:
        log.write("18:02:11.100 INFO [Broker id=1] Stopped fetchers (state.change.logger)\n")
        log.write(LINE.format("HashSet(app.state-1, app.scored-2, __consumer_offsets-0)"))
    second.write_text(LINE.format("Set(app.scored-2)"))

    assert logs.markers_left_out() == {"__consumer_offsets-0": 1, "app.scored-2": 2, "app.state-1": 1}


def test_lines_of_the_run_alone_are_copied(tmp_path: Path) -> None:
    log, kept = tmp_path / "node-1.log", tmp_path / "kept"
    log.write_text("before\n")
    logs = BrokerLogs(tmp_path)
    with log.open("a") as more:
        more.write("during\n")
    kept.mkdir()

    logs.copy_to(kept)

    assert (kept / "node-1.log").read_text() == "during\n"


def test_brokers_that_left_out_nothing_are_not_blamed(tmp_path: Path) -> None:
    (tmp_path / "node-1.log").write_text("18:02:11.100 INFO [KafkaServer id=1] started\n")

    assert BrokerLogs(tmp_path).markers_left_out() == {}
