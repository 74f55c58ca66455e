"""The settings of `kapok-agent`; `load.py` reads them, `configs/agent.yaml` explains them."""

from dataclasses import dataclass, field
from typing import Final

_HIDDEN: Final = "********"


class Secret(str):
    """A text whose `repr` is masked, so that it does not show in logs and traces."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _HIDDEN if self else "''"


NO_SECRET: Final = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentBrokerSettings:
    """The MQTT 5 broker.

    Attributes:
        host: name or address.
        port: TCP port; usually 8883 with TLS, 1883 without.
        username: user name; the site's name with `configs/mosquitto.conf`; empty for none.
        password: password; better use `password_file` or the environment.
        password_file: file that holds the password; read again for each session.
        tls_ca_file: CA certificate that signed the broker's certificate; empty means no TLS, which
            is allowed on loopback only.
        tls_certificate_file: the site's client certificate, if the broker requires one.
        tls_key_file: key of the client certificate.
        will_delay_seconds: time without a session after which the broker sends "offline".
        transport: "tcp", or "websockets" where only HTTP gets out.
        websocket_path: path of MQTT over WebSocket.
        proxy: HTTP proxy as `http://USER:PASSWORD@HOST:PORT`; empty: HTTPS_PROXY and NO_PROXY of
            the environment decide; "none": no proxy whatever the environment says.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password: Secret = NO_SECRET
    password_file: str = ""
    tls_ca_file: str = ""
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    will_delay_seconds: float = 15.0
    transport: str = "tcp"
    websocket_path: str = "/mqtt"
    proxy: Secret = NO_SECRET


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """How often the agent sends reports and statuses.

    Attributes:
        interval_seconds: time between reports.
        full_interval_seconds: time between full reports; the reports in between are deltas.
        status_interval_seconds: time between statuses when nothing changes.
    """

    interval_seconds: float = 10.0
    full_interval_seconds: float = 300.0
    status_interval_seconds: float = 10.0


