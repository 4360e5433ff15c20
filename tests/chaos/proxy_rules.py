"""What the proxy does to the frames that pass: hold, delay, drop, cut; by request, by client, by broker, by count."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Protocol

from tests.chaos.proxy_frames import Api, Request

__all__ = ["Connection", "Cut", "Delay", "Drop", "Hold", "Match", "Rule", "Verdict"]


class Verdict(Enum):
    """What becomes of a frame."""

    PASS = auto()
    DROP = auto()
    """It is swallowed; the connection stays."""
    CUT = auto()
    """It is swallowed, and the connection is closed on both sides."""


class Connection(Protocol):
    """The connection a frame came on."""

    node: int

    def hang_up(self) -> None:
        """Close the client's side; what it sent before is still delivered."""


@dataclass(frozen=True)
class Match:
    """Which requests, or the responses to which: all fields that are given must fit.

    ``client`` and ``transactional_id`` are beginnings. ``chance`` leaves it to ``random`` whether a request that fits
    is taken. ``also`` is any further condition.
    """

    apis: tuple[Api, ...] = ()
    node: int | None = None
    client: str | None = None
    transactional_id: str | None = None
    committed: bool | None = None
    chance: float = 1.0
    random: Random | None = None
    also: Callable[[Request], bool] | None = None

    def __call__(self, request: Request, node: int) -> bool:
        return (
            (not self.apis or request.api in self.apis)
            and self.node in (None, node)
            and self.committed in (None, request.committed)
            and (self.client is None or (request.client_id or "").startswith(self.client))
            and (
                self.transactional_id is None
                or (request.transactional_id or "").startswith(self.transactional_id)
            )
            and (self.also is None or self.also(request))
            and (self.chance >= 1.0 or self.random is None or self.random.random() < self.chance)
        )


class Rule:
    """Takes requests that fit, or with ``response`` the answers to them: ``count`` of them (None: all), after ``skip``.

    ``taken``, ``wait_taken`` and ``release`` are for the test's thread; the proxy calls the rest.
    """

    def __init__(
        self, match: Match, *, response: bool = False, count: int | None = None, skip: int = 0
    ) -> None:
        self.match = match
        self.taken = 0
        self._response = response
        self._count = count
        self._skip = skip
        self._changed = threading.Condition()

    def wait_taken(self, timeout_s: float = 120.0, count: int = 1) -> None:
        """Return when ``count`` frames were taken. Raises AssertionError when they do not come."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.taken >= count, timeout_s)
        assert came, f"{type(self).__name__} of {self.match}: {self.taken} of {count} came in {timeout_s:g} s"

    def release(self) -> None:
        """Take no more, and let go of what is held."""
        self._count = 0

    async def decide(
        self, request: Request, connection: Connection, received_s: float, *, response: bool
    ) -> Verdict:
        """Decide on a request, or on the response to it; ``received_s`` (loop time) is when the frame came."""
        if response != self._response or not self._take(request, connection.node):
            return Verdict.PASS
        return await self._treat(connection, received_s)

    async def _treat(self, connection: Connection, received_s: float) -> Verdict:
        return Verdict.PASS

    def _take(self, request: Request, node: int) -> bool:
        with self._changed:
            if (self._count is not None and self.taken >= self._count) or not self.match(request, node):
                return False
            if self._skip:
                self._skip -= 1
                return False
            self.taken += 1
            self._changed.notify_all()
            return True


class Hold(Rule):
    """Keeps frames until ``release``; behind them, their connection waits, as TCP would have it.

    A client that gives up meanwhile changes nothing: what it sent is still delivered after the release, late.
    ``hang_up`` closes the client's side at once, so that it need not wait for a time-out to give up.
    """

    def __init__(
        self,
        match: Match,
        *,
        response: bool = False,
        count: int | None = None,
        skip: int = 0,
        hang_up: bool = False,
    ) -> None:
        super().__init__(match, response=response, count=count, skip=skip)
        self._hang_up = hang_up
        self._released = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def release(self) -> None:
        """Let everything held go on, and hold nothing more. From any thread, also twice."""
        super().release()
        with self._changed:
            self._released = True
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def _treat(self, connection: Connection, received_s: float) -> Verdict:
        event = asyncio.Event()
        with self._changed:
            if self._released:
                return Verdict.PASS
            self._waiting.append((asyncio.get_running_loop(), event))
        if self._hang_up:
            connection.hang_up()
        await event.wait()
        return Verdict.PASS


class Delay(Rule):
    """Delivers frames ``delay_s`` after they came, plus up to ``jitter_s``; those behind them follow, in order."""

    def __init__(
        self, match: Match, delay_s: float, *, jitter_s: float = 0.0, random: Random, count: int | None = None
    ) -> None:
        super().__init__(match, count=count)
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._random = random

    async def _treat(self, connection: Connection, received_s: float) -> Verdict:
        due_s = received_s + self._delay_s + self._random.uniform(0.0, self._jitter_s)
        await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
        return Verdict.PASS


class Drop(Rule):
    """Swallows frames; with ``response`` the broker has carried out what the client hears nothing of."""

    async def _treat(self, connection: Connection, received_s: float) -> Verdict:
        return Verdict.DROP


class Cut(Rule):
    """Closes the connection in place of delivering a frame."""

    async def _treat(self, connection: Connection, received_s: float) -> Verdict:
        return Verdict.CUT
