"""Reads topics in a thread of its own, from their beginning and as they grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Message

from stream_infer.demo.records import assigned_consumer

__all__ = ["Reading"]

_WAIT_S = 0.1
_MOST = 2000


class Reading:
    """Hands all messages over as they come, errors and ends of partitions too, until it is closed.

    ``take`` is called from the thread; what it raises ends the reading, and ``check`` raises it. ``settings`` are
    librdkafka's.
    """

    def __init__(
        self,
        servers: str,
        topics: tuple[str, ...],
        partitions: int,
        take: Callable[[Sequence[Message]], None],
        **settings: Any,
    ) -> None:
        self._servers = servers
        self._topics = topics
        self._partitions = partitions
        self._take = take
        self._settings = settings
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def open(self) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._run, name=f"reading {self._topics[0]}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading. May be called twice."""
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def check(self) -> None:
        """Raise what ended the reading, if anything did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            consumer = assigned_consumer(self._servers, self._topics, self._partitions, **self._settings)
            try:
                while not self._ending.is_set():
                    first = consumer.poll(_WAIT_S)
                    if first is not None:
                        self._take([first, *consumer.consume(_MOST, 0)])
            finally:
                consumer.close()
        except Exception as error:  # noqa: BLE001 - told to whoever asks next
            self._error = error
