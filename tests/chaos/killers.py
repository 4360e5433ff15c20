"""Records that kill the process that works on them: a marked event aborts, hangs or eats memory in a chosen stage.

The mark is the event's id, ``killer-STAGE-WAY``: stage decode or score, way abort, segfault, hang or memory. The same
is planted in the worker (as a patch) and in its sandbox, whose program this module is. Memory ends as under the OOM
killer: the process dies at once of SIGKILL when it has taken too much.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

import stream_infer.build.sandbox as product
from stream_infer.service import Service

__all__ = ["STAGES", "WAYS", "mark", "plant"]

STAGES = ("decode", "score")
WAYS = ("abort", "segfault", "memory", "hang")
_CHUNK_BYTES = 64 << 20
_OOM_BYTES = 1 << 30


def mark(stage: str, way: str, number: int) -> str:
    """The id of a killer."""
    return f"killer-{stage}-{way}-{number}"


def plant(service: Service) -> None:
    """Patch a worker, and let its sandbox be this module."""
    worker: Any = service.worker
    _wrap(worker._stages.decoder, worker._stages.scorer)
    worker._quarantine.sandbox.command = [sys.executable, "-m", "tests.chaos.killers"]


def _wrap(decoder: Any, scorer: Any) -> None:
    decode, score = decoder.decode, scorer.score

    def decode_or_die(batch: Any) -> Any:
        _die_of(batch.payload.tobytes(), "decode")
        return decode(batch)

    def score_or_die(columns: Any, partition: Any, offset: Any) -> Any:
        for row in range(len(columns)):
            _die_of(columns.event_id[row], "score")
        return score(columns, partition, offset)

    decoder.decode, scorer.score = decode_or_die, score_or_die


def _die_of(text: bytes, stage: str) -> None:
    if b"killer-" not in text:
        return
    for way in WAYS:
        if f"killer-{stage}-{way}".encode() in text:
            _DEATHS[way]()


def _hoard() -> None:
    taken = []
    while len(taken) * _CHUNK_BYTES < _OOM_BYTES:
        taken.append(b"\1" * _CHUNK_BYTES)
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


_DEATHS = {
    "abort": os.abort,
    "segfault": lambda: ctypes.string_at(0),
    "memory": _hoard,
    "hang": lambda: time.sleep(3600),
}


class _Deadly(product.Trial):
    """The sandbox's loop, with the killers planted."""

    def run(self) -> None:
        _wrap(self._decoder, self._scorer)
        super().run()


if __name__ == "__main__":
    product.Trial = _Deadly  # type: ignore[misc]
    product.main()
