"""The settings of `kapok up`: a YAML file and the environment become one typed value.

The only reader of configuration. A wrong setting is refused by name, so that a typo never becomes a
silent default; all wrong ones are named at once. The name of each setting states its unit, its type
the range; `configs/scheduler.yaml` explains each.
"""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec

from scheduler.feed_settings import EnergySettings, find_feed_problems
from scheduler.hub.schema.yaml_documents import YamlDocumentError, load_documents
from scheduler.joining_settings import JoiningSettings, find_joining_problems
from scheduler.ledger_settings import LedgerSettings, find_ledger_problems
from scheduler.runtime.log_format import LogFormat
from scheduler.setting_checks import (
    AgeSeconds,
    HostName,
    IpAddress,
    PauseSeconds,
    Port,
    RateSetting,
    RatioSetting,
    SettingFinding,
    Severity,
    WaitSeconds,
    check_group,
)

DATA_HOME = "KAPOK_DATA_HOME"
"""Environment variable: the data directory when the command line names none."""


_MAX_FILE_BYTES = 1_000_000


LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class SettingsError(ValueError):
    """The settings are invalid; the message names the setting and what to do."""


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which Kubernetes API is the hub.

    Attributes:
        kubeconfig: kubeconfig of a real cluster; empty: as `in_cluster` says.
        in_cluster: the cluster whose Pod this runs in is the hub, by the Pod's service account, if
            there is one and `kubeconfig` is empty; otherwise the embedded hub.
        context: context in that kubeconfig; empty: the current one.
        port: port of the embedded hub on 127.0.0.1; 0: a free port, chosen at the first start.
        max_objects_per_token: objects that the holder of a token may keep on the embedded hub.
        max_bytes_per_token: bytes of these objects.
        concurrency: so many workloads are on their way at once from a decision to its order.
        signing_key_file: file with the key that signs orders, which replicas share; empty: hub.key
            of the data directory, made at the first start.
        signing_key_secret: Secret in kapok-system of a real cluster that holds the key under
            `hub.key`; the first replica makes it. Empty: no Secret.
        lease_seconds: the leader's lease lasts this long; another scheduler leads this much later,
            and a second, if the leader is gone. A request of the leader may take a third of it.
    """

    kubeconfig: str = ""
    in_cluster: bool = True
    context: str = ""
    port: Port = 0
    max_objects_per_token: Annotated[
        int, msgspec.Meta(ge=1, le=10_000_000, extra={"unit": "objects"})
    ] = 20_000
    max_bytes_per_token: Annotated[int, msgspec.Meta(ge=1, le=2**40, extra={"unit": "bytes"})] = (
        256 * 1024 * 1024
    )
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256, extra={"unit": "workloads"})] = 32
    signing_key_file: str = ""
    signing_key_secret: str = ""
    lease_seconds: Annotated[int, msgspec.Meta(ge=3, le=300, extra={"unit": "seconds"})] = 15


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which MQTT 5 broker carries the messages.

    Attributes:
        host: host of an existing broker; empty: the embedded broker.
        port: its port; for the embedded broker 0: a free port, chosen at the first start.
        username: the scheduler's own login; empty: none.
        password_file: file with the password, so that no settings file contains it.
        tls_ca_file: authority of the broker's certificate; empty: no TLS, which is allowed on
            loopback only.
        tls_certificate_file: client certificate of the scheduler; empty: none.
        tls_key_file: key of that certificate.
    """

    host: str = ""
    port: Port = 0
    username: str = ""
    password_file: str = ""
    tls_ca_file: str = ""
    tls_certificate_file: str = ""
    tls_key_file: str = ""


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where /metrics, /healthz, /readyz, the page and its API are served.

    Attributes:
        host: address to listen on; 0.0.0.0 or :: for all of this machine. Without TLS only
            /metrics, /healthz and /readyz are served to other machines.
        port: its port; 0: a free port, chosen at the first start.
        tls_certificate_file: certificate of the server with those of its authorities, PEM; empty:
            no TLS.
        tls_key_file: key of that certificate; empty: it is in the same file.
        allowed_hosts: names by which clients may address the server; a request to another name is
            refused. The names of loopback and the address itself are always allowed.
    """

    host: IpAddress = "127.0.0.1"
    port: Port = 0
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    allowed_hosts: Annotated[
        tuple[HostName, ...], msgspec.Meta(max_length=64, description="host names without port")
    ] = ()


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the log is written, on stderr.

    Attributes:
        format: text for people; json: one JSON object a line, with time, level, logger, message,
            and decision, order, site, grant and workload where a line is about one.
    """

    format: LogFormat = "text"


class FreshnessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When what a site reported is too old.

    Attributes:
        stale_after_seconds: a site with older figures gets no new work.
        silent_after_seconds: a site that has sent nothing for this long is Ready=False.
        hear_sites_seconds: how long to wait for reports of the sites after a start, before
            anything is decided that they may run already.
        site_status_seconds: the figures of a site are written to its status at most this often; a
            change of Ready is written at once.
        nonce_seconds: how often each site is asked to prove that its reports are fresh.
        require_nonce: what agents send that cannot prove it, because they are of a version before
            nonces, is refused.
    """

    stale_after_seconds: AgeSeconds = 300.0
    silent_after_seconds: AgeSeconds = 45.0
    hear_sites_seconds: WaitSeconds = 10.0
    site_status_seconds: PauseSeconds = 15.0
    nonce_seconds: AgeSeconds = 300.0
    require_nonce: bool = False


class HealthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a site is silent and lost; `freshness.silent_after_seconds` is the lower bound.

    Attributes:
        max_silent_after_seconds: a site that reports rarely is silent after this time at the
            latest, or after freshness.silent_after_seconds if that is longer.
        lost_after_seconds: a site that has sent nothing for this long is lost; it was silent for
            half of that time at least.
        first_hold_seconds: a site that was silent twice in a short time must report in time for
            this long before it counts as there again; doubled each further time; 0: never.
        max_hold_seconds: the longest such time; a site that was there for as long has no past.
    """

    max_silent_after_seconds: AgeSeconds = 900.0
    lost_after_seconds: AgeSeconds = 300.0
    first_hold_seconds: WaitSeconds = 30.0
    max_hold_seconds: WaitSeconds = 600.0


class StormSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When evictions are frozen and slowed down, because silence may be the hub's own.

    Attributes:
        max_silent_ratio: evictions freeze when more than this share of the fleet fell silent
            together, within two report intervals.
        min_rest_ratio: a province, a city or a provider that is wholly silent is lost if this share
            of the other sites reports; below that it is held without an end.
        loss_after_ratio: sites of a lost province, city or provider must be silent for this many
            times spec.failover.afterSeconds.
        settle_seconds: a freeze ends when its cause was over for this long; after a start and after
            a new session with the broker nothing is evicted for this long either, unless all sites
            were received.
        full_rate_ratio: evictions go at the full rate while this share of the sites reports, or all
            but one.
        full_per_second: workloads that are evicted each second at the full rate.
        reduced_per_second: the same while fewer sites report.
    """

    max_silent_ratio: RatioSetting = 0.5
    min_rest_ratio: RatioSetting = 0.8
    loss_after_ratio: Annotated[float, msgspec.Meta(ge=1, le=1000, extra={"unit": "times"})] = 2.0
    settle_seconds: WaitSeconds = 60.0
    full_rate_ratio: RatioSetting = 0.8
    full_per_second: RateSetting = 200.0
    reduced_per_second: RateSetting = 10.0


class FailoverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When the replicas of silent sites, and those that stay not ready, are replaced.

    Attributes:
        enabled: whether anything is replaced without an operator's word.
        after_seconds: how long a site must be silent, where spec.failover does not say.
        unready_after_seconds: how long replicas at a site that reports must be not ready, where
            spec.failover does not say; 0: they are never replaced.
        storm: when evictions are frozen and slowed down.
    """

    enabled: bool = True
    after_seconds: AgeSeconds = 300.0
    unready_after_seconds: Annotated[
        float, msgspec.Meta(ge=0, le=31_536_000, extra={"unit": "seconds"})
    ] = 600.0
    storm: StormSettings = StormSettings()


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often workloads that failed or were not placed are tried again.

    Attributes:
        first_backoff_seconds: pause after the first failure; doubled each time.
        last_backoff_seconds: the longest pause.
        unschedulable_recheck_seconds: unplaced work is decided again after this time, even without
            an event that could help it.
        reserve_after_seconds: capacity is reserved for work that has waited for it this long; 0:
            never.
    """

    first_backoff_seconds: PauseSeconds = 1.0
    last_backoff_seconds: PauseSeconds = 60.0
    unschedulable_recheck_seconds: PauseSeconds = 300.0
    reserve_after_seconds: WaitSeconds = 600.0


class SurvivalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often it is judged whether the loss of each site can be survived.

    Attributes:
        interval_seconds: shortest time between two judgements, of which the second follows only a
            change; after one that took long the pause is three times as long. 0: none is made.
        budget_seconds: a judgement that takes longer is ended; what is known is then not known.
        memory_mebibytes: the most memory of the process that judges, in address space.
    """

    interval_seconds: Annotated[
        float, msgspec.Meta(ge=0, le=31_536_000, extra={"unit": "seconds"})
    ] = 30.0
    budget_seconds: PauseSeconds = 300.0
    memory_mebibytes: Annotated[
        int, msgspec.Meta(ge=256, le=1_048_576, extra={"unit": "mebibytes"})
    ] = 4096


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When the backlog is solved as one batch, for the prices of scarce capacity.

    Attributes:
        at_workloads: a batch is solved when at least this many workloads wait; 0: never.
        interval_seconds: shortest time between two batches.
        prices_expire_seconds: prices that no later batch confirmed are dropped after this time.
        most_workloads: a batch has at most this many workloads, the most urgent ones.
        most_pairs: a batch has at most this many pairs of workload and site; one uses about 50
            bytes of memory meanwhile.
        budget_seconds: a batch that takes longer is ended; decisions go on without its outcome.
        memory_mebibytes: the most memory of the process that solves a batch, in address space.
    """

    at_workloads: Annotated[int, msgspec.Meta(ge=0, le=1_000_000, extra={"unit": "workloads"})] = (
        100
    )
    interval_seconds: PauseSeconds = 30.0
    prices_expire_seconds: AgeSeconds = 300.0
    most_workloads: Annotated[
        int, msgspec.Meta(ge=1, le=1_000_000, extra={"unit": "workloads"})
    ] = 10_000
    most_pairs: Annotated[
        int, msgspec.Meta(ge=1, le=1_000_000_000, extra={"unit": "pairs of workload and site"})
    ] = 10_000_000
    budget_seconds: PauseSeconds = 60.0
    memory_mebibytes: Annotated[
        int, msgspec.Meta(ge=256, le=1_048_576, extra={"unit": "mebibytes"})
    ] = 4096


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How orders are published.

    Attributes:
        stuck_in_flight_seconds: an order that does not run for this long sets the condition
            StuckInFlight, and room is kept no longer for pods that the site cannot schedule.
        repeat_seconds: an index that a site does not echo is published again this often.
    """

    stuck_in_flight_seconds: AgeSeconds = 300.0
    repeat_seconds: PauseSeconds = 5.0


class StandardsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects are written for other tools, where multicluster.x-k8s.io is installed.

    Attributes:
        cluster_profiles: a ClusterProfile in kapok-system for each site.
        placement_decisions: PlacementDecision objects beside each workload that is placed; they
            refer to these profiles, so they are written only with them.
    """

    cluster_profiles: bool = True
    placement_decisions: bool = True


class PushHostingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The agents of sites with `delivery.mode: Push`, in a process beside the embedded hub.

    Beside a real cluster `kapok-agent push` runs on its own, with an account and settings of its
    own.

    Attributes:
        enabled: starts the process, and admits its keys.
        namespaces: the only namespaces of the hub whose Secrets it may read; the kubeconfigs of
            members are there, and nothing else should be.
        max_sites: the most sites that it has agents for; memory grows with each.
        tenant_account: name of the ServiceAccount at the members whose rights a workload's objects
            are applied with; empty: those of the kubeconfig.
        access_providers_file: names the credential plugin of each access provider of
            ClusterProfiles, as JSON; empty: none.
    """

    enabled: bool = False
    namespaces: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")], ...],
        msgspec.Meta(min_length=1, max_length=64),
    ] = ("kapok-members",)
    max_sites: Annotated[int, msgspec.Meta(ge=1, le=1000, extra={"unit": "sites"})] = 50
    tenant_account: Annotated[
        str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")
    ] = ""
    access_providers_file: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings.

    Attributes:
        hub_id: names this hub in order ids; a hub restored from a backup must keep it. It has
            neither a slash nor a space.
        log_level: DEBUG, INFO, WARNING or ERROR, in any case.
        log: how the log is written.
        hub: which Kubernetes API is the hub.
        broker: which broker carries the messages.
        joining: how machines of sites join.
        ledger: where decisions are recorded.
        web: where metrics and the web page are served.
        freshness: when what a site reported is too old.
        health: when a site is silent and lost.
        failover: when the replicas of silent sites are replaced.
        queue: how often work is tried again.
        batch: when the backlog is solved as one batch.
        survival: how often the loss of sites is judged.
        dispatch: how orders are published.
        standards: which objects are written for other tools.
        push: the agents of sites that are reached from beside the hub.
        energy: where carbon intensities come from.
    """

    hub_id: Annotated[
        str,
        msgspec.Meta(
            max_length=128,
            pattern=r"^[^/\s]+$",
            description="1 to 128 characters, neither slash nor space",
        ),
    ] = "kapok"
    log_level: LogLevel = "INFO"
    log: LogSettings = LogSettings()
    hub: HubSettings = HubSettings()
    broker: BrokerSettings = BrokerSettings()
    joining: JoiningSettings = JoiningSettings()
    ledger: LedgerSettings = LedgerSettings()
    web: WebSettings = WebSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    health: HealthSettings = HealthSettings()
    failover: FailoverSettings = FailoverSettings()
    queue: QueueSettings = QueueSettings()
    batch: BatchSettings = BatchSettings()
    survival: SurvivalSettings = SurvivalSettings()
    dispatch: DispatchSettings = DispatchSettings()
    standards: StandardsSettings = StandardsSettings()
    push: PushHostingSettings = PushHostingSettings()
    energy: EnergySettings = EnergySettings()


def load_settings(path: Path | None) -> Settings:
    """Reads a settings file.

    Args:
        path: a YAML file; None: all defaults.

    Raises:
        SettingsError: the file is missing, is not YAML, or a setting is wrong.
    """
    return Settings() if path is None else settings_from(_read(path), source=str(path))


def settings_from(raw: object, *, source: str) -> Settings:
    """Turns decoded YAML into settings.

    Raises:
        SettingsError: settings are unknown or have wrong values; the message names all of them.
    """
    wrong = [f"{source}: {one.line}" for one in find_problems(raw) if one.severity == "error"]
    if wrong:
        raise SettingsError("\n".join(wrong))
    return msgspec.convert(_normalised(raw), Settings)


def check_settings_file(path: Path | None) -> list[SettingFinding]:
    """Every problem of a settings file, for `kapok config check`; none of the built-in values."""
    if path is None:
        return []
    try:
        return list(find_problems(_read(path)))
    except SettingsError as error:
        what, _, instead = str(error).partition("; ")
        return [SettingFinding("", "error", what, instead or "write a map of settings in YAML")]


def find_problems(raw: object) -> Iterator[SettingFinding]:
    """Every problem of decoded settings: unknown names, wrong values, what does not fit together.

    Relations are judged only when every single value is right.
    """
    if not isinstance(raw, dict):
        what = f"settings must be a map of groups, not a {_type_name(raw)}"
        groups = ", ".join(Settings.__struct_fields__)
        yield SettingFinding("", "error", what, f"known: {groups}")
        return
    given: dict[Any, Any] = _normalised(raw)
    wrong = list(check_group(given, Settings))
    yield from wrong
    if not wrong:
        yield from _find_contradictions(msgspec.convert(given, Settings))


def data_directory(named: str | None) -> Path:
    """The data directory: `named`, else $KAPOK_DATA_HOME, else ~/.local/share/kapok; absolute."""
    chosen = named or os.environ.get(DATA_HOME)
    return (Path(chosen) if chosen else Path.home() / ".local" / "share" / "kapok").absolute()


def _read(path: Path) -> object:
    """The decoded file.

    Raises:
        SettingsError: it cannot be read, or is no single YAML document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise SettingsError(
                f"{path}: larger than {_MAX_FILE_BYTES} bytes; name a settings file"
            )
        documents = list(load_documents(data.decode("utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file with --config") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text; name a settings file") from error
    except YamlDocumentError as error:
        raise SettingsError(f"{path}: {error}; configs/scheduler.yaml is an example") from error
    if len(documents) > 1:
        raise SettingsError(f"{path}: more than one YAML document; write one, without ---")
    return documents[0].value if documents else {}


def _normalised(raw: Any) -> Any:  # noqa: ANN401 - decoded YAML
    """The same settings; a level of logging may be written in any case."""
    level = raw.get("log_level")
    if not isinstance(level, str) or level.upper() not in get_args(LogLevel):
        return raw
    return {**raw, "log_level": level.upper()}


def _find_contradictions(settings: Settings) -> Iterator[SettingFinding]:
    """What is wrong only together with another setting."""
    broker, queue = settings.broker, settings.queue
    is_loopback = broker.host in ("", "localhost", "::1") or broker.host.startswith("127.")
    if not is_loopback and not broker.tls_ca_file:
        what = f"{broker.host} is not on loopback, and is reached without TLS"
        instead = "broker.tls_ca_file must name the authority of its certificate"
        yield SettingFinding("broker.host", "error", what, instead)
    if queue.first_backoff_seconds > queue.last_backoff_seconds:
        what = f"{queue.last_backoff_seconds:g} is less than the first pause"
        instead = f"write {queue.first_backoff_seconds:g} or more"
        yield SettingFinding("queue.last_backoff_seconds", "error", what, instead)
    if settings.health.first_hold_seconds > settings.health.max_hold_seconds:
        what = f"{settings.health.max_hold_seconds:g} is less than the first hold"
        instead = f"write {settings.health.first_hold_seconds:g} or more"
        yield SettingFinding("health.max_hold_seconds", "error", what, instead)
    storm = settings.failover.storm
    if storm.reduced_per_second > storm.full_per_second:
        what = f"{storm.reduced_per_second:g} is more than the full rate"
        instead = f"write {storm.full_per_second:g} or less"
        yield SettingFinding("failover.storm.reduced_per_second", "error", what, instead)
    if broker.tls_key_file and not broker.tls_certificate_file:
        instead = "name the certificate in broker.tls_certificate_file"
        yield SettingFinding(
            "broker.tls_key_file", "error", "a key without its certificate", instead
        )
    if settings.push.enabled and (settings.hub.kubeconfig or broker.host):
        what = "needs the embedded hub and the embedded broker, which take its account"
        instead = "write false, and run kapok-agent push beside a real hub or broker"
        yield SettingFinding("push.enabled", "error", what, instead)
    if settings.push.enabled and "kapok-system" in settings.push.namespaces:
        what = "kapok-system has Secrets of the hub itself"
        instead = "keep the kubeconfigs of members in a namespace of their own"
        yield SettingFinding("push.namespaces", "error", what, instead)
    yield from find_joining_problems(settings.joining, has_other_broker=bool(broker.host))
    yield from find_ledger_problems(settings.ledger)
    yield from find_feed_problems(settings.energy)
    yield from _find_web_problems(settings.web)
    yield from _find_equal_ports(settings)
    yield from _find_idle_settings(settings)


def _find_web_problems(web: WebSettings) -> Iterator[SettingFinding]:
    """Where the web server would be open to others, or would not start."""
    if web.tls_key_file and not web.tls_certificate_file:
        instead = "name the certificate in web.tls_certificate_file"
        yield SettingFinding("web.tls_key_file", "error", "a key without its certificate", instead)
    try:
        address = ip_address(web.host)
    except ValueError:
        instead = "write one, such as 127.0.0.1, 0.0.0.0 or ::"
        yield SettingFinding("web.host", "error", f"{web.host} is no IP address", instead)
        return
    if not address.is_loopback and not web.tls_certificate_file:
        what = (
            f"{web.host} is not on loopback: without TLS other machines get /metrics, /healthz "
            "and /readyz only, and not the page"
        )
        instead = "name a certificate in web.tls_certificate_file for more"
        yield SettingFinding("web.host", "warning", what, instead)


def _find_equal_ports(settings: Settings) -> Iterator[SettingFinding]:
    """Servers of ours on one port of this machine."""
    taken: dict[int, str] = {}
    servers = {
        "hub.port": 0 if settings.hub.kubeconfig else settings.hub.port,
        "broker.port": 0 if settings.broker.host else settings.broker.port,
        "web.port": settings.web.port,
    }
    for path, port in servers.items():
        if port and port in taken:
            what = f"{port} is the port of {taken[port]} too"
            yield SettingFinding(path, "error", what, "write another port, or 0 for a free one")
        taken[port] = path


def _find_idle_settings(settings: Settings) -> Iterator[SettingFinding]:
    """Settings that do nothing without another one."""
    hub, broker = settings.hub, settings.broker
    if hub.context and not hub.kubeconfig:
        what = "does nothing: the embedded hub has one context"
        yield SettingFinding("hub.context", "warning", what, "name a kubeconfig in hub.kubeconfig")
    if hub.signing_key_secret and (hub.signing_key_file or not hub.kubeconfig):
        what = (
            "there is a key in a file too"
            if hub.signing_key_file
            else "the embedded hub has no Secret"
        )
        # A Pod's own cluster has one; at the start it is known whether this runs in a Pod.
        is_in_pod_at_best = not hub.signing_key_file and hub.in_cluster
        instead = "leave it empty, or name a kubeconfig in hub.kubeconfig and no file"
        severity: Severity = "warning" if is_in_pod_at_best else "error"
        yield SettingFinding("hub.signing_key_secret", severity, what, instead)
    if settings.standards.placement_decisions and not settings.standards.cluster_profiles:
        what = "does nothing: decisions refer to ClusterProfiles, which are not written"
        instead = "set standards.cluster_profiles: true, or this to false"
        yield SettingFinding("standards.placement_decisions", "warning", what, instead)
    for name in ("username", "password_file", "tls_ca_file", "tls_certificate_file"):
        if getattr(broker, name) and not broker.host:
            what = "does nothing: the embedded broker takes every client on loopback"
            yield SettingFinding(f"broker.{name}", "warning", what, "name a broker in broker.host")


def _type_name(value: object) -> str:
    return "list" if isinstance(value, list) else type(value).__name__
