"""The server under test: the embedded hub, or the real API server of KAPOK_TEST_KUBECONFIG.

The suite is written against the API's documentation. It makes what it needs under a name of its own
for each run, leaves everything else alone, deletes what it made, waits for no controller and for no
namespace to vanish.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.api_client import Client
from tests.support.widgets import CRONTAB_GROUP, widget_crd

REAL = os.environ.get("KAPOK_TEST_KUBECONFIG", "")
KUBECTL = Path(sys.executable).with_name("kubectl")
collect_ignore = (
    ["test_embedded_collector.py", "test_embedded_life.py", "test_embedded_surface.py"]
    if REAL
    else []
)
"""Tests of guarantees of the embedded server only; a bare API server has no garbage collector, and
serves what the embedded one refuses by name."""
START = (
    "import argparse, sys; from scheduler.cli import serve_api; p = argparse.ArgumentParser();"
    " serve_api.register(p); sys.exit(serve_api.run(p.parse_args()))"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raises time limits: on a busy machine a real process may take twenty times as long."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))


@dataclass(frozen=True)
class Server:
    """The server under test, and the names that this run may use on it."""

    client: Client
    kubeconfig: Path
    namespace: str
    run: str
    """A prefix of names, unique to this run."""
    group: str
    """The API group of this run's widgets."""

    @property
    def embedded(self) -> bool:
        return not REAL

    def core(self, plural: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def apps(self, plural: str, name: str = "", group: str = "apps/v1") -> str:
        path = f"/apis/{group}/namespaces/{self.namespace}/{plural}"
        return path + (f"/{name}" if name else "")

    def widgets(self, name: str = "") -> str:
        path = f"/apis/{self.group}/v1/namespaces/{self.namespace}/widgets"
        return path + (f"/{name}" if name else "")

    def name(self, stem: str) -> str:
        """A name that no other test uses."""
        return f"{stem}-{secrets.token_hex(3)}"

    def widget(self, stem: str = "w", **spec: object) -> dict[str, object]:
        """A widget with a name that no other test uses."""
        return {
            "apiVersion": f"{self.group}/v1",
            "kind": "Widget",
            "metadata": {"name": self.name(stem)},
            "spec": {"size": "small", **spec},
        }

    def config_map(self, stem: str = "cm", **data: str) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name(stem)},
            "data": data or {"k": "v"},
        }


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if REAL:
        yield Path(REAL)
        return
    folder = tmp_path_factory.mktemp("hub")
    command = [sys.executable, "-c", START, "--data-dir", str(folder), "--no-crds"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == "ready":
                    break
            assert process.poll() is None
            yield folder / "kubeconfig"
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="session")
def server(kubeconfig: Path) -> Iterator[Server]:
    run = f"kt{secrets.token_hex(3)}"
    client = Client.of(kubeconfig)
    group = f"{run}.{CRONTAB_GROUP}"
    made = Server(client, kubeconfig, run, run, group)
    crd = widget_crd(group)
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    try:
        client.create("/api/v1/namespaces", {"metadata": {"name": run}}).ok()
        client.create(crds, crd).ok()
        wait_until(lambda: client.get(made.widgets()).code == 200, "the widgets are served")
        if REAL:  # a bare server refuses pods without a default service account
            client.create(made.core("serviceaccounts"), {"metadata": {"name": "default"}})
        yield made
    finally:
        client.delete(f"{crds}/{crd['metadata']['name']}")
        client.delete(f"/api/v1/namespaces/{run}")


@pytest.fixture
def client(server: Server) -> Client:
    return server.client


@dataclass(frozen=True)
class Ran:
    """The outcome of a kubectl command."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def kubectl(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    """Runs the real kubectl in this run's namespace."""
    home = tmp_path_factory.mktemp("kubectl")

    def run(
        *words: str, stdin: str = "", check: bool = True, env: dict[str, str] | None = None
    ) -> Ran:
        done = subprocess.run(
            [str(KUBECTL), "--namespace", server.namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env={
                "KUBECONFIG": str(server.kubeconfig),
                "HOME": str(home),
                "PATH": os.environ["PATH"],
                **(env or {}),
            },
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Waits until a condition holds that another process brings about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)  # noqa: TID251 - waits for another process
