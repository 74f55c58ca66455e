"""The life cycle of the server: open the data directory, load, listen, shut down.

    async with serve(ApiServerOptions(data_dir=path, crds=[...], name="hub")) as server:
        server.url               # https://127.0.0.1:PORT (kubectl sends no token over plain HTTP)
        server.ca_path           # the certificate to trust for it
        server.kubeconfig_path   # data_dir/kubeconfig, mode 0600; KUBECONFIG for kubectl
        server.token             # the administrator's bearer token

Without a given port the first start takes a free one and records it in the data directory; later
starts use it again. `kapok serve-api` runs the server alone.
"""

import asyncio
import base64
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from scheduler.apiserver.auth.certificates import ensure_server_certificate
from scheduler.apiserver.auth.limits import (
    LIMITS_OF_OTHERS,
    OWNER_LIMITS,
    IdentityLimits,
    UsageByIdentity,
)
from scheduler.apiserver.auth.middleware import AuthMiddleware
from scheduler.apiserver.auth.storage_limits import StorageLimits
from scheduler.apiserver.auth.tokens import (
    OWNER,
    TokenStore,
    check_secret_mode,
    write_kubeconfig,
)
from scheduler.apiserver.backup import DATABASE_NAME
from scheduler.apiserver.base.errors import ApiError, DamagedFile
from scheduler.apiserver.base.faults import FaultReporter
from scheduler.apiserver.garbage_collector import GarbageCollector
from scheduler.apiserver.http import HttpHandler, WarningFunc
from scheduler.apiserver.kinds.admission import WriteOptions
from scheduler.apiserver.kinds.core.core_kinds import core_resources
from scheduler.apiserver.kinds.custom.definitions import definition_strategy
from scheduler.apiserver.kinds.custom.serving import DefinitionServer
from scheduler.apiserver.kinds.resources import ResourceCatalog, ServerResource
from scheduler.apiserver.listener import (
    LimitedServer,
    listening,
    listening_on_socket,
    max_connections_of,
    raise_descriptor_limit,
)
from scheduler.apiserver.storage.sqlite import DirectoryLock, SqliteStore
from scheduler.apiserver.write.access_checks import AccessChecks
from scheduler.apiserver.write.status_checks import StatusCheck
from scheduler.apiserver.write.writer import MutateFunc, ObjectWriter
from scheduler.hub.schema.json_types import JsonObject
from scheduler.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)
_CRD_RESOURCE = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
_WILDCARD_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never a default
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerOptions:
    """The options of a server."""

    data_dir: Path
    """The directory of database, tokens and kubeconfig; one server at a time may use it."""
    name: str = "hub"
    """The name of the cluster and of the context in the kubeconfig."""
    port: int = 0
    """The port; 0 means the recorded port if it is free, else any free port."""
    host: str = "127.0.0.1"
    host_names: Sequence[str] = ()
    """Further host names, for the certificate and accepted in Host headers."""
    socket_path: Path | None = None
    """A Unix socket to serve as well, without TLS; for the user that runs the server alone."""
    crds: Sequence[JsonObject] = ()
    """CustomResourceDefinitions to apply at the start, by the field manager `kapok-hub`."""
    namespaces: Sequence[str] = ()
    """Namespaces to create at the start, besides those that every cluster has."""
    owner_limits: IdentityLimits = OWNER_LIMITS
    """Requests, bytes and watches of the owner; beyond them the response is 429."""
    limits_of_others: IdentityLimits = LIMITS_OF_OTHERS
    """The same for each other identity."""
    storage_limits: StorageLimits = field(default_factory=StorageLimits)
    """What each identity but the owner may keep; beyond it the response is 403."""
    warning_funcs: Mapping[str, WarningFunc] = field(default_factory=dict)
    """Functions by kind: the warnings that a client gets when it writes such an object."""
    status_checks: Mapping[str, StatusCheck] = field(default_factory=dict)
    """Checks by kind of what is written to the status subresource."""
    mutations: Mapping[tuple[str, str], MutateFunc] = field(default_factory=dict)
    """Changes by group and kind of what is created, and of updates of no subresource."""
    access_checks: AccessChecks = field(default_factory=dict)
    """Checks by group and kind of writes that need further rights."""
    on_fault: Callable[[str], None] = lambda _where: None
    """Called with the place of each fault of the server (`base.faults.FAULT_PLACES`)."""
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """A running server."""

    name: str
    url: str
    token: str = field(repr=False)
    kubeconfig_path: Path
    ca_path: Path
    """The certificate of the authority that signs the server certificate."""


