"""Builds the member's API client, the sensors and the site's rules by the settings."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from agents.config.settings import (
    LABELS_EXCLUDED,
    AgentSettings,
    AllowSettings,
    ClusterSettings,
)
from agents.orders.allowed.site_rules import SiteRules, parse_ceilings
from agents.runtime.clock import AgentClock
from agents.sensors.host import HostSensor
from agents.sensors.sensor import Sensor
from agents.sensors.static import StaticSensor

if TYPE_CHECKING:  # what is loaded only where it is used is imported below
    from agents.member.access import Access
    from agents.member.discovery import Discovery


def build_discovery(
    cluster: ClusterSettings,
    clock: AgentClock,
    on_request: Callable[[str, str], None] = lambda _verb, _class: None,
    *,
    access: "Access | None" = None,
) -> "Discovery | None":
    """Builds the member's API client; None for a site without a cluster.

    Args:
        cluster: settings of the cluster.
        clock: the clock.
        on_request: called for every request with its verb and the class of the response.
        access: how to reach the cluster; None: as the settings say.

    Raises:
        AccessError: the settings do not say how to reach the cluster.
    """
    if access is None and cluster.source == "none":
        return None
    from agents.member.access import from_kubeconfig, in_cluster  # noqa: PLC0415 - only for a site with a cluster
    from agents.member.api import MemberApi  # noqa: PLC0415 - as above
    from agents.member.discovery import Discovery  # noqa: PLC0415 - as above

    if access is not None:
        return Discovery(MemberApi(access, on_request), clock)
    if cluster.source == "in-cluster":
        access = in_cluster(os.environ)
    else:
        access = from_kubeconfig(Path(cluster.kubeconfig), cluster.context)
    return Discovery(MemberApi(access, on_request), clock)


def build_sensors(
    settings: AgentSettings,
    clock: AgentClock,
    discovery: "Discovery | None",
    *,
    read_applied_generations: Callable[[], dict[str, int]],
    is_active: Callable[[], bool],
    version: str | None,
    asked_labels: Callable[[], Iterable[str]] = tuple,
    sealing_key: str | None = None,
    on_fault: Callable[[Exception], None] = lambda _error: None,
) -> list[Sensor]:
    """Builds all sensors, in the order in which they win: the most reliable first.

    Args:
        settings: all settings.
        clock: the clock.
        discovery: API of the member; None for a site without a cluster.
        read_applied_generations: reads the applied generation of every order.
        is_active: whether this agent applies orders now.
        version: version of the program, for the report.
        asked_labels: names of node labels that workloads ask for, by the hub's index.
        sealing_key: the public key for which the hub seals Secrets; None: this agent opens none.
        on_fault: called with what went wrong on a thread of a sensor, and should not have.

    Raises:
        ReplayError: the file to replay cannot be used.
    """
    found: list[Sensor] = []
    if discovery is not None:
        from agents.sensors.kubernetes import KubernetesSensor  # noqa: PLC0415 - only for a site with a cluster
        from agents.sensors.namespaces import NamespaceSensor  # noqa: PLC0415 - as above
        from agents.sensors.nodes import LabelChoice  # noqa: PLC0415 - as above

        excluded = settings.cluster.labels_excluded
        choice = LabelChoice(
            settings.cluster.labels,
            excluded,
            withheld=tuple(one for one in excluded if one not in LABELS_EXCLUDED),
        )
        found.append(
            KubernetesSensor(
                discovery=discovery,
                label_choice=choice,
                read_applied_generations=read_applied_generations,
                is_active=is_active,
                asked_labels=asked_labels,
                sealing_key=sealing_key,
                is_watching=settings.cluster.is_watching,
                on_fault=on_fault,
            )
        )
        found.append(NamespaceSensor(discovery.api))
    if settings.replay.file:
        from agents.sensors.replay import ReplaySensor, read_rows  # noqa: PLC0415 - only demos and tests need it

        replay = settings.replay
        rows = read_rows(Path(replay.file))
        found.append(
            ReplaySensor(
                rows=rows,
                clock=clock,
                is_looping=replay.is_looping,
                speed_ratio=replay.speed_ratio,
            )
        )
    if settings.exporters:
        from agents.sensors.exporter import ExporterSensor  # noqa: PLC0415 - only where there are any

        found += [ExporterSensor(each, clock) for each in settings.exporters]
    if settings.host_sensor:
        found.append(HostSensor(clock, version, disk=Path(settings.data_dir)))
    found.append(StaticSensor(settings.static))
    if settings.peers:
        from agents.sensors.rtt import RttSensor  # noqa: PLC0415 - only where there are any

        found.append(
            RttSensor(
                peers=settings.peers,
                clock=clock,
                interval_seconds=settings.rtt_interval_seconds,
            )
        )
    return found


def site_rules_of(allow: AllowSettings) -> SiteRules:
    """The rules of the site's owner.

    Raises:
        ValueError: a ceiling is none; `find_problems` has said so before.
    """
    return SiteRules(
        kinds=allow.kinds,
        namespaces=allow.namespaces,
        registries=allow.registries,
        ceilings=parse_ceilings(allow.ceilings),
    )
