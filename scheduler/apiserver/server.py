"""The server's life: open the data directory, load, listen, end cleanly.

    async with serve(ApiServerOptions(data_dir=path, crds=[...], name="hub")) as server:
        server.url               # https://127.0.0.1:PORT (kubectl sends no token over plain HTTP)
        server.ca_path           # the certificate to trust for it
        server.kubeconfig_path   # data_dir/kubeconfig, mode 0600; KUBECONFIG for kubectl
        server.token             # the administrator's bearer token

Ports are chosen free at the first start, recorded in the data directory and used again. `kapok
serve-api` runs it alone.
"""

import asyncio
import asyncio.sslproto
import base64
import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiohttp import web

from scheduler.apiserver.auth.certificates import server_certificate
from scheduler.apiserver.auth.kubeconfig import write_kubeconfig
from scheduler.apiserver.auth.middleware import Door
from scheduler.apiserver.auth.tokens import ADMINISTRATOR, Tokens
from scheduler.apiserver.backup import DATABASE
from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.garbage_collector import Collector
from scheduler.apiserver.http import Adviser, Frontend
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.apiserver.kinds.custom.definitions import behaviour, custom_resources
from scheduler.apiserver.kinds.resources import Catalog, Resource
from scheduler.apiserver.storage.sqlite import DirectoryLock, Store
from scheduler.apiserver.write.writer import Registry
from scheduler.hub.schema.json_types import JsonObject
from scheduler.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)
_CRDS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_LOCAL_NAMES = ("127.0.0.1", "::1", "localhost")
_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, never a default
_SHUTDOWN_SECONDS = 0.5
_TLS_BUFFER_BYTES = 32 * 1024
"""Of each connection. asyncio takes 256 KiB, which makes 1,000 watches cost 280 MB."""


