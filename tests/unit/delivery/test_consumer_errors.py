"""What a consumer's errors lead to."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from stream_infer.delivery.consumer_errors import Fences, meet
from stream_infer.errors import BrokerError

_FENCE = KafkaError(KafkaError.FENCED_INSTANCE_ID)
_FATAL_FENCE = KafkaError(KafkaError._FATAL, f"Fatal error: {_FENCE.str()}: Fatal consumer error", fatal=True)
_OTHER = KafkaError(KafkaError._FATAL, "Fatal error: Broker: Something else", fatal=True)


@pytest.mark.parametrize("error", [_FENCE, _FATAL_FENCE])
def test_a_few_fences_are_late_requests_and_one_more_is_another_process(error: KafkaError) -> None:
    fences = Fences(clock=lambda: 0.0)

    assert [fences.met(error) for _ in range(3)] == [True] * 3
    with pytest.raises(BrokerError, match=r"4 times within a minute.*same delivery.slot. Cure"):
        fences.met(error)


def test_fences_of_long_ago_do_not_count() -> None:
    now = iter(range(0, 10_000, 30))
    fences = Fences(clock=lambda: float(next(now)))

    assert all(fences.met(_FENCE) for _ in range(100))


@pytest.mark.parametrize("error", [_OTHER, KafkaError(KafkaError._MAX_POLL_EXCEEDED)])
def test_other_errors_are_no_fences(error: KafkaError) -> None:
    assert not Fences().met(error)


def test_a_fatal_error_that_is_no_fence_ends_the_worker() -> None:
    with pytest.raises(BrokerError, match=r"Something else\. Cure: start the worker again"):
        meet(_OTHER)
