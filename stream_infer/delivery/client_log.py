"""The log of a librdkafka client, and the one thing in it that decides about delivery.

librdkafka retries EndTxn silently. A retry means that the first request may still arrive, inside the *next*
transaction of this producer, where it commits or aborts what it should not (KAFKA-17754; librdkafka #5423). Nothing
is raised and no error callback is called; the ``debug=eos`` lines are the only sign, and they come in order.
"""

from __future__ import annotations

import logging
import re

from stream_infer.log import Logger

__all__ = ["ClientLog"]

_END_TXN_ANSWER = re.compile(r"EndTxn.* returned (\w+)|returned (\w+) .*EndTxn", re.IGNORECASE)
_QUIET = "NO_ERROR"


class ClientLog:
    """A ``logger`` for one client: passes warnings on, notes every EndTxn whose answer was not a plain yes.

    The client calls ``log`` from its ``poll()`` and ``flush()``, hence on the owner thread.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._unanswered_count = 0

    def log(self, level: int, _form: str, facility: str, _client: str, line: str) -> None:
        """Take one line; the signature is confluent-kafka's call of a logger."""
        if level >= logging.WARNING:
            self._logger.warning("client", facility=facility, line=line)
        elif facility == "ENDTXN" and _QUIET not in line and _END_TXN_ANSWER.search(line):
            self._unanswered_count += 1

    def take_unanswered(self) -> int:
        """How many EndTxn requests since the last call failed or lost their answer."""
        count, self._unanswered_count = self._unanswered_count, 0
        return count
