"""What can be set of `kapok-agent`; `settings_file` reads it, `configs/agent.yaml` explains it."""

from dataclasses import dataclass, field
from typing import Final

_HIDDEN: Final = "********"


class Secret(str):
    """A text that never shows in a log, a trace or a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _HIDDEN if self else "''"


NO_SECRET: Final = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentBrokerSettings:
    """The MQTT 5 broker.

    Attributes:
        host: name or address.
        port: 8883 with TLS, 1883 without.
        username: by our example broker settings the site's name; empty: none.
        password: better `password_file`, or the environment.
        password_file: a file that holds the password.
        tls_ca_file: the authority of the broker's certificate; empty means no TLS, which is allowed
            on loopback only.
        tls_certificate_file: the site's client certificate, if the broker asks for one.
        tls_key_file: its key.
        will_delay_seconds: how long the session may be gone before the hub is told "offline".
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """How often the site speaks.

    Attributes:
        interval_seconds: between reports.
        full_interval_seconds: between full reports; deltas in between.
        status_interval_seconds: between statuses when nothing happens.
    """

    interval_seconds: float = 10.0
    full_interval_seconds: float = 300.0
    status_interval_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The site's own Kubernetes cluster.

    Attributes:
        source: "none" (reports, but takes no work), "kubeconfig" or "in-cluster".
        kubeconfig: the file, for "kubeconfig".
        context: in it; empty: the current one.
        is_executing: False: this agent only reports (one per node), another one applies.
        resync_seconds: how often the member's objects are looked at when nothing is announced.
        lease_seconds: how long the local lease holds; after that another agent may take over.
        labels: node labels that classes are told apart by (`*` matches anything).
        labels_excluded: of these, not; labels that differ on every node make every node its own
            class.
    """

    source: str = "none"
    kubeconfig: str = ""
    context: str = ""
    is_executing: bool = True
    resync_seconds: float = 10.0
    lease_seconds: float = 15.0
    labels: tuple[str, ...] = ("*",)
    labels_excluded: tuple[str, ...] = (
        "kubernetes.io/hostname",
        "beta.kubernetes.io/*",
        "feature.node.kubernetes.io/*",
        "*/machine-id",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSettings:
    """Facts that nobody measures here. Left out means unknown, which is not 0.

    Attributes:
        power_watts: assumed draw of the equipment.
        power_origin: `assumed`, `modelled`, …
        pue: facility power over equipment power.
        pue_origin: `measured` for a yearly average by meters, else `assumed`.
        intensity_gco2_per_kwh: of the grid here.
        intensity_origin: `yearly` for an official factor.
        intensity_observed_at: RFC 3339 instant or date that the factor is of.
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
    """Plays power, intensity and faults over time from a file; for demos and tests.

    Attributes:
        file: CSV or YAML; empty: no replay. `agents/sensors/replay.py` describes the columns.
        is_looping: starts over at the end; False keeps the last row.
        speed_ratio: seconds of the file per second of the clock.
    """

    file: str = ""
    is_looping: bool = True
    speed_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """Somebody to measure the round-trip time to, by TCP connect, or whose round trip is modelled.

    Attributes:
        name: the peer's name in the hub: a site.
        host: name or address; empty: nothing is measured.
        port: one that accepts connections.
        milliseconds: the modelled round trip, said when nothing is measured.
        origin: of that figure: modelled, estimated, assumed.
    """

    name: str
    host: str = ""
    port: int = 0
    milliseconds: float | None = None
    origin: str = "modelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """`/metrics` in Prometheus' text form.

    Attributes:
        port: on `host`; 0: off.
        host: loopback unless said otherwise.
    """

    port: int = 0
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """All settings.

    Attributes:
        site: the site's name in the hub.
        agent: this agent's name within the site.
        data_dir: where its key, journal and counters live; survives restarts.
        hub_keys: whose orders are taken; two while the hub's key is being changed.
        log_level: DEBUG, INFO, WARNING or ERROR.
        host_sensor: reports the machine that the agent runs on.
        rtt_interval_seconds: between measurements of all peers.
        peers: whom to measure.
    """

    site: str
    agent: str = "main"
    data_dir: str = "/var/lib/kapok-agent"
    hub_keys: tuple[str, ...] = ()
    log_level: str = "INFO"
    host_sensor: bool = True
    rtt_interval_seconds: float = 60.0
    peers: tuple[PeerSettings, ...] = ()
    broker: AgentBrokerSettings = field(default_factory=AgentBrokerSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    static: StaticSettings = field(default_factory=StaticSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
