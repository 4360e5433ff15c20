"""The live audience: a read_committed consumer in a thread, and what it saw so far."""

from __future__ import annotations

import itertools
import threading
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from confluent_kafka import KafkaError, Message
from numpy.typing import NDArray

from stream_infer.demo.alarms import Alarm, Alarms
from stream_infer.demo.reading import Reading
from stream_infer.demo.records import ScoredReader, Topics, offset_of
from stream_infer.errors import BrokerError
from stream_infer.models.dataset import Dataset
from stream_infer.rejects import Reject

__all__ = ["Seen", "Watch"]

_LOOK_S = 0.1
_OPEN_WITHIN_S = 30.0
_TOPICS_READ = 3
_RECENT_S = 3.0
_HISTORY = 60


@dataclass(frozen=True)
class Seen:
    """What was seen so far. Rate and latencies are of the last seconds, ``history`` has events per past second."""

    inputs: int = 0
    scored: int = 0
    rejected: int = 0
    anomalies: int = 0
    per_s: float = 0.0
    p50_ms: float = float("nan")
    p99_ms: float = float("nan")
    history: tuple[int, ...] = ()
    latency_history: tuple[float, ...] = ()
    alarms: list[Alarm] = field(default_factory=list)
    alarm_count: int = 0
    false_alarms: int = 0
    events_seen: int = 0
    events_found: int = 0
    reject_errors: tuple[tuple[str, int], ...] = ()
    last_reject: str = ""

    @property
    def outcomes(self) -> int:
        """Events that have ended, one way or the other."""
        return self.scored + self.rejected


