"""The same loop without transactions: flush, then offsets, then entity state.

State follows the offsets, so that a snapshot is never ahead of them: after a crash the rows between are scored
again from the state before them, and published a second time. That repeat is the only difference in promise.

A rebalance repeats nothing: the delivery is committed before partitions go. Should they have been lost already, which
the client does not reliably say, the broker refuses the offsets; should it not, they name what has been published.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from confluent_kafka import KafkaException

from stream_infer.delivery.delivery import Ledger, Outbox, Undone, error_of
from stream_infer.delivery.membership import Membership, NotAMember
from stream_infer.errors import BrokerError
from stream_infer.stopwatch import Stopwatch

__all__ = ["AtLeastOnce"]


class AtLeastOnce:
    """An idempotent producer; ``commit_offsets`` is the consumer's own commit."""

    commits_when_revoked = True

    def __init__(self, outbox: Outbox, commit_offsets: Callable[[dict[int, int]], None]) -> None:
        self.ledger = Ledger()
        self.opened_at: float | None = None
        self.took_s: dict[str, float] = {}
        self._outbox = outbox
        self._commit_offsets = commit_offsets

    def open(self) -> None:
        """Make the producer."""
        self._outbox.open()

    def begin(self) -> Outbox:
        """The outbox."""
        if self.opened_at is None:
            self.opened_at = time.monotonic()
        return self._outbox

    def commit(
        self, positions: dict[int, int], membership: Callable[[], Membership], state: Callable[[], None]
    ) -> None:
        """Wait for every ack, commit the offsets, then write the state as of them."""
        self.ledger.check()
        sent, watch = False, Stopwatch()
        try:
            self._outbox.flush()
            watch.lap("flush")
            sent = True
            membership()
            self._commit_offsets(positions)
            watch.lap("offsets")
            state()
            watch.lap("state")
        except (KafkaException, NotAMember, Undone) as failure:
            self._undo(failure, sent=sent)
        self._end()
        self.took_s = watch.took_s

    def abort(self, reason: str) -> bool:  # noqa: ARG002 - the signature is the protocol's
        """Forget what was written since the last commit; it stays in the topics and will be repeated."""
        self._end()
        return True

    def close(self) -> None:
        """Write out the last state, if the brokers answer, and let go of the producer; else a replay makes it again."""
        with suppress(Undone, BrokerError):
            self._outbox.flush()
        self._outbox.close()

    def _undo(self, failure: Exception, *, sent: bool) -> NoReturn:
        undone = Undone.by(failure, "offsets")
        undone.known = not sent
        self._end()
        if isinstance(failure, KafkaException) and error_of(failure).fatal():
            undone.known = False
            self._outbox.close()
            self._outbox.open()
        raise undone from failure

    def _end(self) -> None:
        self.opened_at = None
        self.ledger.clear()
