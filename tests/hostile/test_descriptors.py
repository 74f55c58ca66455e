"""`kapok up` without free file descriptors: it neither ends nor spins, and heals."""

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.api_client import Client
from tests.support.up import eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.soak]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
_SECONDS = 6
_SPARE = 4
"""Descriptors that are free when the attack begins."""


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _few_descriptors(pid: int) -> Iterator[None]:
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir()}
    free = (number for number in range(limits[0]) if number not in used)
    lowest = next(islice(free, _SPARE, None))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("place", ["hub", "page"])
def test_without_descriptors_it_waits_and_then_answers(tmp_path: Path, place: str) -> None:
    with running_up(tmp_path) as up:
        client = Client.of(Path(up.ready["kubeconfig"]))
        url = urlsplit(up.ready[place])
        pid = up.hub_pid if place == "hub" else up.pid
        idle = _cpu_seconds(pid)
        time.sleep(_SECONDS)  # noqa: TID251 - a real process is measured
        idle = _cpu_seconds(pid) - idle
        with _few_descriptors(pid):
            opened = [
                socket.create_connection((url.hostname, url.port), timeout=60) for _ in range(100)
            ]
            time.sleep(1)  # noqa: TID251 - the connections are accepted
            busy = _cpu_seconds(pid)
            time.sleep(_SECONDS)  # noqa: TID251 - a real process is measured
            busy = _cpu_seconds(pid) - busy
            for one in opened:
                one.close()
        assert busy - idle < _SECONDS / 4
        eventually(lambda: client.get("/readyz").code == 200, within_seconds=60)
        item = {"metadata": {"name": "after"}}
        eventually(lambda: client.create(CONFIG_MAPS, item).code in {201, 409}, within_seconds=60)
        assert len(up.log) < 100_000
