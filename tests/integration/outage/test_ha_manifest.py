"""The overlay `ha` as it is: two processes that are started by it are one leader."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kustomize import of_kind, overlay
from tests.support.pod_processes import PodProcess
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.proxied_hub import KEY, Pages, ProxiedHub, proxied_hub, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

OBJECTS = overlay("ha")
SETTINGS, KUBECONFIG = (
    next(one for one in of_kind(OBJECTS, "ConfigMap") if key in one["data"])
    for key in ("scheduler.yaml", "kubeconfig")
)
[DEPLOYMENT] = of_kind(OBJECTS, "Deployment")


def secret(name: str, **data: bytes) -> dict[str, Any]:
    encoded = {key.replace("_", "."): base64.b64encode(one).decode() for key, one in data.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": encoded}


def start(hub: ProxiedHub, name: str) -> tuple[PodProcess, Pages]:
    """A Pod of the Deployment, with the addresses of this test."""
    settings, port = yaml.safe_load(SETTINGS["data"]["scheduler.yaml"]), free_port()
    # What an operator writes: where the broker is (here on loopback, without TLS), and the port.
    settings["broker"] = {"host": "127.0.0.1", "port": hub.broker_port}
    settings["web"] = {"host": "127.0.0.1", "port": port}
    settings["hub"]["lease_seconds"] = 3
    assert hub.ledger is not None
    settings["ledger"]["url"] = str(hub.ledger)
    maps = [
        {**SETTINGS, "data": {"scheduler.yaml": yaml.safe_dump(settings)}},
        {**KUBECONFIG, "data": {"kubeconfig": hub.proxy.kubeconfig.read_text()}},
    ]
    secrets = [
        secret("kapok-hub-key", hub_key=KEY.raw()),
        secret("kapok-broker", password=b"x", ca_crt=b""),
        secret("kapok-ledger", password=hub.ledger.password.encode(), ca_crt=b""),
    ]
    pod = PodProcess(hub.folder / name, DEPLOYMENT, [*maps, *secrets], {})
    return pod, Pages(port)


@pytest.mark.soak
async def test_two_pods_of_the_deployment_are_one_leader_and_one_that_stands_by(
    tmp_path: Path, server: Path | None, postgres: PostgresServer
) -> None:
    async with proxied_hub(tmp_path, server=server, ledger=postgres.new_database()) as hub:
        first, first_pages = start(hub, "pod-1")
        try:
            await until(first_pages.leads)
            second, second_pages = start(hub, "pod-2")
            try:
                await until(second_pages.stands_by)
                await hub.create("w")
                await until(lambda: hub.is_placed("w"))
                first.process.terminate()
                await until(second_pages.leads)
            finally:
                second.end()
        finally:
            first.end()
