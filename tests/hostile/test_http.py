"""Hostile clients of the embedded API server of a running `kapok up`."""

import json
import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_client import APPLY, JSON_PATCH, Client
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
_MAX_DELAY_SECONDS = 0.5
"""What one client sends delays another one by less than this.

On a busy machine the system itself keeps a client waiting. Therefore a read counts at most the
processor time that the hub used meanwhile: while another process runs, it uses none.
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture
def client(up: Up) -> Client:
    return Client.of(Path(up.ready["kubeconfig"]))


def _config_map(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}}


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _longest_delay(up: Up, client: Client, work: Any) -> float:  # noqa: ANN401 - a function
    """Does `work` while another client reads; returns the longest time of a read."""
    hub = up.hub_pid
    done, delays = threading.Event(), [0.0]

    def read() -> None:
        connection = client.connection()
        while not done.is_set():
            began, cpu = time.monotonic(), _cpu_seconds(hub)
            connection.request("GET", f"{CONFIG_MAPS}?limit=1", headers=client.headers)
            connection.getresponse().read()
            delays.append(min(time.monotonic() - began, _cpu_seconds(hub) - cpu))
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        work()
    finally:
        done.set()
        reader.join()
    return max(delays)


def test_owners_of_wrong_types_are_400(client: Client) -> None:
    owner = {"apiVersion": 5, "kind": "ConfigMap", "name": "o", "uid": {"a": 1}}
    answer = client.create(CONFIG_MAPS, _config_map("owned", ownerReferences=[owner]))
    assert answer.code == 400
    assert client.create(CONFIG_MAPS, _config_map("after-owner")).code == 201


def test_a_json_patch_that_doubles_the_object_is_413_and_delays_nobody(
    up: Up, client: Client
) -> None:
    client.create(CONFIG_MAPS, {**_config_map("copied"), "data": {"a": "b"}}).ok()
    patch = [{"op": "copy", "from": "/data", "path": f"/data/k{n}"} for n in range(40)]
    codes: list[int] = []
    delay = _longest_delay(
        up,
        client,
        lambda: codes.append(client.patch(f"{CONFIG_MAPS}/copied", patch, JSON_PATCH).code),
    )
    assert codes == [413]
    assert delay < _MAX_DELAY_SECONDS


def test_a_large_apply_delays_nobody(up: Up, client: Client) -> None:
    lines = "\n".join(f'  k{n}: "{"x" * 20}"' for n in range(15_000))
    body = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: large}}\ndata:\n{lines}\n".encode()
    assert len(body) > 440_000
    codes: list[int] = []

    def apply() -> None:
        answer = client.patch(f"{CONFIG_MAPS}/large", body, APPLY, fieldManager="m", force="true")
        codes.append(answer.code)

    assert _longest_delay(up, client, apply) < _MAX_DELAY_SECONDS
    assert codes == [201]


def test_a_full_disk_is_503_and_heals(up: Up, client: Client) -> None:
    client.create(CONFIG_MAPS, _config_map("before-full")).ok()
    hard = resource.prlimit(up.hub_pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(up.hub_pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        refused = client.create(CONFIG_MAPS, _config_map("on-full"))
        assert (refused.code, refused.reason) == (503, "ServiceUnavailable")
        assert client.get(f"{CONFIG_MAPS}/on-full").code == 404
        assert client.get(f"{CONFIG_MAPS}/before-full").code == 200
    finally:
        resource.prlimit(up.hub_pid, resource.RLIMIT_FSIZE, (hard, hard))
    eventually(lambda: client.create(CONFIG_MAPS, _config_map("after-full")).code == 201)


@pytest.mark.soak
def test_connections_that_send_nothing_do_not_keep_clients_out(client: Client) -> None:
    host, port = str(client.url.hostname), int(client.url.port or 0)
    idle = [socket.create_connection((host, port)) for _ in range(300)]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    slow = context.wrap_socket(socket.create_connection((host, port)))
    slow.sendall(b"GET /api HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    try:
        assert client.get("/api").code == 200
        slow.settimeout(30)
        assert slow.recv(1) == b""  # closed after ten seconds
    except ConnectionError:
        pass
    finally:
        for one in (*idle, slow):
            one.close()
    assert json.loads(client.get("/version").raw)["major"] == "1"
