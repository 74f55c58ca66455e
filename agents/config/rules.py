"""The rules for values of settings: ranges, closed lists of words, and what needs what."""

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from agents.config.settings import (
    AgentBrokerSettings,
    AgentSettings,
    ExporterSettings,
    PeerSettings,
)
from agents.protocol.errors import WireError
from agents.protocol.keys import TrustedKeys
from agents.protocol.quantities import QuantityError, parse_quantity
from agents.protocol.report import FigureOrigin
from agents.protocol.topics import HUB_USER, is_site_name, is_subdomain

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_CLUSTER_SOURCES: Final = ("none", "kubeconfig", "in-cluster")
_TRANSPORTS: Final = ("tcp", "websockets")
_PATH_PATTERN = re.compile(r"/[A-Za-z0-9._~/?=&%-]{0,200}")
_PROXY_PATTERN = re.compile(r"(http://)?([^\s@/]{1,300}@)?[A-Za-z0-9\[\]:._-]{1,260}/?")
_ORIGINS: Final = typing.get_args(FigureOrigin)
_DAY_SECONDS: Final = 86_400.0
_LAST_PORT: Final = 65_535

PUSH_SITE: Final = "push"
"""Stands for the missing `site` in the settings of `kapok-agent push`."""

RANGES: Final[dict[str, tuple[float, float]]] = {
    "rtt_interval_seconds": (0.01, _DAY_SECONDS),
    "broker.port": (1, _LAST_PORT),
    "broker.will_delay_seconds": (0, _DAY_SECONDS),
    "report.interval_seconds": (0.01, _DAY_SECONDS),
    "report.full_interval_seconds": (0.01, _DAY_SECONDS),
    "report.status_interval_seconds": (0.01, _DAY_SECONDS),
    "cluster.resync_seconds": (0.01, _DAY_SECONDS),
    "cluster.lease_seconds": (1, 3_600),
    "static.power_watts": (0, 1e9),
    "static.pue": (1, 100),
    "static.intensity_gco2_per_kwh": (0, 10_000),
    "replay.speed_ratio": (1e-6, 1e6),
    "metrics.port": (0, _LAST_PORT),
    "joining.port": (1, _LAST_PORT),
    "push.interval_seconds": (0.1, 3_600),
    "push.max_sites": (1, 1_000),
}
"""Least and largest value of every number; the name of a setting has its unit. A test compares the
names with the settings."""

PEER_RANGES: Final[dict[str, tuple[float, float]]] = {
    "port": (0, _LAST_PORT),
    "milliseconds": (0, 60_000),
}
"""The same for each of `peers`."""


EXPORTER_FIGURES: Final = (
    "power_watts",
    "energy_joules_total",
    "facility_watts",
    "pue",
    "pv_watts",
    "pv_joules_total",
    "battery_ratio",
    "intensity_gco2_per_kwh",
)
"""What a series of an exporter may be; `facility_watts` over the power gives the PUE."""

FIGURE_RANGES: Final[dict[str, tuple[float, float]]] = {
    "scale": (1e-12, 1e12),
    "wraps_at": (0, 1e18),
}
"""As `RANGES`, for each figure of `exporters`."""

_MAX_EXPORTERS: Final = 16
_MAX_EXPORTER_NAME: Final = 32


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """A value that is refused.

    Attributes:
        path: the setting.
        text: what is expected.
    """

    path: str
    text: str


def find_problems(settings: AgentSettings) -> Iterator[SettingProblem]:
    """Every rule that the settings break, in the order of the settings."""
    for path, is_kept, text in _rules(settings):
        if not is_kept:
            yield SettingProblem(path, text)
    try:
        TrustedKeys.parse(settings.hub_keys)
    except WireError as error:
        yield SettingProblem("hub_keys", str(error))
    try:
        TrustedKeys.parse(settings.root_keys)
    except WireError as error:
        yield SettingProblem("root_keys", str(error))


