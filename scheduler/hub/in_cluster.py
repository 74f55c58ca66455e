"""The API server of the cluster that this runs in, by the service account of the Pod.

It is written as a kubeconfig that names the mounted files, so that kubectl and all our commands
reach it like any other server. The kubeconfig holds no secret: kubelet renews the token's file.
"""

import os
from collections.abc import Mapping
from pathlib import Path

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER_FILE = "in-cluster.kubeconfig"
"""The kubeconfig in the data directory."""
_TEXT = """apiVersion: v1
kind: Config
clusters:
- name: hub
  cluster: {{server: "https://{host}:{port}", certificate-authority: "{folder}/ca.crt"}}
users:
- name: pod
  user: {{tokenFile: "{folder}/token"}}
contexts:
- name: hub
  context: {{cluster: hub, user: pod}}
current-context: hub
"""


def has_service_account(
    environment: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT
) -> bool:
    """Whether this runs in a Pod that has the token of a service account."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and (folder / "token").exists()


def usable_kubeconfig(
    kubeconfig: str, environment: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT
) -> Path:
    """The path of a kubeconfig that is named; that of the Pod's own cluster is written first.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(kubeconfig)
    if path.name == IN_CLUSTER_FILE and has_service_account(environment, folder):
        host = environment["KUBERNETES_SERVICE_HOST"]
        port = environment.get("KUBERNETES_SERVICE_PORT") or "443"
        written = f"[{host}]" if ":" in host else host
        draft = path.with_suffix(".new")
        draft.write_text(_TEXT.format(host=written, port=port, folder=folder), encoding="utf-8")
        draft.replace(path)
    return path
