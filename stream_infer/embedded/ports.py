"""Free loopback ports for servers."""

import random
import socket
from pathlib import Path

__all__ = ["HOST", "free_ports", "listening"]

HOST = "127.0.0.1"
_LOWEST = 15000
_RANDOM = random.SystemRandom()  # a seeded one would give every test process the same ports
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """``count`` different ports nobody listens on now.

    They lie below the range the kernel gives to outgoing connections. A port of that range can be taken by
    any client while its server is being restarted; a client that retries to connect to it can even end up
    connected to itself. Somebody may still take a port before the server binds it: be ready to start over.
    """
    highest = 32768
    if _EPHEMERAL.exists():
        highest = max(_LOWEST + 1000, int(_EPHEMERAL.read_text().split()[0]))
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind((HOST, _RANDOM.randrange(_LOWEST, highest)))
            except OSError:
                candidate.close()
            else:
                held.append(candidate)
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def listening(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0