def find_push_problems(settings: AgentSettings) -> Iterator[SettingProblem]:
    """What `kapok-agent push` cannot use: each setting that belongs to one site.

    Args:
        settings: of the push process; `site` is `PUSH_SITE` if it is left out.
    """
    none = AgentSettings(site=PUSH_SITE)
    if settings.push.source == "none":
        yield SettingProblem("push.source", "kubeconfig or in-cluster is expected: the hub's")
    if settings.site != PUSH_SITE:
        yield SettingProblem("site", "a push process has the sites of the hub; leave it out")
    for name in ("peers", "exporters", "static", "replay", "joining"):
        if getattr(settings, name) != getattr(none, name):
            yield SettingProblem(
                name, "belongs to one site, and a push process has many; remove it"
            )
    if settings.cluster.source != "none":
        yield SettingProblem(
            "cluster.source", "a push process reads kubeconfigs from Secrets of the hub; remove it"
        )


def _rules(settings: AgentSettings) -> Iterator[tuple[str, bool, str]]:
    """Yields every rule: path of the setting, whether it is kept, and the message if not."""
    cluster, static, broker = settings.cluster, settings.static, settings.broker
    yield (
        "site",
        is_site_name(settings.site),
        f"lower-case letters, digits, - and . are expected, and not {HUB_USER}",
    )
    yield "agent", is_subdomain(settings.agent), "lower-case letters, digits, - and . are expected"
    yield _word("log_level", settings.log_level.upper(), LOG_LEVELS)
    yield _word("cluster.source", cluster.source, _CLUSTER_SOURCES)
    yield (
        "cluster.kubeconfig",
        bool(cluster.kubeconfig) or cluster.source != "kubeconfig",
        "is needed when cluster.source is kubeconfig",
    )
    yield (
        "cluster.tenant_account",
        cluster.tenant_account == "" or is_subdomain(cluster.tenant_account),
        "the name of a ServiceAccount is expected, such as kapok-tenant",
    )
    for name in ("kinds", "namespaces", "registries"):
        listed = getattr(settings.allow, name)
        yield (
            f"allow.{name}",
            bool(listed) and all(one and one == one.strip() for one in listed),
            'a list of patterns is expected, such as ["*"]; empty would refuse every order',
        )
    yield from _ceiling_rules(settings.allow.ceilings)
    yield _word("broker.transport", broker.transport, _TRANSPORTS)
    yield (
        "broker.websocket_path",
        _PATH_PATTERN.fullmatch(broker.websocket_path) is not None,
        "a path is expected, such as /mqtt",
    )
    yield (
        "broker.proxy",
        broker.proxy in ("", "none") or _PROXY_PATTERN.fullmatch(broker.proxy) is not None,
        "http://HOST:PORT is expected, http://USER:PASSWORD@HOST:PORT, or none",
    )
    yield _word("push.source", settings.push.source, _CLUSTER_SOURCES)
    yield (
        "push.kubeconfig",
        bool(settings.push.kubeconfig) or settings.push.source != "kubeconfig",
        "is needed when push.source is kubeconfig",
    )
    for name in ("power_origin", "pue_origin", "intensity_origin"):
        yield _word(f"static.{name}", getattr(static, name), _ORIGINS)
    for number, peer in enumerate(settings.peers):
        yield from _peer_rules(f"peers[{number}]", peer)
    for number, exporter in enumerate(settings.exporters):
        yield from _exporter_rules(f"exporters[{number}]", exporter)
    names = [exporter.name for exporter in settings.exporters]
    yield "exporters", len(set(names)) == len(names), "each needs a name of its own"
    yield "exporters", len(names) <= _MAX_EXPORTERS, f"at most {_MAX_EXPORTERS} are read"
    yield (
        "static.pue",
        static.pue is None or static.pue >= 1,
        "is total power over IT power, so it is at least 1",
    )
    yield from _range_rules(settings)
    yield (
        "broker.tls_ca_file",
        _is_loopback_or_tls(broker),
        f"{broker.host} is not on loopback; name the CA certificate to verify it with",
    )