class Watch:
    """Reads input, scored and reject topic as they grow.

    Latency runs from the timestamp of an event, the moment its producer made it, to the moment the scored record is
    handed to this consumer: it holds queueing, scoring, the transaction and the fetch.
    """

    def __init__(self, servers: str, topics: Topics, partitions: int, data: Dataset) -> None:
        self._topics = topics
        self._partitions = partitions
        self._reading = Reading(
            servers,
            (topics.input, topics.scored, topics.rejected),
            partitions,
            self._take_all,
            **{"enable.partition.eof": True},
        )
        self._alarms = Alarms(data)
        self._reader = ScoredReader()
        self._lock = threading.Lock()
        self._at_end: set[tuple[str | None, int | None]] = set()
        self._caught_up = threading.Event()
        self._created_ms: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._early: list[tuple[int, int, float]] = []
        self._latency_ms = array("d")
        self._received_s = array("d")
        self._counts: Counter[str] = Counter()
        self._reject_errors: Counter[str] = Counter()
        self._last_reject = ""

    def open(self) -> None:
        """Begin to read; returns when the consumer waits at the end of every partition."""
        self._reading.open()
        deadline = time.monotonic() + _OPEN_WITHIN_S
        while not self._caught_up.wait(_LOOK_S):
            self._reading.check()
            if time.monotonic() > deadline:
                raise BrokerError(f"the topics of the demo cannot be read within {_OPEN_WITHIN_S:g} s")

    def close(self) -> None:
        """Stop reading. May be called twice."""
        self._reading.close()

    def seen(self) -> Seen:
        """Return what was seen so far. Raises what ended the reading, if anything did."""
        self._reading.check()
        with self._lock:
            received_s, latency_ms = np.array(self._received_s), np.array(self._latency_ms)
            counts, alarms = self._counts, self._alarms
            recent_ms, per_s = _recent(received_s, latency_ms)
            history, latency_history = _histories(received_s, latency_ms)
            return Seen(
                inputs=counts["input"],
                scored=counts["scored"],
                rejected=counts["rejected"],
                anomalies=counts["anomalies"],
                per_s=per_s,
                p50_ms=_percentile(recent_ms, 50),
                p99_ms=_percentile(recent_ms, 99),
                history=history,
                latency_history=latency_history,
                alarms=alarms.newest,
                alarm_count=alarms.alarm_count,
                false_alarms=alarms.closed_false_count,
                events_seen=alarms.events_seen,
                events_found=alarms.events_found,
                reject_errors=tuple(self._reject_errors.most_common()),
                last_reject=self._last_reject,
            )

    def latency_ms(self) -> NDArray[np.float64]:
        """Return the latencies of all scored events seen, in milliseconds."""
        with self._lock:
            return np.array(self._latency_ms)

    def strongest(self, count: int) -> list[Alarm]:
        """Return the alarms that are farthest over their thresholds."""
        with self._lock:
            return self._alarms.strongest(count)

    def span_s(self) -> float:
        """Return the time from the first event's timestamp to the newest scored record's arrival."""
        with self._lock:
            first_ms = min((times[0] for times in self._created_ms.values() if times), default=0)
            return max(0.0, self._received_s[-1] - first_ms / 1000) if self._received_s else 0.0

    def _take_all(self, messages: Sequence[Message]) -> None:
        received_ms = time.time_ns() / 1e6
        with self._lock:
            for message in messages:
                self._take(message, received_ms)
            early, self._early = self._early, []
            for partition, offset, at_ms in early:
                self._received(partition, offset, at_ms)

    def _take(self, message: Message, received_ms: float) -> None:
        error, topic = message.error(), message.topic()
        if error is not None:
            self._take_end(message, error)
        elif topic == self._topics.input:
            partition, offset = offset_of(message)
            times = self._created_ms[partition]
            times.extend([-1] * (offset - len(times)))
            times.append(message.timestamp()[1])
            self._counts["input"] += 1
        elif topic == self._topics.scored:
            record = self._reader.read(cast("bytes", message.value()))
            self._counts["scored"] += 1
            self._counts["anomalies"] += record.is_anomaly
            self._alarms.add(record)
            self._received(record.partition, record.offset, received_ms)
        else:
            self._take_reject(message)

    def _take_end(self, message: Message, error: KafkaError) -> None:
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (that is its name)
            raise BrokerError(f"{message.topic()} cannot be read: {error.str()}")
        self._at_end.add((message.topic(), message.partition()))
        if len(self._at_end) == _TOPICS_READ * self._partitions:
            self._caught_up.set()

    def _take_reject(self, message: Message) -> None:
        reject = Reject.parse(cast("list[tuple[str, bytes | None]]", message.headers()))
        self._counts["rejected"] += 1
        if reject is not None:
            self._reject_errors[reject.error] += 1
            self._last_reject = reject.reason

    def _received(self, partition: int, offset: int, received_ms: float) -> None:
        """Note a latency; the scored record may come before the one it was made of."""
        times = self._created_ms[partition]
        if offset >= len(times):
            self._early.append((partition, offset, received_ms))
            return
        self._latency_ms.append(received_ms - times[offset])
        self._received_s.append(received_ms / 1000)


def _recent(
    received_s: NDArray[np.float64], latency_ms: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Latencies and rate of the last seconds."""
    now_s = time.time()
    # Early ones were appended late: the order is right but for some milliseconds.
    at = int(np.searchsorted(received_s, now_s - _RECENT_S))
    recent = latency_ms[at:]
    span_s = min(_RECENT_S, now_s - received_s[0]) if len(received_s) else _RECENT_S
    return recent, len(recent) / max(0.25, float(span_s))


def _histories(
    received_s: NDArray[np.float64], latency_ms: NDArray[np.float64]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Events, and their median latency, of each whole second before this one."""
    if not len(received_s):
        return (), ()
    this_second = int(time.time())
    first = max(int(received_s[0]), this_second - _HISTORY)
    edges = np.searchsorted(received_s, np.arange(first, this_second + 1)).tolist()
    pairs = list(itertools.pairwise(edges))
    medians = tuple(_percentile(latency_ms[start:end], 50) for start, end in pairs)
    return tuple(end - start for start, end in pairs), medians


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")
