"""A plain HTTP client for Kubernetes API servers: no library between the test and the wire."""

import base64
import http.client
import json
import ssl
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    """Status and body of a response."""

    code: int
    raw: bytes
    headers: http.client.HTTPMessage = field(repr=False)

    @property
    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded

    @property
    def reason(self) -> str:
        """The `reason` of a Status object."""
        return str(self.json.get("reason"))

    def ok(self) -> dict[str, Any]:
        """The body; fails the test unless the response is a success."""
        assert self.code < 300, (self.code, self.raw[:2000])
        return self.json


def _file(data: str) -> str:
    with tempfile.NamedTemporaryFile(delete=False, suffix=".pem") as file:
        file.write(base64.b64decode(data))
        return file.name


@dataclass
class Client:
    """Sends requests to the server of a kubeconfig's current context."""

    url: urllib.parse.SplitResult
    context: ssl.SSLContext | None
    headers: dict[str, str]

    @staticmethod
    def of(kubeconfig: Path) -> "Client":
        config = yaml.safe_load(kubeconfig.read_text())
        context = next(
            c["context"] for c in config["contexts"] if c["name"] == config["current-context"]
        )
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        url = urllib.parse.urlsplit(cluster["server"])
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        return Client(url, _tls(cluster, user) if url.scheme == "https" else None, headers)

    def connection(self, timeout: float = 8) -> http.client.HTTPConnection:
        host, port = str(self.url.hostname), self.url.port
        if self.context is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=self.context)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Answer:
        """Sends one request. A body of bytes is sent as it is, anything else as JSON."""
        if query:
            path += "?" + urllib.parse.urlencode({k: str(v) for k, v in query.items()})
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = self.connection()
        try:
            sent = {**self.headers, "Accept": "application/json", **(headers or {})}
            if data is not None:
                sent.setdefault("Content-Type", kind)
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.headers)
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> Answer:
        return self.request("GET", path, **query)  # type: ignore[arg-type]

    def create(self, path: str, item: object, **query: object) -> Answer:
        return self.request("POST", path, item, **query)  # type: ignore[arg-type]

    def replace(self, path: str, item: object, **query: object) -> Answer:
        return self.request("PUT", path, item, **query)  # type: ignore[arg-type]

    def patch(self, path: str, patch: object, kind: str = MERGE, **query: object) -> Answer:
        return self.request("PATCH", path, patch, kind=kind, **query)  # type: ignore[arg-type]

    def apply(self, path: str, item: object, manager: str, **query: object) -> Answer:
        return self.patch(path, item, APPLY, fieldManager=manager, **query)

    def delete(self, path: str, options: object = None, **query: object) -> Answer:
        return self.request("DELETE", path, options, **query)  # type: ignore[arg-type]

    @contextmanager
    def watch(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = 60,
        **query: object,
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a watch, until the server ends it or `seconds` have passed."""
        query = {"watch": "true", "timeoutSeconds": int(seconds) + 1, **query}
        connection = self.connection(timeout=seconds)
        target = path + "?" + urllib.parse.urlencode({k: str(v) for k, v in query.items()})
        try:
            connection.request("GET", target, headers={**self.headers, **(headers or {})})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response if line.strip())
        finally:
            connection.close()


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif "certificate-authority-data" in cluster:
        pem = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context.load_verify_locations(cadata=pem)
    elif "certificate-authority" in cluster:
        context.load_verify_locations(cafile=cluster["certificate-authority"])
    if "client-certificate-data" in user:
        files = (_file(user["client-certificate-data"]), _file(user["client-key-data"]))
        context.load_cert_chain(*files)
        for name in files:
            Path(name).unlink()
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context
