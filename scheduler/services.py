"""Opens the hub, the broker and the ledger for the loops, and closes them in reverse order."""

import logging
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from scheduler.apiserver.listener import raise_descriptor_limit
from scheduler.apiserver.server import serve
from scheduler.control.ports.hub import HubError
from scheduler.control.replicas import ReplicaIdentity
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.health import HubHealth
from scheduler.hub.in_cluster import usable_kubeconfig
from scheduler.hub_process.launch import HubChild
from scheduler.hub_process.messages import HubPlan
from scheduler.hub_process.options import server_options
from scheduler.hub_process.supervisor import HubProcess, running_hub, socket_path_in
from scheduler.joining.server import Certificates, JoiningServer
from scheduler.joining_plan import prepare_joining
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.storage.places import ledger_place
from scheduler.ledger_settings import read_ledger_url
from scheduler.mqtt.broker import EmbeddedBroker, embedded_broker
from scheduler.mqtt.keyring import (
    SigningKey,
    note_public_key,
    write_public_key,
)
from scheduler.mqtt.received_messages import ReceivedMessages
from scheduler.mqtt.session import BrokerAddress
from scheduler.push.child import PushChild
from scheduler.recovery.files import check_data_files, check_mounted_secret
from scheduler.recovery.losses import (
    Loss,
    find_file_losses,
    find_hub_losses,
    read_ledger_facts,
    refuse_losses,
)
from scheduler.recovery.signing_key import is_key_shared, load_signing_key
from scheduler.runtime.backoff import JitteredBackoff
from scheduler.runtime.clock import Clock
from scheduler.runtime.data_dir import (
    HUB_KEY_FILE,
    HUB_PUBLIC_KEY_FILE,
    HUB_PUBLIC_KEYS_FILE,
    KUBECONFIG_FILE,
    DataDirectory,
)
from scheduler.settings import BrokerSettings, Settings, SettingsError, WebSettings
from scheduler.web.listener import WebListener

_T = TypeVar("_T")

_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.5, 10.0
_HUB_FOLDER = "hub"
_PLAIN_PORT, _TLS_PORT = 1883, 8883  # registered with IANA for MQTT


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a running scheduler is reached.

    Attributes:
        data_dir: the data directory.
        hub_url: address of the hub.
        hub_kind: "embedded" or "external".
        kubeconfig: the file by which kubectl reaches the hub.
        broker: host:port of the broker.
        broker_kind: "mosquitto" or "iotcore" when embedded, else "external".
        hub_key: the public key by which agents verify orders, `ed25519:BASE64`.
        metrics_url: the metrics for Prometheus.
        page_url: the web page; `kapok open` prints an address with a login.
        join_url: where machines join; empty: none can.
    """

    data_dir: Path
    hub_url: str
    hub_kind: str
    kubeconfig: Path
    broker: str
    broker_kind: str
    hub_key: str
    metrics_url: str
    page_url: str
    join_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services that the loops use.

    Attributes:
        client: client of the hub.
        hub_process: the process of the embedded hub; None when the hub is another server.
        broker_address: address of the broker.
        broker: the embedded broker; None when the broker is external.
        ledger: the ledger of decisions.
        replica: what other replicas must share with this one.
        is_ledger_lost: there was no ledger's file beside the hub's key, which is made after it.
        hub_keys: the public keys with which this hub signs and has signed.
        signing_key: signs orders and indexes.
        received: what was received of the sites' agents, over restarts.
        web_listener: where /metrics and the web page are served.
        endpoints: where the running scheduler is reached.
        push_child: the push process; None: there is none beside this hub.
        joining: serves machines that join; None: none can.
    """

    client: HubClient
    hub_process: HubProcess | None
    broker_address: BrokerAddress
    broker: EmbeddedBroker | None
    ledger: Ledger
    replica: ReplicaIdentity
    is_ledger_lost: bool
    hub_keys: frozenset[str]
    signing_key: SigningKey = field(repr=False)
    received: ReceivedMessages
    web_listener: WebListener
    endpoints: Endpoints
    push_child: PushChild | None = None
    joining: JoiningServer | None = None


