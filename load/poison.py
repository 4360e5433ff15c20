"""Poison: drains in which a share of the records cannot be decoded, beside one without any."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from load.check import check, messages_of
from load.drain import rate, watch
from load.events import USUAL
from load.measurement import Measurement
from load.plan import Plan
from load.processes import Strangers
from load.stand import Stand
from load.topics import Record, fill, records

__all__ = ["POISON", "poison"]

_SHARES = (0.0, 0.01, 0.1)

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


def poison(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """Drain without poison, and with each share of it: what records that cannot be decoded cost."""
    for _ in range(plan.repeats):
        clean_us = 0.0
        for share in _SHARES:
            figures, strangers = _drained(stand, plan, share)
            spent_us = figures["cpu_us_per_event"]
            clean_us = clean_us or spent_us
            if share:  # every other event costs what it did without poison, right before
                figures["cpu_us_per_reject"] = (spent_us - (1 - share) * clean_us) / share
            yield Measurement(
                "poison", f"{share:.0%} poison", "worker", plan.events, figures, strangers=strangers
            )


def _drained(stand: Stand, plan: Plan, share: float) -> tuple[dict[str, float], float]:
    """Figures of a drain, poison included, and what strangers had.

    Raises RuntimeError unless all poison is rejected, and all else scored.
    """
    topic = stand.topic("poison")
    bad = np.random.default_rng(_SEED).random(plan.events) < share
    fill(stand.servers, topic, _records(bad))
    strangers = Strangers()
    run = stand.worker(topic, **plan.settings)
    try:
        seen = watch(stand, [run], topic, plan.events)
        theirs = strangers.share()
    finally:
        run.stop()
    scored, rejected_ms = check(stand, topic), _rejected_ms(stand, topic)
    if len(rejected_ms) != np.count_nonzero(bad) or len(scored.key) + len(rejected_ms) != plan.events:
        raise RuntimeError(f"{topic}: {len(rejected_ms)} rejects of {np.count_nonzero(bad)} poison records")
    figures = {
        "events_per_s": rate(np.sort(np.concatenate([scored.written_ms, rejected_ms])) / 1000),
        "cpu_us_per_event": seen.cpu_s / (plan.events - seen.began) * 1e6,
        "peak_rss_mib": seen.peak_rss_bytes / 2**20,
    }
    return figures, theirs


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
