"""A push process beside a running hub, and the Sites and Secrets that it follows."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.site_with_agent import SITE_OBJECTS
from tests.support.up import Up, kapok

NAMESPACE = "kapok-members"
_AGENT = [sys.executable, "-m", "agents.cli", "--config"]


def push_objects(site: str, key: str) -> str:
    """A Site of mode Push and its grant."""
    reference = f"kubeconfigSecretRef: {{namespace: {NAMESPACE}, name: {site}}}"
    pushed = SITE_OBJECTS.replace("mode: Pull", f"mode: Push, {reference}")
    keys = f'["{key}"]' if key else "[]"
    return pushed.replace('["KEY"]', keys).replace("SITE", site)


def secret_object(site: str, kubeconfig: str) -> str:
    """The Secret with a member's kubeconfig, as a manifest."""
    tree = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": site, "namespace": NAMESPACE},
        "data": {"kubeconfig": base64.b64encode(kubeconfig.encode()).decode()},
    }
    return json.dumps(tree)


def create_namespace(up: Up) -> None:
    """Creates the namespace of the Secrets."""
    up.kubectl("create", "namespace", NAMESPACE)


@dataclass(slots=True)
class PushProcess:
    """The process, by its settings and its log."""

    folder: Path
    config: Path
    pid: int = 0

    @property
    def log(self) -> str:
        """Everything that the process wrote to stderr."""
        return (self.folder / "push.log").read_text()

    def key_of(self, site: str) -> str:
        """The public key of one site."""
        command = [*_AGENT, str(self.config), "push", "--site", site, "--show-key"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()


def prepared_push(up: Up, folder: Path, **settings: Any) -> PushProcess:  # noqa: ANN401 - JSON
    """The settings of a push process, with a hub account of the role push."""
    words = ("hub", "token", "--name", "push", "--role", "push", "--namespace", NAMESPACE)
    kubeconfig = kapok(up, *words)["kubeconfig"]
    host, _, port = up.ready["broker"].rpartition(":")
    tree = {
        "data_dir": str(folder / "push"),
        "hub_keys": [up.ready["hubKey"]],
        "broker": {"host": host, "port": int(port)},
        "cluster": {"resync_seconds": 1.0},
        "report": {
            "interval_seconds": 1.0,
            "status_interval_seconds": 1.0,
            "full_interval_seconds": 60.0,
        },
        "push": {"source": "kubeconfig", "kubeconfig": kubeconfig, "interval_seconds": 0.5},
    }
    process = PushProcess(folder, folder / "push.yaml")
    push = tree["push"] | settings.pop("push", {})
    process.config.write_text(yaml.safe_dump(tree | settings | {"push": push}))
    return process


@contextmanager
def running_push(process: PushProcess) -> Iterator[PushProcess]:
    """Runs a push process; it is stopped even if the test fails."""
    with (
        (process.folder / "push.log").open("a") as errors,
        subprocess.Popen([*_AGENT, str(process.config), "push"], stderr=errors) as running,
    ):
        process.pid = running.pid
        try:
            yield process
        finally:
            running.terminate()
            running.wait(60)