@asynccontextmanager
async def _wait_silently(_: WebListener) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def open_services(
    settings: Settings,
    directory: DataDirectory,
    clock: Clock,
    *,
    on_hub_fault: Callable[[str], None],
    health: HubHealth | None = None,
    hub_child: HubChild | None = None,
    while_waiting: Callable[[WebListener], AbstractAsyncContextManager[None]] = _wait_silently,
) -> AsyncIterator[Services]:
    """Opens the hub, the broker and the ledger as long as the context lasts.

    A hub that does not answer is waited for: what it holds decides whether the ledger and the key
    may be made.

    Args:
        settings: of the whole scheduler.
        directory: the data directory.
        clock: for the pauses of the hub's process and of the broker.
        on_hub_fault: called with the edge of each fault of the embedded hub.
        health: learns what the hub answers.
        hub_child: becomes the embedded hub; None: a process is started for it.
        while_waiting: serves what is to be known as long as the hub does not answer.

    Raises:
        DataDirectoryError: a file is damaged, or is lost and no operator has accepted that.
        SettingsError: a file that the settings name cannot be used.
        OSError: a server does not start.
    """
    raise_descriptor_limit()  # for the connections of the page
    is_embedded, root = not settings.hub.kubeconfig, directory.path
    for name in _secret_files(settings):
        check_mounted_secret(Path(name))
    # Each check comes before its file is opened, because opening makes a missing file.
    check_data_files(root)
    url, shares_key = read_ledger_url(settings.ledger), is_key_shared(settings.hub)
    place = ledger_place(root, url)
    had_key = (root / (HUB_PUBLIC_KEYS_FILE if shares_key else HUB_KEY_FILE)).exists()
    ledger_facts = read_ledger_facts(place)
    refuse_losses(
        find_file_losses(root, ledger_facts, is_hub_embedded=is_embedded, is_key_shared=shares_key)
    )
    async with AsyncExitStack() as stack:
        hub = await _open_hub(
            settings, directory, clock, stack, on_fault=on_hub_fault, child=hub_child
        )
        client = hub.client.with_health(health) if health else hub.client
        web_listener = _open_listener(settings.web, directory)
        wait = partial(
            _wait_for_hub, clock=clock, while_waiting=partial(while_waiting, web_listener)
        )

        async def find_losses() -> list[Loss]:
            return await find_hub_losses(
                client,
                root,
                ledger_facts,
                is_ledger_expected=is_embedded or had_key or url is not None,
                place=place,
                key=await _present_key(settings, root, client),
            )

        refuse_losses(await wait(find_losses))
        joining = await prepare_joining(settings, directory, client, clock, wait)
        broker, address = await _open_broker(
            settings.broker, directory, clock, stack, certificates=joining
        )
        key = await wait(partial(load_signing_key, settings.hub, root, client))
        # Before it signs anything.
        hub_keys = note_public_key(directory.path / HUB_PUBLIC_KEYS_FILE, key)
        ledger = await stack.enter_async_context(Ledger(root, key=key, url=url))
        is_ledger_lost = ledger.is_new and had_key
        write_public_key(directory.path / HUB_PUBLIC_KEY_FILE, key)
        received = await stack.enter_async_context(ReceivedMessages(folder=directory.path))
        joining_server = None
        if joining is not None:
            joining_server = JoiningServer(
                hub=client,
                certificates=joining,
                hub_keys=lambda: (str(key.public),),
                root_keys=lambda: (),
                clock=clock,
                reload_broker=broker.reload if broker else lambda: None,
                end_sessions=broker.end_sessions if broker else lambda: None,
            )
        yield Services(
            client=client,
            hub_process=hub.process,
            broker_address=address,
            broker=broker,
            ledger=ledger,
            replica=ReplicaIdentity(key=str(key.public), ledger=ledger.chain_id),
            is_ledger_lost=is_ledger_lost,
            hub_keys=hub_keys,
            signing_key=key,
            received=received,
            web_listener=web_listener,
            push_child=PushChild(
                settings=settings.push,
                data_dir=root,
                hub_folder=root / _HUB_FOLDER,
                hub_key=str(key.public),
                broker_host="127.0.0.1",
                broker_port=broker.port,
                clock=clock,
            )
            if settings.push.enabled and broker is not None
            else None,
            joining=joining_server,
            endpoints=Endpoints(
                data_dir=directory.path,
                hub_url=client.address,
                hub_kind="embedded" if is_embedded else "external",
                kubeconfig=hub.kubeconfig,
                broker=f"{address.host}:{address.port}",
                broker_kind=broker.kind if broker else "external",
                hub_key=str(key.public),
                metrics_url=f"{web_listener.url}/metrics",
                page_url=f"{web_listener.public_url}/",
                join_url=joining_server.url if joining_server else "",
            ),
        )


