"""Address and credentials of the member's API: from a kubeconfig, or the pod's service account."""

import base64
import os
import ssl
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agents.member.trees import map_at, objects_at, text_at

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PORTS: Final = {"https": 443, "http": 80}


class AccessError(Exception):
    """The settings do not say how to reach the cluster; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Address and credentials of one API server.

    Attributes:
        host: name or address.
        port: TCP port.
        path_prefix: path before `/api`, without a slash at the end.
        tls: TLS context; None for plain HTTP.
        token: bearer token, if it is fixed.
        token_file: file with the bearer token; read for every request, because the kubelet renews
            the token.
        problem: why the cluster cannot be reached by it; then no request is sent.
        refused: set when the server does not accept the credentials (401), so that new ones are
            asked for where that is possible.
    """

    host: str
    port: int
    path_prefix: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    problem: str = ""
    refused: threading.Event | None = field(default=None, repr=False, compare=False)

    @property
    def server(self) -> tuple[str, int, str]:
        """What names the server; equal for two accesses of one cluster."""
        return self.host, self.port, self.path_prefix

    def bearer_token(self) -> str | None:
        """The token to send now; None if there is none.

        Raises:
            AccessError: the token file cannot be read.
        """
        if self.token_file is None:
            return self.token
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            raise AccessError(f"{self.token_file}: {error.strerror}") from error


def in_cluster(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Access:
    """The API server of the cluster that the agent runs in, by the pod's service account.

    Args:
        environment: usually `os.environ`.
        folder: where the service account is mounted.

    Raises:
        AccessError: the agent does not run in a pod, or the pod's token is not mounted.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host or not (folder / "token").exists():
        raise AccessError(
            "cluster.source is in-cluster, but this is not a pod with a service account token; "
            "set automountServiceAccountToken: true, or use cluster.source: kubeconfig"
        )
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    port = int(environment.get("KUBERNETES_SERVICE_PORT", "443"))
    return Access(host=host, port=port, tls=context, token_file=folder / "token")


def from_kubeconfig(path: Path, context: str = "") -> Access:
    """The API server of one context of a kubeconfig, with its token or client certificate.

    Args:
        path: the kubeconfig.
        context: name of the context; empty takes the current one.

    Raises:
        AccessError: the file cannot be read, lacks the context, its cluster or its user, or the
            user needs a plug-in.
    """
    tree = _read_kubeconfig(path)
    return build_access(find_parts(tree, str(path), context), path.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeconfigParts:
    """The cluster and the user of one context of a kubeconfig.

    Attributes:
        source: what holds the kubeconfig, for messages.
        context: name of the context.
        cluster: the cluster.
        user: the user.
    """

    source: str
    context: str
    cluster: Mapping[str, Any] = field(repr=False)
    user: Mapping[str, Any] = field(repr=False)


def find_parts(tree: Mapping[str, Any], source: str, context: str = "") -> KubeconfigParts:
    """The parts of a kubeconfig that one context names.

    Args:
        tree: the kubeconfig.
        source: what holds it, for messages.
        context: name of the context; empty takes the current one.

    Raises:
        AccessError: the context, its cluster or its user is missing.
    """
    chosen = context or str(tree.get("current-context") or "")
    names = _find_entry(tree, "contexts", chosen, "context", source)
    return KubeconfigParts(
        source=source,
        context=chosen,
        cluster=_find_entry(tree, "clusters", str(names.get("cluster") or ""), "cluster", source),
        user=_find_entry(tree, "users", str(names.get("user") or ""), "user", source),
    )


def build_access(parts: KubeconfigParts, folder: Path) -> Access:
    """The access that a kubeconfig describes.

    Args:
        parts: its cluster and its user.
        folder: the folder that the paths in it are relative to.

    Raises:
        AccessError: the user needs a plug-in, or something in it cannot be read.
    """
    cluster, user = parts.cluster, parts.user
    for plugin in ("exec", "auth-provider", "username"):
        if plugin in user:
            raise AccessError(
                f"{parts.source}: the user of context {parts.context!r} has {plugin!r}, which is "
                "not supported; give it a token or a client certificate"
            )
    try:
        server = urlsplit(text_at(cluster, "server"))
        port = server.port
    except ValueError:  # a port that is no number
        server, port = urlsplit(""), None
    if server.scheme not in _PORTS or not server.hostname:
        raise AccessError(
            f"{parts.source}: the cluster of context {parts.context!r}: "
            "server is not an http or https URL"
        )
    token_file = text_at(user, "tokenFile")
    return Access(
        host=server.hostname,
        port=port or _PORTS[server.scheme],
        path_prefix=server.path.rstrip("/"),
        tls=_tls_context(parts, folder) if server.scheme == "https" else None,
        token=text_at(user, "token") or None,
        token_file=folder / token_file if token_file else None,
    )


def _read_kubeconfig(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only an agent with a kubeconfig needs it

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AccessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AccessError(f"{path}: not a kubeconfig: {str(error)[:300]}") from error
    if not isinstance(tree, dict):
        raise AccessError(f"{path}: not a kubeconfig")
    return tree


def _find_entry(
    tree: Mapping[str, Any], group: str, name: str, key: str, source: str
) -> dict[str, Any]:
    for each in objects_at(tree, group):
        if each.get("name") == name:
            return dict(map_at(each, key))
    raise AccessError(f"{source}: no {key} {name!r} in {group}")


def _tls_context(parts: KubeconfigParts, folder: Path) -> ssl.SSLContext:
    cluster, user = parts.cluster, parts.user
    try:
        authority = _read_credential(cluster, "certificate-authority", parts.source, folder)
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        # The CA certificates of many clusters lack extensions that Python requires since 3.13.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = (
            _read_credential(user, "client-certificate", parts.source, folder),
            _read_credential(user, "client-key", parts.source, folder),
        )
        if certificate and key:
            _load_client_certificate(context, certificate, key)
    except (OSError, TypeError, ValueError) as error:  # ssl.SSLError is an OSError
        raise AccessError(f"{parts.source}: certificates: {error}") from error
    return context


def _read_credential(tree: Mapping[str, Any], name: str, source: str, folder: Path) -> bytes | None:
    """Reads `NAME-data` (base64), else the file that `NAME` names, relative to the kubeconfig."""
    if data := tree.get(f"{name}-data"):
        try:
            decoded = base64.b64decode("".join(data.split()), validate=True)
        except (AttributeError, ValueError) as error:  # binascii.Error is a ValueError
            raise AccessError(f"{source}: {name}-data: not base64") from error
        if not decoded:  # without a CA, those of the system would be trusted
            raise AccessError(f"{source}: {name}-data: is empty")
        return decoded
    return (folder / tree[name]).read_bytes() if tree.get(name) else None


def _load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Loads a client certificate; by a temporary file, because `ssl` accepts only files."""
    with tempfile.NamedTemporaryFile(prefix="kapok-", delete=True) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)
