"""What the ordinary way in holds, and what a rebalance in the midst of a call leaves of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Message

from stream_infer.delivery.message_intake import MessageIntake
from stream_infer.delivery.source import BatchLimits, Taken

Call = Callable[[], list[Message]]


def record(partition: int, offset: int) -> Message:
    return Message(topic="events", partition=partition, offset=offset, key=b"k", value=bytes(100))


class Client:
    """Returns what a script says, call by call; like the real one it answers rebalances inside of its calls."""

    def __init__(self, *calls: Call) -> None:
        self._calls: Iterator[Call] = iter(calls)

    def poll(self, _wait_s: float) -> Message | None:
        return next(iter(self.consume(1, 0)), None)

    def consume(self, _count: int, _wait_s: float) -> list[Message]:
        return next(self._calls, list)()


@pytest.fixture
def intake() -> MessageIntake:
    return MessageIntake(BatchLimits(100, 250))


def offsets(taken: Taken) -> list[tuple[int, int]]:
    batch = taken.batch
    return [] if batch is None else list(zip(batch.partition.tolist(), batch.offset.tolist(), strict=True))


def dropping(intake: MessageIntake, partition: int, *messages: Message) -> Call:
    """A call in which the partition goes back."""

    def call() -> list[Message]:
        intake.drop([partition])
        return list(messages)

    return call


def test_a_record_held_before_a_rebalance_that_serve_answers_is_gone(intake: MessageIntake) -> None:
    intake.open(Client(lambda: [record(0, 70)], dropping(intake, 0), lambda: [record(0, 10)], list))
    intake.serve()
    intake.serve()

    assert offsets(intake.take(0)) == [(0, 10)]


def test_what_comes_in_the_midst_of_a_rebalance_is_not_held_for_the_next_batch(intake: MessageIntake) -> None:
    ahead = [record(0, offset) for offset in range(71, 76)]
    intake.open(Client(lambda: [record(1, 3)], dropping(intake, 0, *ahead, record(1, 4))))

    assert offsets(intake.take(0)) == [(1, 3), (1, 4)]
    assert offsets(intake.take(0)) == []


def test_what_the_byte_limit_cuts_off_comes_next(intake: MessageIntake) -> None:
    intake.open(Client(lambda: [record(0, 1)], lambda: [record(0, 2), record(0, 3)]))

    assert offsets(intake.take(0)) == [(0, 1), (0, 2)]
    assert offsets(intake.take(0)) == [(0, 3)]
