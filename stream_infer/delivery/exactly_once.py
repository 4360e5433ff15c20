"""Scores, rejects, entity state and input offsets in one Kafka transaction.

The rules, each with the failure it prevents:

1. Begin at the first record, never while waiting for input: a transaction times out from its start.
2. Flush before the offsets: offsets sent while records are in flight wait for a retry timer (100 ms against 4 ms).
3. Offsets go in with the metadata of a live membership, read after a poll served pending rebalances.
4. ``commit`` and ``abort`` are resumed while the error says so; anything else ends the transaction. Each call has a
   time-out: without one it was seen to outlast the transaction, for as long as the brokers were cut off.
5. A fatal error, an unclassified one, or a request whose answer was not seen ends the *producer*: a new one fences
   whatever is still on its way (late EndTxn, late TxnOffsetCommit: client_log.py). So does a connection lost before the
   offsets are taken: librdkafka remembers the group's coordinator, and waits for ever for one that has left the
   cluster (the handle it remembers is never connected again). A new producer asks who it is. It is made as soon as the
   loss is seen: what waits for the old one's answers waits for nothing. So do records that are not taken in time: what
   held them up may be answered after the abort, and an AddPartitionsToTxn that is fails an assertion of librdkafka's,
   which ends the process. While offsets are sent the client does not even keep to their time-out: they are sent from a
   thread of their own, and a producer that does not come back is left to it.
6. After anything but a clean commit the caller goes back to the positions that the broker has, never to
   remembered ones: the commit may have happened. It is ``known`` that they are the same only where the commit was not
   even asked for, and either the offsets were not sent and the abort was answered with a plain yes, or a new producer
   has fenced the old one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stream_infer.delivery.bounded import Caller
from stream_infer.delivery.delivery import CONNECTION_LOST, NOT_ACKNOWLEDGED, Ledger, Outbox, Undone, error_of
from stream_infer.delivery.membership import Membership, NotAMember
from stream_infer.errors import DeliveryError
from stream_infer.log import get_logger
from stream_infer.stopwatch import Stopwatch

__all__ = ["ExactlyOnce"]

_LOG = get_logger(__name__)
_INIT_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
_STEP_S = 1.0
_OFFSETS_S = 5.0
_GRACE_S = 0.5
_STUCK = "offsets_stuck"
_UNANSWERED = frozenset({CONNECTION_LOST, NOT_ACKNOWLEDGED, _STUCK})
"""Causes that leave a request without its answer, before the commit is asked for."""


def _nothing(_: dict[int, int]) -> list[TopicPartition]:
    return []


class ExactlyOnce:
    """One transaction at a time; see the module for its rules.

    It is never committed inside a rebalance: whether the partitions were lost before is not reliably told.
    ``ready_timeout_s`` bounds how long a broker may refuse a new producer; ``progress`` is called while waiting,
    ``rebuilt`` with the reason when a producer was replaced. ``beside`` gives the offsets of other topics that go in
    with the input's of these partitions, ``note`` what is committed beside an offset for whoever restores from it.
    """

    commits_when_revoked = False

    def __init__(
        self,
        outbox: Outbox,
        input_topic: str,
        timeout_s: float,
        *,
        ready_timeout_s: float,
        progress: Callable[[], None],
        rebuilt: Callable[[str], None],
        beside: Callable[[dict[int, int]], list[TopicPartition]] = _nothing,
        note: Callable[[int, int], str],
    ) -> None:
        self.ledger = Ledger()
        self.opened_at: float | None = None
        self.took_s: dict[str, float] = {}
        self._outbox = outbox
        self._input_topic = input_topic
        self._beside = beside
        self._note = note
        self._timeout_s = timeout_s
        self._offsets_s = min(_OFFSETS_S, timeout_s)
        self._sending = Caller("sending-offsets")
        self._ready_timeout_s = ready_timeout_s
        self._progress = progress
        self._rebuilt = rebuilt

    def open(self) -> None:
        """Make the producer and fence every earlier one of this transactional id."""
        self._outbox.open()
        deadline = time.monotonic() + self._ready_timeout_s
        while True:
            self._progress()
            try:
                self._outbox.producer.init_transactions(_INIT_TIMEOUT_S)
            except KafkaException as failure:
                self._retry_init(failure, deadline)
            else:
                self._outbox.unanswered()  # what the fencing itself met is settled
                return

    def begin(self) -> Outbox:
        """The outbox, inside a transaction."""
        if self.opened_at is None:
            try:
                self._outbox.producer.begin_transaction()
            except KafkaException as failure:
                self._undo(failure)
            self.opened_at = time.monotonic()
        return self._outbox

    def commit(
        self, positions: dict[int, int], membership: Callable[[], Membership], state: Callable[[], None]
    ) -> None:
        """End the transaction with these positions (rules 2 to 6)."""
        self.ledger.check()
        sent, watch = False, Stopwatch()
        try:
            self.begin()
            state()
            watch.lap("state")
            self._flush()
            watch.lap("flush")
            offsets = [
                TopicPartition(self._input_topic, *entry, self._note(*entry)) for entry in positions.items()
            ]
            offsets += self._beside(positions)
            sent = True
            metadata = membership().metadata
            producer = self._outbox.producer
            self._until_done(
                lambda: self._send(partial(producer.send_offsets_to_transaction, offsets, metadata)),
                self._offsets_s,
            )
            watch.lap("offsets")
            self._until_done(lambda: producer.commit_transaction(_STEP_S), self._timeout_s)
            watch.lap("commit")
        except (KafkaException, NotAMember, Undone) as failure:
            self._undo(failure, sent=sent)
        self._end()
        self.took_s = watch.took_s
        if self._outbox.unanswered():
            self._rebuild("commit_unanswered")

    def abort(self, reason: str) -> bool:
        """Drop the open transaction, if any; True where the broker said a plain yes."""
        if self.opened_at is None:
            return True
        _LOG.info("abort", reason=reason)
        self._end()
        try:
            self._until_done(lambda: self._outbox.producer.abort_transaction(_STEP_S), self._timeout_s)
        except KafkaException as failure:
            self._rebuild(error_of(failure).name())
            return False
        if self._outbox.unanswered():
            self._rebuild("abort_unanswered")
            return False
        self._outbox.forget_failures()
        return True

    def close(self) -> None:
        """Abort what is open, if the brokers answer, and let go of the producer; else they end it themselves."""
        if self.opened_at is not None:
            self._end()
            with suppress(KafkaException):
                self._outbox.producer.abort_transaction(_CLOSE_TIMEOUT_S)
        self._sending.close()
        self._outbox.close()

    def _flush(self) -> None:
        """Wait for every record; raises Undone also where the offsets could not be trusted to arrive (rule 5)."""
        self._outbox.flush(undisturbed=True)
        if self._outbox.disturbed():
            raise Undone(CONNECTION_LOST, "a broker went away before the offsets were sent")

    def _send(self, offsets: Callable[[float], None]) -> None:
        """Send offsets; raises Undone where a connection is lost meanwhile or the client does not come back."""
        if not self._sending.returns_within(
            partial(offsets, self._offsets_s), self._offsets_s + _GRACE_S, self._outbox.disturbed
        ):
            self._end()
            self._outbox.abandon(self._sending.thread)
            raise Undone(_STUCK, "a broker went away, or did not answer in time, while the offsets were sent")

    def _undo(self, failure: Exception, *, sent: bool = False) -> NoReturn:
        """End a transaction that failed, by abort or by a new producer; always raises Undone."""
        undone = Undone.by(failure, "transaction")
        unanswered = undone.cause in _UNANSWERED
        if unanswered or (isinstance(failure, KafkaException) and _is_fatal(failure)):
            self._end()
            self._rebuild(undone.cause)
            undone.known = unanswered  # the new producer has aborted it: its end was not even asked for
        elif self.opened_at is not None:
            undone.known = self.abort(undone.cause) and not sent
        raise undone from failure

    def _rebuild(self, reason: str) -> None:
        """A new producer, at once: it fences the old one, whose end would be waited for as long as brokers are away."""
        _LOG.warning("new producer", reason=reason)
        self._rebuilt(reason)
        if self._outbox.producer is not None:
            self._outbox.abandon()
        self.open()

    def _end(self) -> None:
        self.opened_at = None
        self.ledger.clear()

    def _until_done(self, step: Callable[[], None], within_s: float) -> None:
        """Call a step until it stops asking to be called again, or its time is over."""
        deadline = time.monotonic() + within_s
        while True:
            self._progress()
            try:
                return step()
            except KafkaException as failure:
                if not error_of(failure).retriable() or time.monotonic() > deadline:
                    raise
            except SystemError as error:  # the client's logger callback met a fatal error
                text = str(error.__cause__ or error)
                raise KafkaException(KafkaError(KafkaError._FATAL, text, fatal=True)) from error  # noqa: SLF001

    def _retry_init(self, failure: KafkaException, deadline: float) -> None:
        error = error_of(failure)
        if time.monotonic() > deadline or (error.fatal() and not error.retriable()):
            raise DeliveryError(
                f"no transactional producer: {error.str()}. Cure: see that the brokers are up, that the principal "
                "has Write and Describe on the transactional id (prefix app.id), and that "
                "delivery.transaction_timeout_ms is within the brokers' transaction.max.timeout.ms"
            ) from failure
        _LOG.warning("waiting for the transaction coordinator", reason=error.str())
        if error.fatal() or not error.retriable():
            self._outbox.close()
            self._outbox.open()
        time.sleep(0.1)


def _is_fatal(failure: KafkaException) -> bool:
    """Fatal, or of neither class: treat as fatal (rdkafka.h). A time-out that was retried to the end is unknown."""
    error = error_of(failure)
    return bool(error.fatal() or not error.txn_requires_abort())
