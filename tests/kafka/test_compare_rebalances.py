"""The analysts' app expelled from its group while it counts: each event once, whatever Faust drops and commits."""

from __future__ import annotations

import asyncio
import copy
import signal
import threading
import time
from collections.abc import Sequence

import pytest

from stream_infer.embedded.ports import free_ports
from tests.kafka.comparisons import records
from tests.kafka.groups import expel
from tests.kafka.test_compare import DEADLINE_S, Analysts, events, numbers

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EXPULSIONS = 5
"""Before positions were the app's own, 30 of them lost 3,709 of 30,060 events."""


class Source(threading.Thread):
    """Writes comparisons until it is stopped, in small transactions, about 150 a second."""

    def __init__(self, analysts: Analysts) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._analysts = analysts
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.1):
            self.sent += self._analysts.writer.write(records(15, seed=self.sent, first=self.sent))

    def stop(self) -> int:
        """Return how many were written."""
        self._stopped.set()
        self.join()
        return self.sent


def test_expelled_while_it_counts_it_counts_each_event_once(kafka, tmp_path):
    analysts = Analysts(kafka, tmp_path)
    source = Source(analysts)
    source.start()
    with analysts.watching() as process:
        counted = 0
        for _ in range(EXPULSIONS):
            counted = events(analysts.wait(process, counted + 1))
            rebalances = recoveries(analysts)
            expel(kafka, f"{analysts.app}-compare")
            deadline = time.monotonic() + DEADLINE_S
            while recoveries(analysts) == rebalances:
                assert time.monotonic() < deadline, analysts.log()
                time.sleep(0.1)
        sent = source.stop()
        live = analysts.wait(process, sent)
    assert events(live) == sent
    assert numbers(live) == numbers(analysts.report("--from-topic"))


def test_a_recovery_that_is_over_before_it_is_waited_for_is_seen(kafka, tmp_path):
    analysts = Analysts(kafka, tmp_path)
    sent = analysts.writer.write(records(300))
    with analysts.watching() as process:
        analysts.wait(process, sent)
        process.send_signal(signal.SIGTERM)
        # 1: Kafka did not answer within ten seconds.
        assert process.wait(DEADLINE_S) in {0, 1}, analysts.log()
    with analysts.watching(wait_late) as process:
        assert events(analysts.wait(process, sent)) == sent


def wait_late(arguments: Sequence[str]) -> None:
    """The command line; Faust waits for the end of a recovery a second after it has let the records come."""
    from faust.transport.consumer import Fetcher  # noqa: PLC0415 - only the child runs the product

    from stream_infer.cli import main  # noqa: PLC0415

    started = Fetcher.maybe_start

    async def late(fetcher: Fetcher) -> bool:
        found = await started(fetcher)
        await asyncio.sleep(1.0)
        return found

    Fetcher.maybe_start = late
    main(list(arguments), prog_name="stream-infer")


def test_a_second_one_takes_a_part_and_gives_it_back(kafka, tmp_path):
    """Both say that they have a part only; then one has all events that both have counted."""
    analysts = Analysts(kafka, tmp_path)
    other = copy.copy(analysts)
    other.port = free_ports(1)[0]
    source = Source(analysts)
    source.start()
    with analysts.watching() as process:
        analysts.wait(process, 1)
        with other.watching() as second:
            wait_part(analysts)
            wait_part(other)
            second.send_signal(signal.SIGTERM)
            assert second.wait(DEADLINE_S) in {0, 1}, other.log()
        sent = source.stop()
        live = analysts.wait(process, sent)
    assert events(live) == sent


def wait_part(analysts: Analysts) -> None:
    """Wait until one has a part of the partitions, and counts it."""
    deadline, counted = time.monotonic() + DEADLINE_S, None
    while True:
        content = analysts.summary()
        now = content.get("events_since_start")
        if content.get("is_whole") is False and recoveries(analysts):
            if counted is not None and now > counted:
                return
            counted = now if counted is None else counted
        assert time.monotonic() < deadline, f"{content.get('is_whole')}, {now}: {analysts.log()}"
        time.sleep(0.2)


def recoveries(analysts: Analysts) -> int:
    """How often the app was given partitions."""
    return analysts.log().count("recovered cells=")
