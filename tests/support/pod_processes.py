"""Runs the container of a Deployment as a process: its arguments, environment, volumes and Secrets.

Nothing of it is copied by hand: a test says only what an operator writes, which are the Secrets and
the addresses of the API server, the broker and the database.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


class PodProcess:
    """One Pod of a Deployment.

    Attributes:
        folder: stands for the root directory of the container.
        process: the container.
    """

    def __init__(
        self, folder: Path, deployment: Json, objects: list[Json], written: Mapping[str, bytes]
    ) -> None:
        """Writes the volumes and starts the container.

        Args:
            folder: an empty folder.
            deployment: the Deployment.
            objects: the ConfigMaps and Secrets that its volumes name.
            written: files by path in the container that an operator writes otherwise.
        """
        self.folder = folder
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        volumes = {one["name"]: one for one in pod["volumes"]}
        for mount in container["volumeMounts"]:
            target = self.path_of(mount["mountPath"])
            target.mkdir(parents=True)
            self._fill(target, volumes[mount["name"]], objects)
        for path, data in written.items():
            self.path_of(path).parent.mkdir(mode=0o700, exist_ok=True)
            self.path_of(path).write_bytes(data)
            self.path_of(path).chmod(0o600)
        # Paths in arguments, values and files are those of the container.
        arguments = [self._local(word) for word in container["args"]]
        environment = {one["name"]: self._local(one["value"]) for one in container.get("env", [])}
        for file in folder.rglob("*.yaml"):
            file.write_text(self._local(file.read_text()))
        assert container["command"] == ["kapok"]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scheduler.cli.entry", *arguments],
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "log").read_text()

    def path_of(self, path: str) -> Path:
        """Where a path of the container is on this machine."""
        return self.folder / path.removeprefix("/")

    def end(self) -> None:
        """Kills it."""
        self.process.kill()
        self.process.wait(timeout=60)

    def _local(self, text: str) -> str:
        for path in ("/etc/kapok/", "/var/lib/kapok"):
            text = text.replace(path, f"{self.folder}{path}")
        return text

    def _fill(self, target: Path, volume: Json, objects: list[Json]) -> None:
        if "emptyDir" in volume:
            return
        if "secret" in volume:
            source, kind, name = volume["secret"], "Secret", volume["secret"]["secretName"]
        else:
            source, kind, name = volume["configMap"], "ConfigMap", volume["configMap"]["name"]
        data = next(
            one["data"] for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)
        )
        keys = {one["key"]: one["path"] for one in source.get("items", [])} or {k: k for k in data}
        for key, path in keys.items():
            raw = base64.b64decode(data[key]) if kind == "Secret" else str(data[key]).encode()
            (target / path).write_bytes(raw)
            (target / path).chmod(source.get("defaultMode", 0o644))
