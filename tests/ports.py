"""Ports for servers that have to know theirs before they start."""

import random
import socket
from pathlib import Path

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Not the seeded one, with which tests that run side by side would choose the same ports.
_RANDOM = random.SystemRandom()


def free_port() -> int:
    """A port on which nothing listens, nor will before it is used.

    It is none of those that the system gives to connections, and to servers that ask for any port:
    one of them would be taken by another process between its choice and its use.
    """
    first, last = map(int, _GIVEN.read_text(encoding="ascii").split())
    ports = [port for port in range(10_000, 2**16) if not first <= port <= last]
    # Some machines give all of them.
    return next(filter(_is_free, _RANDOM.sample(ports, len(ports))), None) or _any_free_port()


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _any_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