@dataclass(frozen=True, slots=True)
class ApiServerOptions:
    """How a server is to be run."""

    data_dir: Path
    """Holds the database, the token and the kubeconfig; one server at a time."""
    name: str = "hub"
    """The name of the cluster and of the context in the kubeconfig."""
    port: int = 0
    """0: the recorded one if there is one and it is free, else one that is free."""
    host: str = "127.0.0.1"
    host_names: Sequence[str] = ()
    """Further names by which clients reach the server: certified, and let in by the door."""
    crds: Sequence[JsonObject] = ()
    """CustomResourceDefinitions applied at the start, by the field manager `kapok-hub`."""
    namespaces: Sequence[str] = ()
    """Namespaces made at the start, besides the ones that every cluster has."""
    requests_per_second: float = 20_000.0
    """By one identity on the long run; above it answers 429."""
    advisers: Mapping[str, Adviser] = field(default_factory=dict)
    """By kind: warnings for whoever writes such an object, sent as Warning headers."""
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running server."""

    name: str
    url: str
    token: str = field(repr=False)
    kubeconfig_path: Path
    ca_path: Path
    """The certificate to trust for `url`."""
    registry: Registry = field(repr=False)


@asynccontextmanager
async def serve(options: ApiServerOptions) -> AsyncIterator[ApiServer]:
    """Runs a server for as long as the block lasts.

    Raises:
        DataDirectoryInUse: another server runs on the data directory.
        OSError: the port cannot be had.
        ApiError: a CRD of the options was refused.
    """
    options.data_dir.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(options.data_dir)
    lock.take()
    store = Store(options.data_dir / DATABASE)
    try:
        registry = _registry(store, options.clock)
        store.start()
        async with asyncio.TaskGroup() as group:
            collector = Collector(registry)
            collector.load()
            work = [
                group.create_task(collector.run(), name="api-collector"),
                group.create_task(collector.expire_events(), name="api-event-expiry"),
            ]
            try:
                await _bootstrap(registry, options)
                async with _listening(registry, options) as server:
                    yield server
            finally:
                for task in work:
                    task.cancel()
    finally:
        await store.close()
        lock.release()


def _registry(store: Store, clock: Clock) -> Registry:
    catalog = Catalog()
    for resource in core_resources():
        if resource.subject.kind == "CustomResourceDefinition":
            resource = replace(resource, behaviour=behaviour(clock.now))  # noqa: PLW2901
        catalog.add(resource)
    registry = Registry(catalog, store, clock)
    registry.load()
    definitions = catalog.find(*_CRDS)
    if definitions is not None:
        for stored in registry.collection(definitions.storage).objects.values():
            _serve_definition(registry, stored.decoded())
    registry.listeners.append(
        lambda resource, item, kind: _definition_changed(registry, resource, item, kind)
    )
    return registry


def _definition_changed(
    registry: Registry, resource: Resource, item: JsonObject, kind: str
) -> None:
    if resource.subject.kind != "CustomResourceDefinition" or resource.custom:
        return
    if kind == "DELETED":
        registry.catalog.remove_owned(item["metadata"]["name"])
    else:
        _serve_definition(registry, item)


def _serve_definition(registry: Registry, definition: JsonObject) -> None:
    registry.catalog.remove_owned(definition["metadata"]["name"])
    for resource in custom_resources(definition):
        registry.catalog.add(resource)


async def _bootstrap(registry: Registry, options: ApiServerOptions) -> None:
    """Makes the namespaces and applies the CRDs that the options name."""
    spaces = registry.catalog.find("", "v1", "namespaces")
    definitions = registry.catalog.find(*_CRDS)
    write = WriteOptions(manager="kapok-hub", force=True)
    for name in (*_NAMESPACES, *options.namespaces):
        if spaces is not None and registry.collection(spaces.storage).latest(name) is None:
            item: JsonObject = {"metadata": {"name": name}}
            await registry.create(spaces, "", item, replace(write))
    for definition in options.crds:
        if definitions is not None:
            name = definition["metadata"]["name"]
            config = json.loads(json.dumps(definition))
            await registry.apply(definitions, "", name, config, replace(write))


@asynccontextmanager
async def _listening(registry: Registry, options: ApiServerOptions) -> AsyncIterator[ApiServer]:
    tokens = Tokens(options.data_dir / "tokens.json")
    token = tokens.of(ADMINISTRATOR)
    door = Door(
        tokens,
        frozenset({options.host, *options.host_names}),
        options.clock,
        requests_per_second=options.requests_per_second,
    )
    frontend = Frontend(registry, door, options.advisers)
    # a watcher that leaves frees its place at once; writes go on, they are shielded
    server = web.Server(frontend.handle, handler_cancellation=True)
    asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
    runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    bound = bind(options.host, options.port, options.data_dir / "port")
    try:
        certificate = server_certificate(
            options.data_dir,
            sorted({*_LOCAL_NAMES, options.host, *options.host_names}),
            options.clock.now(),
        )
        site = web.SockSite(runner, bound, ssl_context=certificate.context())
        await site.start()
        port = bound.getsockname()[1]
        url = f"https://{_reachable(options)}:{port}"
        path = options.data_dir / "kubeconfig"
        authority = base64.b64encode(certificate.authority.read_bytes()).decode()
        write_kubeconfig(path, name=options.name, url=url, token=token, ca=authority)
        log.info("%s: the Kubernetes API is at %s, kubeconfig %s", options.name, url, path)
        yield ApiServer(options.name, url, token, path, certificate.authority, registry)
    finally:
        frontend.end_watches()
        await runner.cleanup()
        bound.close()


def _reachable(options: ApiServerOptions) -> str:
    """The name for the kubeconfig: an address that means "all" is none to call."""
    if options.host in _ALL_ADDRESSES:
        return next(iter(options.host_names), "127.0.0.1")
    return f"[{options.host}]" if ":" in options.host else options.host


def bind(host: str, port: int, record: Path) -> socket.socket:
    """A listening socket on the wanted port, else the recorded one, else any; records it.

    Raises:
        OSError: the wanted port is taken.
    """
    recorded = int(record.read_text()) if not port and record.exists() else 0
    try:
        bound = _bound(host, port or recorded)
    except OSError:
        if port:
            raise
        log.warning("port %d is taken, another one is used and recorded", recorded)
        bound = _bound(host, 0)
    record.write_text(f"{bound.getsockname()[1]}\n")
    return bound


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


__all__ = ["ApiError", "ApiServer", "ApiServerOptions", "serve"]
