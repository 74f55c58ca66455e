"""A small Kubernetes API server: the hub of `kapok up`, and the member clusters of tests.

It serves our kinds and the core kinds that we touch, in one process, kept in SQLite; kubectl and
the Kubernetes clients cannot tell it from a real one for these kinds. Use:

    from scheduler.hub.embedded import ApiServerOptions, serve

    async with serve(ApiServerOptions(data_dir=path, crds=[...], name="hub")) as server:
        server.url               # https://127.0.0.1:PORT (kubectl sends no token over plain HTTP)
        server.ca_path           # the certificate to trust for it
        server.kubeconfig_path   # data_dir/kubeconfig, mode 0600; KUBECONFIG for kubectl
        server.token             # the administrator's bearer token

Ports are chosen free at the first start, recorded in the data directory and used again. `kapok
serve-api` runs it alone. The parts, from the disk upwards: store (SQLite), collection (memory and
history), registry (the one way of a write), verbs, watching, listing, frontend (HTTP), server
(life).
"""

from scheduler.hub.embedded.server import ApiServer, ApiServerOptions, serve
from scheduler.hub.embedded.store import DataDirectoryInUse

__all__ = ["ApiServer", "ApiServerOptions", "DataDirectoryInUse", "serve"]
