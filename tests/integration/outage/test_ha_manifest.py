"""`manifests/ha` as it is: valid, and two processes that are started by it are one leader."""

import base64
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import msgspec
import pytest
import yaml

from scheduler.runtime.packaged_files import packaged_folder
from tests.support.agent_listener import free_port
from tests.support.pod_processes import PodProcess
from tests.support.postgres import PostgresServer
from tests.support.proxied_hub import KEY, Pages, ProxiedHub, proxied_hub, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

OBJECTS: list[dict[str, Any]] = list(
    yaml.safe_load_all(
        (packaged_folder("manifests") / "ha/scheduler.yaml").read_text(encoding="utf-8")
    )
)
CONFIG_MAP, DEPLOYMENT = OBJECTS[0], OBJECTS[1]


@pytest.mark.parametrize("number", range(len(OBJECTS)))
def test_the_objects_are_valid_kubernetes(number: int) -> None:
    kubernetes_validate.validate(OBJECTS[number], "1.36", strict=True)


def test_every_file_that_the_settings_name_is_mounted() -> None:
    settings = yaml.safe_load(CONFIG_MAP["data"]["scheduler.yaml"])
    text = yaml.safe_dump(settings)
    mounts = [
        one["mountPath"]
        for one in DEPLOYMENT["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    ]
    for word in text.replace("=", " ").split():
        if word.startswith("/etc/"):
            assert any(word.startswith(f"{mount}/") for mount in mounts), word


def secret(name: str, **data: bytes) -> dict[str, Any]:
    encoded = {key.replace("_", "."): base64.b64encode(one).decode() for key, one in data.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": encoded}


def start(hub: ProxiedHub, name: str) -> tuple[PodProcess, Pages]:
    """A Pod of the Deployment, with the addresses of this test."""
    settings, port = yaml.safe_load(CONFIG_MAP["data"]["scheduler.yaml"]), free_port()
    # What an operator writes: where the broker is (here on loopback, without TLS), and the port.
    settings["broker"] = {"host": "127.0.0.1", "port": hub.broker_port}
    settings["web"] = {"host": "127.0.0.1", "port": port}
    settings["hub"]["lease_seconds"] = 3
    assert hub.ledger is not None
    settings["ledger"]["url"] = str(hub.ledger)
    config = msgspec.json.decode(msgspec.json.encode(CONFIG_MAP))
    config["data"]["scheduler.yaml"] = yaml.safe_dump(settings)
    config["data"]["kubeconfig"] = hub.proxy.kubeconfig.read_text()
    secrets = [
        secret("kapok-hub-key", hub_key=KEY.raw()),
        secret("kapok-broker", password=b"x", ca_crt=b""),
        secret("kapok-ledger", password=hub.ledger.password.encode(), ca_crt=b""),
    ]
    pod = PodProcess(hub.folder / name, DEPLOYMENT, [config, *secrets], {})
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
