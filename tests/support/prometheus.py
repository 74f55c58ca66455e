"""A real Prometheus server with our rules, scraping one target every second."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.tools import require_tool
from tests.support.up import ROOT, eventually

MANIFESTS = ROOT / "manifests"


class Prometheus:
    """A running Prometheus server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        body = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        result: list[dict[str, Any]] = body["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def is_ready(self) -> bool:
        try:
            return bool(self._get("/api/v1/status/buildinfo"))
        except OSError:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, timeout=60) as answer:
            body: dict[str, Any] = json.load(answer)
        return body


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    port = free_port()
    scrape = {"job_name": "kapok", "static_configs": [{"targets": [target]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(MANIFESTS / "prometheus" / "rules.yaml")],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config))  # JSON is YAML
    words = [
        require_tool("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        server = Prometheus(port)
        eventually(server.is_ready)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)
