"""The kubeconfig of a server: where it is, and the token that opens it."""

import json
import os
from pathlib import Path


def write_kubeconfig(path: Path, *, name: str, url: str, token: str, ca: str = "") -> None:
    """Writes a kubeconfig that only its owner can read, in one step.

    Args:
        path: the file.
        name: of the cluster, the user and the context.
        url: of the server.
        token: the bearer token.
        ca: the certificate of the server, base64 of PEM, for TLS.
    """
    cluster = {"server": url}
    if ca:
        cluster["certificate-authority-data"] = ca
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    draft.replace(path)
