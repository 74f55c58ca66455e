"""Member clusters for tests: API servers, and `kapok simulate-cluster` as their controllers.

Both run as processes, as in the demo. Set KAPOK_TEST_MEMBER_KUBECONFIGS to use real API servers
instead of the embedded one; they need no controllers of their own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REAL_KUBECONFIGS = [
    Path(one) for one in os.environ.get("KAPOK_TEST_MEMBER_KUBECONFIGS", "").split(",") if one
]
KUBECTL = Path(sys.executable).with_name("kubectl")
KAPOK = [sys.executable, "-m", "scheduler.cli.entry"]


NODES = """nodes:
- {name: sim-edge, count: 3, labels: {zone: a}, allocatable: {cpu: "8", memory: 32Gi}}
- {name: sim-gpu, allocatable: {cpu: "32", memory: 128Gi, nvidia.com/gpu: 4}, architecture: arm64,
   taints: [{key: gpu, effect: NoSchedule}]}
"""


@dataclass(frozen=True)
class Cluster:
    """One member cluster, accessed with the real kubectl."""

    kubeconfig: Path
    namespace: str

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Runs kubectl; returns its output."""
        done = subprocess.run(
            [str(KUBECTL), "--namespace", self.namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=70,
            check=False,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent)},
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def in_namespace(self, body: dict[str, Any]) -> dict[str, Any]:
        """A copy of an object in this namespace."""
        return {**body, "metadata": {**body["metadata"], "namespace": self.namespace}}

    def get(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """Objects of a kind in this namespace."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *words, "-o", "json"))[
            "items"
        ]
        return items

    def apply(self, *objects: dict[str, Any]) -> None:
        """Applies objects, in this namespace."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))


@contextmanager
def api_servers(folder: Path, *names: str) -> Iterator[list[Path]]:
    """Embedded API servers, one per name; their kubeconfigs."""
    command = [*KAPOK, "serve-api", "--data-dir", str(folder), "--no-crds"]
    for name in names:
        command += ["--name", name]
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready":
                break
        assert process.poll() is None
        yield [folder / name / "kubeconfig" for name in names]


@contextmanager
def member_clusters(folder: Path, *names: str) -> Iterator[list[Path]]:
    """Embedded API servers, or those of KAPOK_TEST_MEMBER_KUBECONFIGS; their kubeconfigs."""
    if REAL_KUBECONFIGS:
        yield REAL_KUBECONFIGS
        return
    with api_servers(folder, *names) as found:
        yield found


def write_nodes(folder: Path) -> Path:
    """Writes a description of four nodes, one with GPUs and a taint."""
    path = folder / "nodes.yaml"
    path.write_text(NODES)
    return path


@contextmanager
def controllers(log: Path, kubeconfigs: list[Path], *words: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `kapok simulate-cluster` for several clusters; waits until it simulates all."""
    files = [str(one) for one in kubeconfigs]
    with log.open("a") as file:
        already = log.read_text().count("simulating its nodes")
        command = [*KAPOK, "simulate-cluster", "-v", "--kubeconfig", *files, *words]
        with _process(command, stderr=file) as process:
            wait_until(
                lambda: log.read_text().count("simulating its nodes") == already + len(files),
                log.read_text,
            )
            yield process


@contextmanager
def _process(command: list[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401 - Popen's own
    with subprocess.Popen(command, text=True, **streams) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def wait_until(
    holds: Callable[[], bool], describe: Callable[[], str] = str, seconds: float = 60.0
) -> None:
    """Waits until a condition holds; fails with the text of `describe`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {describe()}"
        time.sleep(0.1)  # noqa: TID251 - a test of other processes
