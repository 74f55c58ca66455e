"""`kapok up` as a real process, with the real kubectl."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from tests.support.api_client import Client

BIN = Path(sys.executable).parent
KUBECTL = BIN / "kubectl"
ROOT = Path(__file__).resolve().parents[2]
FAST_SETTINGS = """
freshness: {hear_sites_seconds: 3.0, site_status_seconds: 1.0, silent_after_seconds: 4.0}
dispatch: {repeat_seconds: 1.0}
"""
_OURS = "/apis/kapok.dev/v1alpha1"
_PATHS = {
    "kw": f"{_OURS}/namespaces/{{namespace}}/workloads/",
    "workload": f"{_OURS}/namespaces/{{namespace}}/workloads/",
    "workloads": f"{_OURS}/namespaces/{{namespace}}/workloads/",
    "site": f"{_OURS}/sites/",
    "sites": f"{_OURS}/sites/",
    "tenants": f"{_OURS}/tenants/",
    "cm": "/api/v1/namespaces/{namespace}/configmaps/",
}
"""Where objects are that tests look at again and again, by the word that kubectl takes."""


def eventually(
    probe: Callable[[], Any], *, within_seconds: float = 60.0, pause_seconds: float = 0.1
) -> Any:  # noqa: ANN401 - whatever was looked for
    """Waits until `probe` returns a true value; fails with the last value."""
    deadline = time.monotonic() + within_seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_seconds} s; last seen: {found!r}")
        time.sleep(pause_seconds)  # noqa: TID251 - a real process is waited for
    return found


def becomes(probe: Callable[[], object], wanted: object, *, within_seconds: float = 60.0) -> None:
    """Waits until `probe` returns exactly what is wanted; fails with both."""
    last: list[object] = []

    def is_so() -> bool:
        last[:] = [probe()]
        return bool(last[0] == wanted)

    try:
        eventually(is_so, within_seconds=within_seconds)
    except AssertionError:
        said = f"not within {within_seconds} s: {wanted!r}; last seen: {last[0]!r}"
        raise AssertionError(said) from None


@dataclass(slots=True)
class Up:
    """One data directory, and the process that runs on it now.

    Attributes:
        folder: holds the data directory, the settings and the log.
        options: more words of the command line.
        ready: what the process printed when it was ready.
    """

    folder: Path
    settings: str = FAST_SETTINGS
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Everything that the process wrote to stderr, over all its starts."""
        return (self.folder / "up.log").read_text()

    @property
    def pid(self) -> int:
        """Process ID of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def hub_pid(self) -> int:
        """Process ID of the embedded hub, a child of the running process."""
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            if "scheduler.hub_process" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        raise AssertionError("no hub among the children")

    def start(self, *module: str) -> Self:
        """Starts the process and waits until it is ready.

        Args:
            module: a module to run instead of the command, for tests that crash it.
        """
        config = self.folder / "scheduler.yaml"
        config.write_text(self.settings)
        words = module or ("scheduler.cli.entry",)
        command = [sys.executable, "-m", *words, "up", "--data-dir", str(self.data_dir)]
        with (self.folder / "up.log").open("a") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(config), *self.options, "-o", "json"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, **self.environment},
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"kapok up did not start:\n{self.log}"
        self.ready = json.loads(line)
        return self

    def kill(self) -> None:
        """Kills the process with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stops the process with SIGTERM; returns its exit code."""
        return self._end(signal.SIGTERM)

    def wait_until_dead(self) -> int:
        """Waits until the process ends by itself."""
        assert self._process is not None
        code = self._process.wait(timeout=60)
        self._close()
        return code

    def kubectl(self, *words: str, text: str | None = None, check: bool = True) -> str:
        """Runs real kubectl against the hub.

        Returns:
            Its stdout; with `check=False` stdout and stderr.
        """
        done = subprocess.run(
            [str(KUBECTL), "--kubeconfig", self.ready["kubeconfig"], *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"kubectl {words}: {done.stdout}{done.stderr}"
            return done.stdout
        return done.stdout + done.stderr

    def apply(self, manifests: str) -> None:
        """`kubectl apply -f -`."""
        self.kubectl("apply", "-f", "-", text=manifests)

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """One object as kubectl shows it; {}: not found.

        Tests look ten times a second, and each start of kubectl costs more than the hub's answer.
        So kubectl is asked only for other kinds, and where the hub does not answer at once.
        """
        folder = _PATHS.get(kind.removesuffix(".kapok.dev"))
        if folder and (found := self._read(folder.format(namespace=namespace), name)) is not None:
            return found
        text = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else {}

    def _read(self, folder: str, name: str) -> dict[str, Any] | None:
        """One object; {}: not found, None: the hub gave no such answer."""
        kubeconfig = Path(self.ready["kubeconfig"])
        try:
            client = _client(kubeconfig, kubeconfig.read_text())
            answer = client.get(folder + urllib.parse.quote(name, safe=""))
        except (OSError, http.client.HTTPException):
            return None
        if answer.code == 404 and answer.reason == "NotFound":
            return {}
        if answer.code != 200:
            return None
        found = answer.json
        found["metadata"].pop("managedFields", None)
        return found

    def _end(self, number: int) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(number)
        code = process.wait(timeout=60)
        self._close()
        return code

    def _close(self) -> None:
        if self._process and self._process.stdout:
            self._process.stdout.close()
        self._process = None


@lru_cache(maxsize=8)
def _client(kubeconfig: Path, content: str) -> Client:
    """A client, once for each content of a kubeconfig: its certificates take long to load."""
    assert content
    return Client.of(kubeconfig)


@contextmanager
def running_up(folder: Path, **options: Any) -> Iterator[Up]:  # noqa: ANN401 - fields of Up
    """A running `kapok up`; it is stopped even if the test fails."""
    up = Up(folder, **options).start()
    try:
        yield up
    finally:
        up.kill()


def kapok(up: Up, *words: str, code: int | None = 0) -> dict[str, Any]:
    """The JSON object that a command prints.

    Args:
        up: where.
        words: the command.
        code: how it ends; None: in any way.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "scheduler.cli.entry"),  # of this tree, as `Up` runs
            *(*words, "--data-dir", str(up.data_dir), "-o", "json"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=code == 0,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
