"""Ports of loopback for servers that tests start themselves.

The kernel gives out its ephemeral ports again as soon as they are closed, also as the near end of
any outgoing connection. A server that starts a moment later, or that comes back, then finds its
port taken. So these ports are below the ephemeral ones, each is given once, and it is claimed for
the life of this process: tests that run side by side choose other ones.
"""

import secrets
import socket

_PORTS = range(12_000, 20_000)
"""Below the ephemeral ports of Linux, and apart from those that `kapok up` chooses itself."""

_CLAIMS: dict[int, int] = {}
"""The descriptor that holds the claim of each port."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on and no other test has."""
    for _ in range(1000):
        port = secrets.choice(_PORTS)  # no seed of a test decides
        if port not in _CLAIMS and _is_free(port) and _claim(port):
            return port
    raise AssertionError(f"no port of {_PORTS} is free")


def free_ports(count: int) -> list[int]:
    """Several such ports."""
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _claim(port: int) -> bool:
    """Takes a name that the kernel frees when this process ends, however it ends."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0kapok-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _CLAIMS[port] = claim.detach()
    return True
