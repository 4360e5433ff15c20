"""The sign of a commit whose answer was lost is read from the client's own lines."""

import logging

import pytest

from stream_infer.delivery.client_log import ClientLog
from stream_infer.log import get_logger

DEBUG, WARNING = 10, 40


def end_txn(answer: str) -> str:
    return f"[thrd:main]: EndTxn returned {answer} in state CommittingTransaction (may_retry=true)"


def take(*lines: tuple[str, str]) -> int:
    log = ClientLog(get_logger("test"))
    for facility, line in lines:
        log.log(DEBUG, "%s [%s] %s", facility, "rdkafka#producer-1", line)
    return log.take_unanswered()


def test_a_plain_answer_is_no_sign() -> None:
    assert take(("ENDTXN", end_txn("NO_ERROR"))) == 0


@pytest.mark.parametrize("error", ["_TRANSPORT", "_TIMED_OUT_QUEUE", "COORDINATOR_NOT_AVAILABLE"])
def test_any_other_answer_is_a_sign_and_is_taken_once(error: str) -> None:
    log = ClientLog(get_logger("test"))
    log.log(DEBUG, "", "ENDTXN", "", end_txn(error))
    log.log(DEBUG, "", "ENDTXN", "", end_txn("NO_ERROR"))

    assert log.take_unanswered() == 1
    assert log.take_unanswered() == 0


@pytest.mark.parametrize(
    "broker",
    [
        "[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/1: Broker",
        "[thrd:TxnCoordinator]: TxnCoordinator: Broker",
    ],
)
def test_a_connection_that_was_up_and_broke_is_a_sign(broker: str) -> None:

    assert take(("STATE", f"{broker} changed state UP -> DOWN")) == 1
    assert take(("STATE", f"{broker} changed state CONNECT -> DOWN")) == 0
    assert take(("STATE", f"{broker} changed state APIVERSION_QUERY -> UP")) == 0


def test_that_to_a_bootstrap_server_is_none() -> None:
    """It carries no request of a transaction, and the client itself closes it as soon as it knows the brokers."""
    server = "127.0.0.1:9092/bootstrap"

    assert take(("STATE", f"[thrd:{server}]: {server}: Broker changed state UP -> DOWN")) == 0


def test_other_lines_are_no_sign() -> None:
    assert take(("TXNOFFSETS", "returned _TRANSPORT"), ("TXNSTATE", "Transaction state change")) == 0


def test_a_client_that_cannot_connect_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = ClientLog(get_logger("test"), clock=lambda: now[0])
    with caplog.at_level(logging.WARNING, "test"):
        for tick in range(100):
            now[0] = tick / 10
            log.log(WARNING, "", "FAIL", "", "Connection refused")

    assert [record.fields["left_out"] for record in caplog.records] == [0, 49]  # type: ignore[attr-defined]
