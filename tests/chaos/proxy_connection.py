"""One client's connection through the proxy to one broker."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from tests.chaos.proxy_frames import Request, correlation_of
from tests.chaos.proxy_rules import Rule, Verdict

__all__ = ["ProxyConnection"]

_LATE_ANSWER_S = 10.0
_AHEAD = 64
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_Frames = asyncio.Queue[tuple[float, bytes] | None]


class _Rules(Protocol):
    def __call__(self, request: Request, *, response: bool) -> tuple[Rule, ...]: ...


class ProxyConnection:
    """Passes requests one way and responses the other, each in order, each past the rules in force at that moment."""

    def __init__(self, node: int, client: _Stream, broker: _Stream, rules: _Rules) -> None:
        self.node = node
        self.client_id: str | None = None
        self._client = client
        self._broker = broker
        self._rules = rules
        self._unanswered: dict[int, Request] = {}
        self._all_answered = asyncio.Event()
        self._all_answered.set()

    async def serve(self) -> None:
        """Pass frames until one side is gone; what a gone client had sent before is still brought to the broker.

        Raises FrameError on bytes that are not Kafka's.
        """
        requests: _Frames = asyncio.Queue(_AHEAD)
        responses: _Frames = asyncio.Queue(_AHEAD)
        tasks = [
            asyncio.ensure_future(one)
            for one in (
                self._read(self._client[0], requests),
                self._read(self._broker[0], responses),
                self._pass_requests(requests),
                self._pass_responses(responses),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks[2:], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            self.cut()
            await asyncio.gather(*tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """Close the client's side only."""
        self._client[1].transport.abort()

    def cut(self) -> None:
        """Close both sides."""
        self._client[1].transport.abort()
        self._broker[1].transport.abort()

    async def _read(self, reader: asyncio.StreamReader, frames: _Frames) -> None:
        loop = asyncio.get_running_loop()
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                frame = await reader.readexactly(length)
                await frames.put((loop.time(), frame))
        await frames.put(None)

    async def _pass_requests(self, frames: _Frames) -> None:
        while (item := await frames.get()) is not None:
            received_s, frame = item
            request = Request.parse(frame)
            self.client_id = request.client_id
            verdict = await self._decide(request, received_s, response=False)
            if verdict is Verdict.CUT:
                return
            if verdict is Verdict.PASS:
                self._unanswered[request.correlation] = request
                self._all_answered.clear()
                await _send(self._broker[1], frame)
        # The client is gone. A broker may forget what it was sent when that connection closes at once.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_answered.wait(), _LATE_ANSWER_S)

    async def _pass_responses(self, frames: _Frames) -> None:
        while (item := await frames.get()) is not None:
            received_s, frame = item
            request = self._unanswered.pop(correlation_of(frame))
            if not self._unanswered:
                self._all_answered.set()
            verdict = await self._decide(request, received_s, response=True)
            if verdict is Verdict.CUT:
                return
            if verdict is Verdict.PASS:
                await _send(self._client[1], frame)

    async def _decide(self, request: Request, received_s: float, *, response: bool) -> Verdict:
        for rule in self._rules(request, response=response):
            verdict = await rule.decide(request, self, received_s, response=response)
            if verdict is not Verdict.PASS:
                return verdict
        return Verdict.PASS


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    if writer.is_closing():
        return
    with suppress(OSError):  # the other side is gone; who reads from it sees that
        writer.write(len(frame).to_bytes(4, "big") + frame)
        await writer.drain()