async def _wait_for_hub(
    ask: Callable[[], Awaitable[_T]],
    clock: Clock,
    while_waiting: Callable[[], AbstractAsyncContextManager[None]],
) -> _T:
    """What the hub answers, as soon as it does."""
    try:
        return await ask()
    except HubError as error:
        failure = error
    backoff = JitteredBackoff(
        first_seconds=_FIRST_PAUSE_SECONDS,
        max_seconds=_MAX_PAUSE_SECONDS,
        min_seconds=0.1,
        jitter=random.Random(),  # noqa: S311 - jitter, nothing secret
    )
    async with while_waiting():
        while True:
            await clock.sleep(backoff.next_seconds(failure.retry_after_seconds))
            try:
                return await ask()
            except HubError as error:
                failure = error


@asynccontextmanager
async def open_hub_client(
    settings: Settings, directory: DataDirectory, *, on_hub_fault: Callable[[str], None]
) -> AsyncIterator[tuple[Path, HubClient]]:
    """Opens the hub alone, in this process: its kubeconfig and a client, for a command.

    Raises:
        HubError: the kubeconfig cannot be used.
        OSError: the embedded hub does not start.
    """
    async with AsyncExitStack() as stack:
        if settings.hub.kubeconfig:
            kubeconfig = usable_kubeconfig(settings.hub.kubeconfig)
        else:
            options = server_options(
                data_dir=directory.path / _HUB_FOLDER,
                port=settings.hub.port,
                max_objects=settings.hub.max_objects_per_token,
                max_bytes=settings.hub.max_bytes_per_token,
                on_fault=on_hub_fault,
            )
            await stack.enter_async_context(serve(options))
            kubeconfig = _link_kubeconfig(directory)
        context = settings.hub.context or None
        yield kubeconfig, await stack.enter_async_context(open_hub(kubeconfig, context=context))


async def _present_key(settings: Settings, root: Path, client: HubClient) -> str:
    """The public key of a scheduler of a real cluster; "" before it has one."""
    if not settings.hub.kubeconfig:
        return ""  # hub.pub says which one it was
    if not is_key_shared(settings.hub) and not (root / HUB_KEY_FILE).exists():
        return ""
    return str((await load_signing_key(settings.hub, root, client)).public)


def _secret_files(settings: Settings) -> list[str]:
    """The files with secrets that the settings name."""
    broker, web = settings.broker, settings.web
    names = (
        settings.hub.kubeconfig,
        settings.hub.signing_key_file,
        settings.ledger.password_file,
        broker.password_file,
        broker.tls_key_file,
        web.tls_key_file,
    )
    return [name for name in names if name]


@dataclass(frozen=True, slots=True)
class _OpenHub:
    """The hub of a scheduler: its kubeconfig, a client, and the process of an embedded one."""

    kubeconfig: Path
    client: HubClient
    process: HubProcess | None


