"""What a transaction holds, written into the transaction itself: how a torn one is found.

A number on each record would say the same and would change what is tested: records with headers take another way
through the sink. The manifest is one more record per transaction; it names the input positions whose results it holds.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.service import Service
from tests.chaos.evidence import Manifest, key_of

__all__ = ["Manifests", "parse", "runs_of"]


class Manifests:
    """Notes what is published, and writes it down when the delivery commits."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._worker = uuid.uuid4().hex[:12]
        self._number = 0
        self._sources: list[NDArray[np.int64]] = []

    def install(self, service: Service) -> None:
        """Wrap the publisher and the delivery of a service that does not run yet."""
        worker: Any = service.worker
        publisher, delivery = worker._stages.publisher, worker._delivery
        publish, commit, abort = publisher.publish, delivery.commit, delivery.abort

        def publish_and_note(batch: Any, *results: Any) -> Any:
            columns, scores, rejects = publish(batch, *results)
            rows = np.concatenate([columns.rows, *(np.asarray(r.rows, np.int64) for r in rejects)])
            self._sources.append(key_of(batch.partition[rows], batch.offset[rows]))
            return columns, scores, rejects

        def commit_with_manifest(
            positions: dict[int, int], membership: Any, state: Callable[[], None]
        ) -> None:
            def state_and_manifest() -> None:
                state()
                self._write(delivery.begin())

            try:
                commit(positions, membership, state_and_manifest)
            finally:
                self._sources.clear()

        def abort_and_forget(reason: str) -> bool:
            self._sources.clear()
            return bool(abort(reason))

        publisher.publish = publish_and_note
        delivery.commit = commit_with_manifest
        delivery.abort = abort_and_forget

    def _write(self, outbox: Any) -> None:
        if not self._sources:
            return
        self._number += 1
        runs = runs_of(np.concatenate(self._sources))
        head = json.dumps({"worker": self._worker, "number": self._number}).encode()
        outbox.write(self._topic, head + b"\n" + runs.tobytes(), None, 0)


def runs_of(sources: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions as runs (n, 3) of partition, first and last offset; a position noted twice makes two runs."""
    ordered = np.sort(sources)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 2) != 1)
    ends = np.append(starts[1:] - 1, len(ordered) - 1)
    mask = (1 << 48) - 1
    return np.column_stack([ordered[starts] >> 48, ordered[starts] & mask, ordered[ends] & mask])


def parse(value: bytes) -> Manifest:
    """Read what ``Manifests`` wrote."""
    head, _, body = value.partition(b"\n")
    said = json.loads(head)
    return Manifest(said["worker"], said["number"], np.frombuffer(body, np.int64).reshape(-1, 3))
