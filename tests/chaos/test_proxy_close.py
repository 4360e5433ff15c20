"""A proxy that is closed leaves no connection behind, however far that one had come."""

from __future__ import annotations

import gc
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stream_infer.embedded.ports import HOST
from tests.chaos.proxy import Network


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a broker that answers no SYN: its queue of connections is full."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"{HOST}:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("rounds", "wait_s"), [(40, 0.0), (1, 0.2)], ids=["just accepted", "on the way to the broker"]
)
def test_close_leaves_no_connection(
    rounds: int, wait_s: float, deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: left.append(str(one.exc_value)))
    for _ in range(rounds):
        with ExitStack() as clients, Network(1) as network:
            network.open({1: deaf})
            host, port = network.servers.split(":")
            for _ in range(20):
                clients.enter_context(socket.create_connection((host, int(port))))
            time.sleep(wait_s)
        del network
        gc.collect()
    assert left == []
