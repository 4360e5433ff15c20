"""The sign of a commit whose answer was lost is read from the client's own lines."""

import pytest

from stream_infer.delivery.client_log import ClientLog
from stream_infer.log import get_logger

DEBUG, WARNING = 10, 40


def take(*lines: tuple[str, str]) -> int:
    log = ClientLog(get_logger("test"))
    for facility, line in lines:
        log.log(DEBUG, "%s [%s] %s", facility, "rdkafka#producer-1", line)
    return log.take_unanswered()


def test_a_plain_answer_is_no_sign() -> None:
    assert take(("ENDTXN", "[thrd:main]: EndTxn returned NO_ERROR in txn state CommittingTransaction")) == 0


@pytest.mark.parametrize("error", ["_TRANSPORT", "_TIMED_OUT", "COORDINATOR_NOT_AVAILABLE"])
def test_any_other_answer_is_a_sign_and_is_taken_once(error: str) -> None:
    log = ClientLog(get_logger("test"))
    log.log(
        DEBUG, "", "ENDTXN", "", f"[thrd:main]: EndTxn returned {error} in txn state CommittingTransaction"
    )

    assert log.take_unanswered() == 1
    assert log.take_unanswered() == 0


def test_other_lines_are_no_sign() -> None:
    assert take(("TXNOFFSETS", "returned _TRANSPORT"), ("TXNSTATE", "Transaction state change")) == 0