async def _open_hub(
    settings: Settings,
    directory: DataDirectory,
    clock: Clock,
    stack: AsyncExitStack,
    *,
    on_fault: Callable[[str], None],
    child: HubChild | None,
) -> _OpenHub:
    """Opens the hub; starts the embedded one unless the settings name another."""
    if settings.hub.kubeconfig:
        kubeconfig = usable_kubeconfig(settings.hub.kubeconfig)
        context = settings.hub.context or None
        client = await stack.enter_async_context(open_hub(kubeconfig, context=context))
        return _OpenHub(kubeconfig, client, None)
    folder = directory.path / _HUB_FOLDER
    socket_path = socket_path_in(folder)
    plan = HubPlan(
        data_dir=str(folder),
        socket_path=str(socket_path or ""),
        port=settings.hub.port,
        max_objects=settings.hub.max_objects_per_token,
        max_bytes=settings.hub.max_bytes_per_token,
        log_level=logging.getLogger().getEffectiveLevel(),
    )
    running = running_hub(plan, clock=clock, on_fault=on_fault, early=child)
    process = await stack.enter_async_context(running)
    kubeconfig = _link_kubeconfig(directory)
    client = await stack.enter_async_context(open_hub(kubeconfig, socket_path=socket_path))
    return _OpenHub(kubeconfig, client, process)


def _link_kubeconfig(directory: DataDirectory) -> Path:
    """The kubeconfig of the embedded hub, where users look for it."""
    link = directory.path / KUBECONFIG_FILE
    link.unlink(missing_ok=True)
    # Relative to the link's own folder, so that the data directory can be moved.
    link.symlink_to(Path(_HUB_FOLDER) / KUBECONFIG_FILE)
    return link


def _open_listener(web: WebSettings, directory: DataDirectory) -> WebListener:
    """Where the web server listens; recorded, so that `kapok open` finds it.

    Raises:
        SettingsError: the certificate or its key cannot be used.
    """
    listener = WebListener(
        port=directory.port("web", web.port),
        host=web.host,
        certificate_file=web.tls_certificate_file,
        key_file=web.tls_key_file,
        allowed_hosts=web.allowed_hosts,
    )
    try:
        listener.make_context()
    except ValueError as error:
        raise SettingsError(str(error)) from error
    certificate = str(Path(web.tls_certificate_file).absolute()) if listener.is_tls else ""
    directory.record_web_server(listener.url, certificate)
    return listener


async def _open_broker(
    settings: BrokerSettings,
    directory: DataDirectory,
    clock: Clock,
    stack: AsyncExitStack,
    *,
    certificates: Certificates | None,
) -> tuple[EmbeddedBroker | None, BrokerAddress]:
    if settings.host:
        return None, _broker_address(settings)
    port = directory.port("broker", settings.port)
    folder = directory.path / "broker"
    folder.mkdir(mode=0o700, exist_ok=True)
    opened = certificates.open_listener() if certificates else None
    running = embedded_broker(folder, port, clock=clock, opened=opened)
    broker = await stack.enter_async_context(running)
    if certificates is None or opened is None:
        return broker, BrokerAddress(host="127.0.0.1", port=port)
    address = BrokerAddress(host=opened.own_host, port=opened.port, tls=certificates.client_context)
    return broker, address


def _broker_address(settings: BrokerSettings) -> BrokerAddress:
    tls = None
    try:
        if settings.tls_ca_file:
            tls = ssl.create_default_context(cafile=settings.tls_ca_file)
            if settings.tls_certificate_file:
                tls.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file or None)
        password = (
            Path(settings.password_file).read_text().strip() if settings.password_file else None
        )
    except OSError as error:
        raise SettingsError(
            f"broker: cannot read a file that the settings name: {error}"
        ) from error
    return BrokerAddress(
        host=settings.host,
        port=settings.port or (_TLS_PORT if tls else _PLAIN_PORT),
        username=settings.username or None,
        password=password,
        tls=tls,
    )
