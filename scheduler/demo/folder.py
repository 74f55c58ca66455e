"""The demo's folder: what is written there, and under which names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scheduler.demo.distance import round_trips
from scheduler.demo.samples import DemoCluster, Samples
from scheduler.runtime.data_dir import KUBECONFIG_FILE

HUB_CONTEXT = "hub"
_REPORT_SECONDS = 2.0
_SILENT_AFTER_SECONDS = 10.0
_WAIT_FOR_SITES_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Paths inside the demo's folder.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def hub(self) -> Path:
        """Data directory of `kapok up`."""
        return self.path / "hub"

    @property
    def hub_kubeconfig(self) -> Path:
        """How to reach the hub."""
        return self.hub / KUBECONFIG_FILE

    @property
    def members(self) -> Path:
        """Data directory of the member clusters."""
        return self.path / "members"

    def member_kubeconfig(self, site: str) -> Path:
        """How to reach a member cluster."""
        return self.members / site / KUBECONFIG_FILE

    @property
    def clusters_file(self) -> Path:
        """What `kapok simulate-cluster` plays."""
        return self.path / "clusters.yaml"

    @property
    def scheduler_config(self) -> Path:
        """Settings of `kapok up`."""
        return self.path / "scheduler.yaml"

    @property
    def kubeconfig(self) -> Path:
        """For people: contexts `hub` and one per site."""
        return self.path / KUBECONFIG_FILE

    @property
    def logs_dir(self) -> Path:
        """Standard error and output of every process."""
        return self.path / "logs"

    @property
    def state_file(self) -> Path:
        """What this demo is, for `--resume` and `poke`."""
        return self.path / "demo.json"

    @property
    def actions_file(self) -> Path:
        """What somebody did to it: silenced sites, dirty grids."""
        return self.path / "pokes.json"

    def agent_dir(self, site: str) -> Path:
        """Folder of a site's agent."""
        return self.path / "agents" / site

    def agent_config(self, site: str) -> Path:
        """Settings of a site's agent."""
        return self.agent_dir(site) / "agent.yaml"


def write_clusters(folder: DemoFolder, samples: Samples) -> None:
    """Writes what the member clusters consist of."""
    clusters = [
        {"kubeconfig": str(folder.member_kubeconfig(site)), "nodes": list(cluster.nodes)}
        for site, cluster in samples.clusters.items()
    ]
    _write_yaml(folder.clusters_file, {"clusters": clusters})


def write_scheduler_settings(folder: DemoFolder) -> None:
    """Settings of the scheduler: a demo is watched, so silence is noticed sooner than usual."""
    freshness = {
        "silent_after_seconds": _SILENT_AFTER_SECONDS,
        "hear_sites_seconds": _WAIT_FOR_SITES_SECONDS,
        "site_status_seconds": _REPORT_SECONDS,
    }
    _write_yaml(folder.scheduler_config, {"log_level": "WARNING", "freshness": freshness})


def write_agent_settings(
    folder: DemoFolder,
    samples: Samples,
    site: str,
    *,
    broker: str = "",
    hub_key: str = "",
    intensity_gco2_per_kwh: float | None = None,
) -> None:
    """Writes the settings of a site's agent.

    Args:
        folder: of the demo.
        samples: what the demo runs.
        site: whose agent.
        broker: host:port.
        hub_key: whose orders it takes.
        intensity_gco2_per_kwh: overrides the cluster's (a dirty grid).
    """
    home, cluster = folder.agent_dir(site), samples.clusters[site]
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    host, _, port = broker.rpartition(":")
    settings: dict[str, Any] = {
        "site": site,
        "data_dir": str(home / "data"),
        "hub_keys": [hub_key] if hub_key else [],
        "log_level": "WARNING",
        "host_sensor": False,
        "peers": [
            {"name": other, "milliseconds": value}
            for other, value in round_trips(samples.sites, site).items()
        ],
        "cluster": {
            "source": "kubeconfig",
            "kubeconfig": str(folder.member_kubeconfig(site)),
            "resync_seconds": _REPORT_SECONDS,
        },
        "report": {
            "interval_seconds": _REPORT_SECONDS,
            "status_interval_seconds": _REPORT_SECONDS,
            "full_interval_seconds": 60.0,
        },
        "static": _static_facts(samples, site, intensity_gco2_per_kwh),
    }
    if broker:
        settings["broker"] = {"host": host, "port": int(port), "will_delay_seconds": 2.0}
    if cluster.pv_watts is not None:
        settings["replay"] = {"file": str(_write_solar_day(home, cluster.pv_watts))}
    _write_yaml(folder.agent_config(site), settings)


def _static_facts(samples: Samples, site: str, intensity: float | None) -> dict[str, Any]:
    cluster: DemoCluster = samples.clusters[site]
    energy = samples.sites[site]["spec"].get("energy", {})
    facts: dict[str, Any] = {
        "power_watts": cluster.power_watts,
        "power_origin": "assumed",
        "pue": energy.get("pue"),
        "pue_origin": energy.get("pueOrigin", "assumed"),
        "intensity_gco2_per_kwh": intensity or cluster.intensity_gco2_per_kwh,
        "intensity_origin": "assumed" if intensity else "yearly",
        "intensity_observed_at": "" if intensity else "2023-12-31T00:00:00Z",
    }
    return {name: value for name, value in facts.items() if value is not None}


def _write_solar_day(home: Path, watts: float) -> Path:
    """A day of sun in two minutes: rises, stands, sets."""
    path = home / "sun.csv"
    shares = (0.0, 0.3, 0.7, 1.0, 0.9, 0.5, 0.1, 0.0)
    rows = [f"{15 * step},{watts * share:g},modelled" for step, share in enumerate(shares)]
    path.write_text("\n".join(["seconds,pv_watts,origin", *rows]) + "\n", encoding="ascii")
    return path


def write_kubeconfig(folder: DemoFolder, sites: Mapping[str, Any]) -> None:
    """One kubeconfig for people, mode 0600: contexts `hub` and one per site."""
    merged: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": HUB_CONTEXT,
        "clusters": [],
        "users": [],
        "contexts": [],
    }
    sources = {HUB_CONTEXT: folder.hub_kubeconfig}
    sources |= {site: folder.member_kubeconfig(site) for site in sites}
    for name, path in sources.items():
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        for plural, singular in (("clusters", "cluster"), ("users", "user")):
            merged[plural].append({"name": name, singular: found[plural][0][singular]})
        merged["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    folder.kubeconfig.touch(mode=0o600)
    _write_yaml(folder.kubeconfig, merged)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file; an empty value when there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def _write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")
