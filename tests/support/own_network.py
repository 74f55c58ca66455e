"""A network of its own for what a test starts: interfaces that come and go there disturb no other.

Browsers of other tests end their requests when an interface of the machine's own network changes
(`ERR_NETWORK_CHANGED`). Processes that are started inside inherit the network.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin") or "ip"
_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of sched.h; `os.unshare` and `os.setns` come with Python 3.12."""


@contextmanager
def own_network() -> Iterator[None]:
    """Moves this thread, and what it starts, into a new network that has loopback alone."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _call("unshare", _NEW_NETWORK)
        try:
            subprocess.run([IP, "link", "set", "lo", "up"], check=True, timeout=60)
            yield
        finally:
            _call("setns", before, _NEW_NETWORK)
    finally:
        os.close(before)


def _call(name: str, *numbers: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*map(ctypes.c_int, numbers)) != 0:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
