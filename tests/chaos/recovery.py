"""How long results stay away after a fault, and how late events are, as the reader through the faults sees it."""

from __future__ import annotations

import re
import time
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from tests.chaos.evidence import SCORED
from tests.chaos.rig import Rig

__all__ = ["Watch", "coordinator_wait_s"]

_BEFORE_S = 0.5
_AFTER_MS = 1_000
_WITHIN_S = 120.0
_PRODUCER = re.compile(r"^(\S+Z) \w+ (new producer|rewound) ", re.MULTILINE)


class Watch:
    """Of one fault: made just before it. ``gap_s`` and ``delays_s`` are known once ``wait`` has returned.

    The gap is the longest time without a new scored event in any partition; the delays are those of all events sent
    from the fault on, until each partition has an event that was sent a second after the fault.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._first_part = len(rig.live.parts)
        self._began_s = time.time()
        self.gap_s = 0.0
        self.delays_s: NDArray[np.float64] = np.empty(0)

    def wait(self) -> None:
        """Until results are back in every partition. Raises TimeoutError."""
        deadline = time.monotonic() + _WITHIN_S
        while not self._look():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no results in some partition {_WITHIN_S:g} s after a fault")
            self._rig.wait(0.2)

    def _look(self) -> bool:
        parts = [
            part for part in self._rig.live.parts[max(0, self._first_part - 50) :] if part.kind[0] == SCORED
        ]
        if not parts:
            return False
        partition, sent_ms, received = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("source_partition", "time_ms", "received_s")
        )
        back = partition[sent_ms >= self._began_s * 1000 + _AFTER_MS]
        if len(np.unique(back)) < self._rig.options.partitions:
            return False
        recent = received >= self._began_s - _BEFORE_S
        self.gap_s = max(
            float(np.diff(received[recent & (partition == p)]).max(initial=0.0))
            for p in range(self._rig.options.partitions)
        )
        after = sent_ms >= self._began_s * 1000
        self.delays_s = received[after] - sent_ms[after] / 1000
        return True


def coordinator_wait_s(log: str, since_s: float) -> float:
    """The longest that a worker waited for the brokers to take a new producer, from a time (epoch s) on; 0 if never.

    They do once its transaction coordinator has moved and has read its log: no client can be faster.
    """
    longest_s, began_s = 0.0, None
    for stamp, what in _PRODUCER.findall(log):
        at_s = datetime.fromisoformat(stamp).timestamp()
        if at_s < since_s:
            continue
        if what == "new producer":
            began_s = at_s
        elif began_s is not None:
            longest_s, began_s = max(longest_s, at_s - began_s), None
    return longest_s
