"""A TCP proxy between clients and brokers that knows Kafka's frames, so that faults strike chosen requests.

    network = Network(3)
    kafka = EmbeddedKafka(3, advertised=network.advertised)
    kafka.start()
    network.open(kafka.inner_addresses)
    worker ... bootstrap_servers = network.servers           # all that it learns of the brokers leads through here
    with network.rule(Hold(Match((Api.END_TXN,), committed=True), count=1, hang_up=True)) as hold:
        hold.wait_taken()

The brokers themselves advertise the proxy's addresses on a listener of their own, so no response is rewritten. The
proxy runs in a thread of its own; every method here is for the test's thread.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Self, TypeVar

from stream_infer.embedded.ports import HOST, free_ports
from tests.chaos.proxy_connection import ProxyConnection
from tests.chaos.proxy_frames import FrameError, Request
from tests.chaos.proxy_rules import Cut, Hold, Match, Rule

__all__ = ["Network"]

_CLOSE_S = 10.0
_R = TypeVar("_R", bound=Rule)


class Network:
    """The proxies of all nodes of a cluster, and the rules for what passes them."""

    def __init__(self, nodes: int) -> None:
        # Bound now, so that nobody takes them while the brokers start and advertise them.
        self._sockets = {node: _bound() for node in range(1, nodes + 1)}
        self._rules: tuple[Rule, ...] = ()
        self._connections: set[ProxyConnection] = set()
        self._inner: dict[int, tuple[str, int]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._opened = threading.Event()
        self._closing = asyncio.Event()
        self.errors: list[str] = []
        self.passed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def advertised(self) -> dict[int, str]:
        """Node -> the address of its proxy."""
        return {node: f"{HOST}:{one.getsockname()[1]}" for node, one in self._sockets.items()}

    @property
    def servers(self) -> str:
        """Bootstrap servers for clients that shall stay behind the proxies."""
        return ",".join(self.advertised.values())

    def open(self, inner: Mapping[int, str]) -> None:
        """Forward to these addresses of the nodes."""
        for node, address in inner.items():
            host, _, port = address.rpartition(":")
            self._inner[node] = host, int(port)
        self._thread.start()
        self._opened.wait()

    def close(self) -> None:
        """Cut everything off."""
        self.calm()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(_CLOSE_S)
        for one in self._sockets.values():
            one.close()
        if not self._thread.is_alive():
            self._loop.close()

    def add(self, rule: _R) -> _R:
        """Put a rule in force."""
        self._rules = (*self._rules, rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Lift a rule; what it holds is delivered."""
        self._rules = tuple(one for one in self._rules if one is not rule)
        rule.release()

    @contextmanager
    def rule(self, rule: _R) -> Iterator[_R]:
        """A rule in force for the length of a ``with`` block."""
        self.add(rule)
        try:
            yield rule
        finally:
            self.remove(rule)

    def calm(self) -> None:
        """Lift every rule."""
        for rule in self._rules:
            self.remove(rule)

    @contextmanager
    def severed(self, client: str | None = None, node: int | None = None, *, silent: bool) -> Iterator[None]:
        """Cut a client (by the beginning of its id; None: all) off from a node (None: all).

        ``silent``: nothing gets through and nobody is told; what was sent meanwhile arrives in the end, late. Else
        connections break, and new ones do when they are used.
        """
        match = Match(client=client, node=node)
        rules: Sequence[Rule] = (Hold(match), Hold(match, response=True)) if silent else (Cut(match),)
        for rule in rules:
            self.add(rule)
        if not silent:
            self.break_connections(client, node)
        try:
            yield
        finally:
            for rule in rules:
                self.remove(rule)

    def break_connections(self, client: str | None = None, node: int | None = None) -> int:
        """Close the present connections of a client to a node, both sides; returns how many."""
        chosen = [
            one
            for one in tuple(self._connections)
            if node in (None, one.node) and (client is None or (one.client_id or "").startswith(client))
        ]
        for one in chosen:
            self._loop.call_soon_threadsafe(one.cut)
        return len(chosen)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())

    async def _run(self) -> None:
        servers = [
            await asyncio.start_server(self._accept(node), sock=one) for node, one in self._sockets.items()
        ]
        self._opened.set()
        await self._closing.wait()
        for (
            listener
        ) in self._sockets.values():  # first, since a server that is closed drops what it just accepted
            self._loop.remove_reader(listener)
        while tasks := await _begun_tasks():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for server in servers:
            server.close()

    def _accept(self, node: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                inner = await asyncio.open_connection(*self._inner[node])
                await self._pass(ProxyConnection(node, (reader, writer), inner, self._present_rules))
            except (OSError, asyncio.CancelledError):
                pass  # the broker is down: so is the way to it; or everything is cut off
            finally:
                writer.transport.abort()

        return accept

    async def _pass(self, connection: ProxyConnection) -> None:
        self._connections.add(connection)
        try:
            await connection.serve()
        except FrameError as error:
            self.errors.append(str(error))
        finally:
            self._connections.discard(connection)

    def _present_rules(self, request: Request, *, response: bool) -> tuple[Rule, ...]:
        if not response:
            self.passed[request.name] += 1
        return self._rules


async def _begun_tasks() -> set[asyncio.Task[object]]:
    """All other tasks, each past its first step: one cancelled before would leave its connection open."""
    await asyncio.sleep(0)  # what was just accepted becomes a task
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.sleep(0)  # and takes that step
    return tasks


def _bound() -> socket.socket:
    while True:
        (port,) = free_ports(1)
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            one.bind((HOST, port))
            return one
        one.close()