LABELS_EXCLUDED: Final = (
    "kubernetes.io/hostname",
    "beta.kubernetes.io/*",
    "feature.node.kubernetes.io/*",
    "*/machine-id",
)
"""Labels that are not reported unless a workload asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The site's own Kubernetes cluster.

    Attributes:
        source: "none" (the site reports, but takes no work), "kubeconfig" or "in-cluster".
        kubeconfig: the file, for "kubeconfig".
        context: context of the kubeconfig; empty for the current one.
        is_executing: whether this agent applies orders; with False it only reports (as one of
            several agents at a site, one per node).
        is_watching: whether to watch nodes and pods; False lists all of them for each report.
        resync_seconds: time between passes when nothing is in progress.
        lease_seconds: time after which another agent may take over an unrenewed lease.
        labels: patterns of the node labels that distinguish node classes (`*` matches anything).
        labels_excluded: patterns of labels to leave out of these; a label that differs on every
            node would make every node a class of its own. Those of the default are reported where
            a workload asks for them; other patterns never.
        tenant_account: name of the ServiceAccount in each workload's namespace with whose rights
            its objects are applied (impersonation), so that a tenant's manifests can do no more
            than that account; empty: the agent's own rights.
    """

    source: str = "none"
    kubeconfig: str = ""
    context: str = ""
    is_executing: bool = True
    is_watching: bool = True
    resync_seconds: float = 10.0
    lease_seconds: float = 15.0
    labels: tuple[str, ...] = ("*",)
    labels_excluded: tuple[str, ...] = LABELS_EXCLUDED
    tenant_account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowSettings:
    """What orders may do at this site, whatever the hub signs; an order that breaks it is refused.

    Attributes:
        kinds: patterns of the kinds, `apps/Deployment`, core kinds as `Service`.
        namespaces: patterns of the namespaces.
        registries: what images may come from, `registry.example.org` or with a path; `*` is any.
        ceilings: the most that one order may ask for, `cpu=16`, `memory=64Gi`, `pods=100`,
            `storage=1Ti` (of claims), `nvidia.com/gpu=0`; empty: no ceilings.
    """

    kinds: tuple[str, ...] = ("*",)
    namespaces: tuple[str, ...] = ("*",)
    registries: tuple[str, ...] = ("*",)
    ceilings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSettings:
    """Facts that no sensor measures. Left out means unknown, which is not 0.

    Attributes:
        power_watts: power that the equipment draws.
        power_origin: origin of that figure: `assumed`, `modelled`, …
        pue: facility power over equipment power.
        pue_origin: `measured` for a yearly average by meters, else `assumed`.
        intensity_gco2_per_kwh: carbon intensity of the grid.
        intensity_origin: `yearly` for an official yearly factor.
        intensity_observed_at: time of the factor: an RFC 3339 instant, a date or a year.
    """

    power_watts: float | None = None
    power_origin: str = "assumed"
    pue: float | None = None
    pue_origin: str = "assumed"
    intensity_gco2_per_kwh: float | None = None
    intensity_origin: str = "yearly"
    intensity_observed_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Replays power, intensity and faults over time from a file, for demos and tests.

    Attributes:
        file: CSV or YAML file; empty for no replay. `agents/sensors/replay.py` describes the
            columns.
        is_looping: starts again after the last row; False keeps the last row.
        speed_ratio: seconds of the file per second of the clock.
    """

    file: str = ""
    is_looping: bool = True
    speed_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """A site whose round-trip time is measured by opening TCP connections, or given by a model.

    Attributes:
        name: name of the site in the hub.
        host: name or address to connect to; empty if nothing is measured.
        port: a TCP port that accepts connections.
        milliseconds: round-trip time by a model, used when nothing is measured.
        origin: origin of `milliseconds`: modelled, estimated or assumed.
    """

    name: str
    host: str = ""
    port: int = 0
    milliseconds: float | None = None
    origin: str = "modelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSettings:
    """A series of an exporter that is a figure of the report.

    Attributes:
        figure: what it is: power_watts, energy_joules_total, facility_watts, pue, pv_watts,
            pv_joules_total, battery_ratio or intensity_gco2_per_kwh.
        series: name of the series; values of several series are added.
        labels: only series with these labels, each written NAME=VALUE.
        scale: factor to the unit of the figure, such as 0.001 for millijoules.
        wraps_at: value after which a counter begins again at 0; 0: it only does at a restart.
    """

    figure: str
    series: str
    labels: tuple[str, ...] = ()
    scale: float = 1.0
    wraps_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterSettings:
    """A Prometheus text endpoint, and what of it is reported.

    Attributes:
        name: short name, for faults and metrics.
        url: address, http or https.
        origin: `measured`, or `estimated` as for Kepler's models.
        tls_ca_file: CA certificate of its certificate; empty: those of the system.
        figures: which series are which figures.
    """

    name: str
    url: str
    origin: str = "measured"
    tls_ca_file: str = ""
    figures: tuple[FigureSettings, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """The HTTP server of `/metrics`.

    Attributes:
        port: TCP port; 0 for no server.
        host: address to listen on; loopback by default.
    """

    port: int = 0
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """Agents of many sites in one process beside the hub, for sites with `delivery.mode: Push`.

    Attributes:
        source: how Sites and Secrets of the hub are read: "none", "kubeconfig" or "in-cluster".
        kubeconfig: the file, for "kubeconfig".
        context: context of the kubeconfig; empty for the current one.
        interval_seconds: time between looks at the Sites and Secrets.
        max_sites: the most sites that this process has agents for; memory grows with each.
        access_providers_file: names the credential plugin of each access provider of
            ClusterProfiles, as JSON; empty: none.
    """

    source: str = "none"
    kubeconfig: str = ""
    context: str = ""
    interval_seconds: float = 5.0
    max_sites: int = 50
    access_providers_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedSettings:
    """Where this machine has joined, which renews its certificate; `kapok-agent join` writes it.

    Attributes:
        host: name or address of the hub; empty: another program renews the certificate.
        port: its HTTPS port of joining.
    """

    host: str = ""
    port: int = 8884


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """All settings.

    Attributes:
        site: name of the site in the hub.
        agent: name of this agent within the site.
        data_dir: folder of the agent's key, journal and energy totals; has to survive restarts.
        hub_keys: public keys whose orders are accepted; two while the hub's key is being replaced.
        root_keys: public keys of the offline root; with any, the agent learns only keys of the hub
            that one of them has certified.
        log_level: DEBUG, INFO, WARNING or ERROR.
        host_sensor: whether to report the machine that the agent runs on.
        rtt_interval_seconds: time between measurements of all peers.
        peers: sites whose round-trip time is reported.
        exporters: Prometheus endpoints for power, energy, PUE, photovoltaics and battery.
        broker: the MQTT broker.
        report: how often to send reports and statuses.
        cluster: the site's own cluster.
        allow: what orders may do at this site.
        static: facts that no sensor measures.
        replay: figures from a file.
        metrics: the HTTP server of `/metrics`.
        push: the agents of sites that are reached from beside the hub; for `kapok-agent push`.
        joining: where this machine has joined.
    """

    site: str
    agent: str = "main"
    data_dir: str = "/var/lib/kapok-agent"
    hub_keys: tuple[str, ...] = ()
    root_keys: tuple[str, ...] = ()
    log_level: str = "INFO"
    host_sensor: bool = True
    rtt_interval_seconds: float = 60.0
    peers: tuple[PeerSettings, ...] = ()
    exporters: tuple[ExporterSettings, ...] = ()
    broker: AgentBrokerSettings = field(default_factory=AgentBrokerSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    allow: AllowSettings = field(default_factory=AllowSettings)
    static: StaticSettings = field(default_factory=StaticSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    push: PushSettings = field(default_factory=PushSettings)
    joining: JoinedSettings = field(default_factory=JoinedSettings)
