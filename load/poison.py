"""Poison: a drain in which a share of the records cannot be decoded, beside one without any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from load.check import check, messages_of
from load.drain import watch
from load.events import USUAL
from load.stand import Stand
from load.topics import Record, fill, records

__all__ = ["POISON", "Poisoned", "poisoned"]

POISON: tuple[bytes | None, ...] = (
    None,
    b"",
    b"\0\0\0",
    b"\1\0\0\0\7rest",
    b"\0\0\0\0\x63unknown schema",
    b"\0\0\0\0\7",
    b"\0\0\0\0\7\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\0\0\0\0\7" + b"\x02a" * 40,
    b"not avro at all",
)
"""Payloads that must be rejected: none at all, cut short, of another format, of an unknown schema, no datum of the
schema."""

_SEED = 7


@dataclass(frozen=True)
class Poisoned:
    """Events a second of one drain, poison included, and CPU time; results were written at these rates."""

    share: float
    events_per_second: float
    cpu_us_per_event: float

    def cpu_us_per_reject(self, clean: Poisoned) -> float:
        """What a reject costs, when every other event costs what it does without poison."""
        return (self.cpu_us_per_event - (1 - self.share) * clean.cpu_us_per_event) / self.share


def poisoned(stand: Stand, events: int, share: float, **settings: str) -> Poisoned:
    """Work a topic off in which such a share is poison. Raises unless each of it is rejected, and all else scored."""
    topic = stand.topic("poison")
    bad = np.random.default_rng(_SEED).random(events) < share
    fill(stand.servers, topic, _records(bad))
    run = stand.worker(topic, **settings)
    try:
        seen = watch(stand, [run], topic, events)
    finally:
        run.stop()
    scored = check(stand, topic)
    rejected_ms = _rejected_ms(stand, topic)
    if len(rejected_ms) != np.count_nonzero(bad) or len(scored.key) + len(rejected_ms) != events:
        raise RuntimeError(f"{topic}: {len(rejected_ms)} rejects of {np.count_nonzero(bad)} poison records")
    written = np.concatenate([scored.written_ms, rejected_ms]) / 1000
    rate = (events - 1) / max(1e-3, float(written.max() - written.min()))
    return Poisoned(share, rate, seen.cpu_s / (events - seen.began) * 1e6)


def _records(bad: NDArray[np.bool_]) -> Iterator[Record]:
    """The usual events, with poison in the place of some."""
    for number, (key, value, partition) in enumerate(records(USUAL, 0, len(bad))):
        yield key, POISON[number % len(POISON)] if bad[number] else value, partition


def _rejected_ms(stand: Stand, topic: str) -> NDArray[np.int64]:
    """When each reject was written."""
    times = [
        m.timestamp()[1] for messages in messages_of(stand.servers, f"{topic}.rejected") for m in messages
    ]
    return np.array(times, np.int64)