@asynccontextmanager
async def serve(options: ApiServerOptions) -> AsyncIterator[ApiServer]:
    """Runs a server for the duration of the context.

    Raises:
        DataDirectoryInUse: another server runs on the data directory.
        DamagedFile: a file of the data directory cannot be used.
        OSError: the port cannot be bound.
        ApiError: a CRD of the options was refused.
    """
    descriptor_limit = raise_descriptor_limit()
    faults = FaultReporter(options.on_fault, options.clock)
    options.data_dir.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(options.data_dir)
    lock.acquire()
    database = SqliteStore(options.data_dir / DATABASE_NAME)
    try:
        writer = _open_writer(database, options, faults)
        database.start()
        async with asyncio.TaskGroup() as group:
            collector = GarbageCollector(writer)
            collector.load()
            work = [
                group.create_task(collector.run(), name="api-collector"),
                group.create_task(collector.expire_events(), name="api-event-expiry"),
            ]
            try:
                await _bootstrap(writer, options)
                max_connections = max_connections_of(descriptor_limit)
                async with _listen(writer, options, max_connections) as server:
                    yield server
            finally:
                for task in work:
                    task.cancel()
                writer.heavy_work.close()
    finally:
        await database.close()
        lock.release()


def _open_writer(
    database: SqliteStore, options: ApiServerOptions, faults: FaultReporter
) -> ObjectWriter:
    clock = options.clock
    catalog = ResourceCatalog()
    served = DefinitionServer(catalog)
    for resource in core_resources():
        if resource.group_resource.kind == "CustomResourceDefinition":
            resource = replace(resource, strategy=definition_strategy(clock.now, served.prepare))  # noqa: PLW2901
        catalog.add(resource)
    writer = ObjectWriter(
        catalog=catalog,
        database=database,
        clock=clock,
        faults=faults,
        limits=options.storage_limits,
    )
    writer.status_checks = options.status_checks
    writer.mutations = options.mutations
    writer.access_checks = options.access_checks
    writer.load()
    definitions = catalog.find(*_CRD_RESOURCE)
    if definitions is not None:
        for stored in writer.collection(definitions.collection_name).objects.values():
            try:
                served.serve(stored.decode())
            except Exception as error:  # noqa: BLE001 - one definition does not stop the start
                faults.report("api-load", f"serving the definition {stored.key}", error)
    writer.add_listener(partial(_on_definition_change, served))
    return writer


def _on_definition_change(
    served: DefinitionServer, resource: ServerResource, item: JsonObject, event_type: str
) -> None:
    if resource.group_resource.kind != "CustomResourceDefinition" or resource.is_custom:
        return
    if event_type == "DELETED":
        served.remove(item["metadata"]["name"])
    else:
        served.serve(item)


async def _bootstrap(writer: ObjectWriter, options: ApiServerOptions) -> None:
    """Creates the namespaces and applies the CRDs of the options."""
    spaces = writer.catalog.find("", "v1", "namespaces")
    definitions = writer.catalog.find(*_CRD_RESOURCE)
    write = WriteOptions(field_manager="kapok-hub", force=True)
    for name in (*_SYSTEM_NAMESPACES, *options.namespaces):
        if spaces is not None and writer.collection(spaces.collection_name).latest(name) is None:
            item: JsonObject = {"metadata": {"name": name}}
            await writer.create(spaces, "", item, replace(write))
    for definition in options.crds:
        if definitions is not None:
            name = definition["metadata"]["name"]
            config = json.loads(json.dumps(definition))
            await writer.apply(definitions, "", name, config, replace(write))