_RESOURCE_PATTERN = re.compile(
    r"cpu|memory|ephemeral-storage|storage|pods|hugepages-[0-9]+[KMG]i"
    r"|(?!(?:requests|limits)\.)[a-z0-9][a-z0-9.-]*\.[a-z]+/[A-Za-z0-9][A-Za-z0-9._-]*"
)


_NEVER_HOLDS = (
    "would never hold: cpu, memory, ephemeral-storage, storage, pods, hugepages-SIZE or"
    " DOMAIN/NAME is expected, such as nvidia.com/gpu"
)


def _ceiling_rules(ceilings: tuple[str, ...]) -> Iterator[tuple[str, bool, str]]:
    for number, text in enumerate(ceilings):
        resource, _, amount = text.partition("=")
        try:
            is_kept = bool(resource.strip()) and parse_quantity(amount.strip()) >= 0
        except QuantityError:
            is_kept = False
        others = [one.partition("=")[0].strip() for one in ceilings[:number]]
        yield (
            f"allow.ceilings[{number}]",
            _RESOURCE_PATTERN.fullmatch(resource.strip()) is not None,
            _NEVER_HOLDS,
        )
        yield (
            f"allow.ceilings[{number}]",
            is_kept and resource.strip() not in others,
            "RESOURCE=AMOUNT is expected, each resource once, such as memory=64Gi",
        )


def _word(path: str, word: str, known: tuple[str, ...]) -> tuple[str, bool, str]:
    return path, word in known, f"one of {', '.join(known)}"


def _range_rules(settings: AgentSettings) -> Iterator[tuple[str, bool, str]]:
    for path, (least, most) in RANGES.items():
        group, _, name = path.rpartition(".")
        value = getattr(getattr(settings, group) if group else settings, name)
        yield _within(path, value, least, most)


def _within(path: str, value: float | None, least: float, most: float) -> tuple[str, bool, str]:
    is_kept = value is None or least <= value <= most
    return path, is_kept, f"must be {least:g} to {most:.10g}, not {value!r}"


def _peer_rules(path: str, peer: PeerSettings) -> Iterator[tuple[str, bool, str]]:
    yield (
        path,
        (bool(peer.host) and peer.port > 0) or peer.milliseconds is not None,
        "needs host and port to measure the round trip, or milliseconds that a model gives",
    )
    yield _word(f"{path}.origin", peer.origin, _ORIGINS)
    for name, (least, most) in PEER_RANGES.items():
        yield _within(f"{path}.{name}", getattr(peer, name), least, most)


def _exporter_rules(path: str, exporter: ExporterSettings) -> Iterator[tuple[str, bool, str]]:
    is_name = is_subdomain(exporter.name) and len(exporter.name) <= _MAX_EXPORTER_NAME
    yield f"{path}.name", is_name, "lower-case letters, digits and - are expected, at most 32"
    yield f"{path}.url", _is_http_url(exporter.url), "http://HOST[:PORT]/PATH or https is expected"
    yield _word(f"{path}.origin", exporter.origin, ("measured", "estimated"))
    yield f"{path}.figures", bool(exporter.figures), "says what to read; without it nothing is"
    for number, figure in enumerate(exporter.figures):
        where = f"{path}.figures[{number}]"
        yield _word(f"{where}.figure", figure.figure, EXPORTER_FIGURES)
        yield f"{where}.series", bool(figure.series), "the name of a series is expected"
        yield f"{where}.labels", all("=" in one for one in figure.labels), "NAME=VALUE is expected"
        for name, (least, most) in FIGURE_RANGES.items():
            yield _within(f"{where}.{name}", getattr(figure, name), least, most)


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_loopback_or_tls(broker: AgentBrokerSettings) -> bool:
    is_loopback = broker.host in ("localhost", "::1") or broker.host.startswith("127.")
    return is_loopback or bool(broker.tls_ca_file)
