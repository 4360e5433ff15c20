"""The quarantine with a real sandbox: which rows may be worked on, which are rejected, and what is only bad luck."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.delivery.delivery import Undone
from stream_infer.quarantine.attempts import Attempts
from stream_infer.quarantine.quarantine import ERROR, Quarantine
from stream_infer.quarantine.sandbox import Sandbox, SandboxLimits
from stream_infer.records import Batch, Blobs, Text

PROGRAM = [sys.executable, "-m", "tests.unit.deadly_stages"]
MORE_BYTES = 200 << 20


def batch(*payloads: bytes, partition: int = 0, start: int = 0) -> Batch:
    rows = Blobs.of(payloads)
    count = len(payloads)
    return Batch(
        rows.data,
        rows.ends,
        rows.null,
        np.full(count, partition, np.int32),
        np.arange(start, start + count),
        np.full(count, -1, np.int64),
        Blobs.of([None] * count),
    )


class Records:
    def __init__(self, found: list[tuple[bytes, bytes]]) -> None:
        self.found = found

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.found)


class Table:
    """Entities by slot: what the worker knows of them is sent along."""

    def __init__(self, **state: bytes) -> None:
        self.names = [name.encode() for name in state]
        self.values = list(state.values())

    def find(self, partition: NDArray[np.int32], entity: Text) -> NDArray[np.int64]:
        names = [entity[row] for row in range(len(entity))]
        return np.array([self.names.index(n) if n in self.names else -1 for n in names], np.int64)

    def records(self, slots: NDArray[np.int64]) -> Records:
        return Records([(self.names[slot], self.values[slot]) for slot in slots.tolist()])


class Worker:
    """Deals with the parts as the worker does, and notes what it was given."""

    def __init__(
        self,
        command: Sequence[str] = PROGRAM,
        *,
        suspect_until: int = 1000,
        timeout_s: float = 30.0,
        **state: bytes,
    ) -> None:
        self.attempts = Attempts(1, 1000, "aa", lambda _, position: position)
        self.attempts.place(0, 0, suspect_until, "stream-infer deaths=1 by=")
        self.noted: list[tuple[int, int]] = []
        self.sandbox = Sandbox(command, {}, SandboxLimits(timeout_s, MORE_BYTES))
        self.quarantine = Quarantine(
            self.attempts, self.sandbox, Table(**state), lambda *of: self.noted.append(of)
        )
        self.worked: list[bytes | None] = []
        self.parts: list[int] = []
        self.rejected: list[tuple[bytes | None, str, str]] = []
        self.reasons: list[str] = []
        self.settled = 0

    def work(self, whole: Batch) -> Worker:
        for part, rejects in self.quarantine.parts(whole, self.settle, self.attend):
            if rejects is None:
                self.worked += list(part.values)
                self.parts.append(len(part))
            else:
                self.rejected += [(part.values[row], fault.stage, fault.error) for row, fault in rejects]
                self.reasons += [fault.reason for _, fault in rejects]
        return self

    def settle(self) -> None:
        self.settled += 1

    def attend(self) -> None:
        pass


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    made: list[Worker] = []
    yield made
    for worker in made:
        worker.quarantine.close()


def test_rows_that_are_not_suspect_are_not_tried(workers: list[Worker]) -> None:
    worker = Worker([sys.executable, "-c", "raise SystemExit(1)"], suspect_until=0)
    worker.work(batch(b"kill-decode", b"b"))

    assert worker.worked == [b"kill-decode", b"b"]
    assert worker.settled == 0


def test_killers_are_found_one_by_one_and_all_others_are_worked_on_in_order(workers: list[Worker]) -> None:
    workers.append(worker := Worker(suspect_until=6))
    worker.work(
        batch(b"a", b"b kill-score", b"c", b"d kill-decode", b"e", b"f", b"g kill-score, but not suspect")
    )

    assert worker.worked == [b"a", b"c", b"e", b"f", b"g kill-score, but not suspect"]
    assert worker.rejected == [(b"b kill-score", "score", ERROR), (b"d kill-decode", "decode", ERROR)]
    assert all("did not survive: it died of SIGABRT" in reason for reason in worker.reasons)
    assert worker.attempts.found_any
    worker.quarantine.settle()
    assert worker.noted == [(1, 6)]


def test_a_hang_too_much_memory_and_an_uncaught_error_kill_too(workers: list[Worker]) -> None:
    workers += [patient := Worker(timeout_s=60.0), hasty := Worker(timeout_s=4.0)]
    patient.work(batch(b"memory"))
    patient.work(batch(b"raise"))
    hasty.work(batch(b"hang"))

    assert [stage for _, stage, _ in patient.rejected + hasty.rejected] == ["score"] * 3
    assert f"more than {MORE_BYTES} bytes of memory" in patient.reasons[0]
    assert "ended with exit code 1" in patient.reasons[1]
    assert "no sign of life for 4 s" in hasty.reasons[0]


def test_who_kills_alone_but_once_is_not_rejected(workers: list[Worker], tmp_path: Path) -> None:
    workers.append(worker := Worker(once=bytes(tmp_path / "done")))
    worker.work(batch(b"once"))

    assert worker.worked == [b"once"]
    assert not worker.rejected


def test_rows_that_only_kill_together_are_worked_on_alone(workers: list[Worker]) -> None:
    workers.append(worker := Worker())
    worker.work(batch(b"a crowd", b"b", b"c"))

    assert worker.worked == [b"a crowd", b"b", b"c"]
    assert worker.parts == [1, 1, 1]
    assert not worker.rejected


def test_the_state_of_the_entity_is_what_kills(workers: list[Worker]) -> None:
    workers.append(worker := Worker(harmless=b"fine", deadly=b"kill"))
    worker.work(batch(b"harmless", b"deadly", b"unknown"))

    assert worker.worked == [b"harmless", b"unknown"]
    assert [payload for payload, _, _ in worker.rejected] == [b"deadly"]


def test_a_broken_model_is_no_record_s_fault(workers: list[Worker]) -> None:
    workers.append(worker := Worker())
    worker.work(batch(b"broken", b"b"))

    assert worker.worked == [b"broken", b"b"]


def test_without_a_sandbox_nothing_is_rejected() -> None:
    worker = Worker([sys.executable, "-c", "raise SystemExit(1)"])
    worker.work(batch(b"a", b"b kill-score"))

    assert worker.parts == [1, 1]
    assert not worker.rejected


def test_a_worker_that_is_asked_to_stop_ends_the_trial(workers: list[Worker]) -> None:
    workers.append(worker := Worker())

    def stop() -> None:
        raise Undone("stopping", "in the midst of a trial")

    worker.attend = stop  # type: ignore[method-assign]
    with pytest.raises(Undone):
        worker.work(batch(b"hang"))

    assert not worker.worked
    assert not worker.rejected