@asynccontextmanager
async def _listen(
    writer: ObjectWriter, options: ApiServerOptions, max_connections: int
) -> AsyncIterator[ApiServer]:
    check_secret_mode(options.data_dir / "tls.key")
    tokens = TokenStore(options.data_dir / "tokens.json")
    token = tokens.get_or_create(OWNER)
    usage = UsageByIdentity(
        options.clock,
        owner=options.owner_limits,
        others=options.limits_of_others,
    )
    handler = HttpHandler(
        writer=writer,
        auth_middleware=AuthMiddleware(
            tokens=tokens, host_names=frozenset({options.host, *options.host_names}), usage=usage
        ),
        usage=usage,
        warning_funcs=options.warning_funcs,
        faults=writer.faults,
    )
    server = LimitedServer(
        handler.handle, handle_plain=handler.handle_plain, max_connections=max_connections
    )
    handler.mark_known = server.mark_known
    certificate = ensure_server_certificate(
        options.data_dir,
        sorted({*_LOOPBACK_NAMES, options.host, *options.host_names}),
        options.clock.now(),
    )
    bound = bind_port(options.host, options.port, options.data_dir / "port")
    async with (
        listening(server, bound, certificate.ssl_context()),
        listening_on_socket(server, options.socket_path, options.clock),
    ):
        port = bound.getsockname()[1]
        url = f"https://{_reachable_host(options)}:{port}"
        path = options.data_dir / "kubeconfig"
        authority = base64.b64encode(certificate.authority_path.read_bytes()).decode()
        write_kubeconfig(path, name=options.name, url=url, token=token, ca=authority)
        log.info("%s: serving the Kubernetes API at %s, kubeconfig %s", options.name, url, path)
        try:
            yield ApiServer(
                name=options.name,
                url=url,
                token=token,
                kubeconfig_path=path,
                ca_path=certificate.authority_path,
            )
        finally:
            handler.end_watches()


def _reachable_host(options: ApiServerOptions) -> str:
    """The host for the kubeconfig; clients cannot connect to a wildcard address."""
    if options.host in _WILDCARD_ADDRESSES:
        return next(iter(options.host_names), "127.0.0.1")
    return f"[{options.host}]" if ":" in options.host else options.host


def bind_port(host: str, port: int, port_file: Path) -> socket.socket:
    """Binds a socket to the given port, else to the recorded one, else to any; records the port.

    Args:
        host: the address to bind to.
        port: the port; 0 means the recorded port if it is free, else any free port.
        port_file: the file that records the port.

    Raises:
        DamagedFile: the port cannot be recorded.
        OSError: the given port is in use.
    """
    recorded = 0 if port else _read_port(port_file)
    try:
        bound = _bind_socket(host, port or recorded)
    except OSError:
        if port:
            raise
        log.warning("port %d is in use, taking and recording another one", recorded)
        bound = _bind_socket(host, 0)
    try:
        port_file.write_text(f"{bound.getsockname()[1]}\n")
    except OSError as error:
        bound.close()
        raise DamagedFile(
            f"{port_file}: the port cannot be recorded ({error.strerror}); remove what is there"
        ) from None
    return bound


def _read_port(port_file: Path) -> int:
    """The recorded port; 0 if there is none or the file is damaged."""
    try:
        recorded = int(port_file.read_text())
    except FileNotFoundError:
        return 0
    except (OSError, ValueError):
        recorded = -1
    if 0 <= recorded <= _MAX_PORT:
        return recorded
    log.warning("%s: the file holds no port, taking and recording a free one", port_file)
    return 0


def _bind_socket(host: str, port: int) -> socket.socket:
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
