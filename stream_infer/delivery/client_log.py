"""The log of a librdkafka client, and the one thing in it that decides about delivery.

librdkafka retries EndTxn and TxnOffsetCommit silently. A retry means that the first request may still arrive, inside
the *next* transaction of this producer, where it commits or aborts what it should not (KAFKA-17754; librdkafka #5423)
or takes the input's positions back. Nothing is raised and no error callback is called. The ``debug=eos,broker`` lines
are the only sign, and they come in order: an EndTxn that did not simply return, and, since a TxnOffsetCommit
leaves no line of its own, any connection that was up and is not any more. Except that to a bootstrap server, which
carries metadata alone and is closed by the client itself as soon as it has learned of the brokers.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from stream_infer.log import Logger

__all__ = ["ClientLog"]

_END_TXN_ANSWER = re.compile(r"EndTxn returned (\w+)")
_CONNECTION_LOST = re.compile(r"(?<!/bootstrap): Broker changed state UP -> DOWN")
_REPEAT_S = 5.0


class ClientLog:
    """A ``logger`` for one client: passes warnings on, notes what may have left a request without an answer.

    A client that cannot connect says so many times a second: each facility is passed on once in five seconds, with
    the number of lines left out. The client calls ``log`` from its ``poll()`` and ``flush()``, hence on the
    owner thread.
    """

    def __init__(self, logger: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._unanswered_count = 0
        self._said_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def log(self, level: int, _form: str, facility: str, client: str, line: str) -> None:
        """Take one line; the signature is confluent-kafka's call of a logger."""
        if level >= logging.WARNING:
            self._pass_on(facility, client, line)
        elif facility == "ENDTXN":
            answer = _END_TXN_ANSWER.search(line)
            self._unanswered_count += answer is not None and answer[1] != "NO_ERROR"
        elif facility == "STATE":
            self._unanswered_count += _CONNECTION_LOST.search(line) is not None

    @property
    def unanswered_count(self) -> int:
        """How often a request may have lost its answer, or a connection was lost, since ``take_unanswered``."""
        return self._unanswered_count

    def take_unanswered(self) -> int:
        """The same, counted anew from here."""
        count, self._unanswered_count = self._unanswered_count, 0
        return count

    def _pass_on(self, facility: str, client: str, line: str) -> None:
        now = self._clock()
        if now - self._said_at.get(facility, -_REPEAT_S) < _REPEAT_S:
            self._left_out[facility] = self._left_out.get(facility, 0) + 1
            return
        self._said_at[facility] = now
        left_out = self._left_out.pop(facility, 0)
        self._logger.warning("client", name=client, facility=facility, line=line, left_out=left_out)
