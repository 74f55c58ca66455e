"""The demo's folder: its paths, and the settings and kubeconfigs that are written there."""

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
        path: the folder itself.
    """

    path: Path

    @property
    def hub(self) -> Path:
        """Data directory of `kapok up`."""
        return self.path / "hub"

    @property
    def hub_kubeconfig(self) -> Path:
        """Kubeconfig of the hub."""
        return self.hub / KUBECONFIG_FILE

    @property
    def members(self) -> Path:
        """Data directory of `kapok serve-api` for all member clusters."""
        return self.path / "members"

    def member_kubeconfig(self, site: str) -> Path:
        """Kubeconfig of a member cluster."""
        return self.members / site / KUBECONFIG_FILE

    @property
    def clusters_file(self) -> Path:
        """Clusters and nodes for `kapok simulate-cluster --spec`."""
        return self.path / "clusters.yaml"

    @property
    def scheduler_config(self) -> Path:
        """Settings of `kapok up`."""
        return self.path / "scheduler.yaml"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig for the user: a context `hub`, and one for each site."""
        return self.path / KUBECONFIG_FILE

    @property
    def logs_dir(self) -> Path:
        """Folder with standard error and output of every process."""
        return self.path / "logs"

    @property
    def state_file(self) -> Path:
        """Size and process ID of the demo, for `--resume` and `poke`."""
        return self.path / "demo.json"

    @property
    def actions_file(self) -> Path:
        """Actions requested by `kapok demo poke`: silenced sites, dirty grids."""
        return self.path / "pokes.json"

    def agent_dir(self, site: str) -> Path:
        """Folder of a site's agent."""
        return self.path / "agents" / site

    def agent_config(self, site: str) -> Path:
        """Settings of a site's agent."""
        return self.agent_dir(site) / "agent.yaml"


def write_clusters(folder: DemoFolder, samples: Samples) -> None:
    """Writes the nodes of the member clusters, for `kapok simulate-cluster`."""
    clusters = [
        {"kubeconfig": str(folder.member_kubeconfig(site)), "nodes": list(cluster.nodes)}
        for site, cluster in samples.clusters.items()
    ]
    _write_yaml(folder.clusters_file, {"clusters": clusters})


def write_scheduler_settings(folder: DemoFolder) -> None:
    """Writes the scheduler's settings; a silent site is noticed sooner than by default."""
    freshness = {
        "silent_after_seconds": _SILENT_AFTER_SECONDS,
        "hear_sites_seconds": _WAIT_FOR_SITES_SECONDS,
        "site_status_seconds": _REPORT_SECONDS,
    }
    # The demo has a hub of its own, also where it runs in a Pod.
    settings = {"log_level": "WARNING", "hub": {"in_cluster": False}, "freshness": freshness}
    _write_yaml(folder.scheduler_config, settings)


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
        folder: the demo's folder.
        samples: the sites and clusters of the demo.
        site: the agent's site.
        broker: host:port of the MQTT broker; empty: not known yet.
        hub_key: public key of the hub, whose orders the agent accepts; empty: not known yet.
        intensity_gco2_per_kwh: carbon intensity of a dirty grid; None: that of the samples.
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
    """Writes the solar power of a day, compressed into two minutes, for the agent to replay."""
    path = home / "sun.csv"
    shares = (0.0, 0.3, 0.7, 1.0, 0.9, 0.5, 0.1, 0.0)
    rows = [f"{15 * step},{watts * share:g},modelled" for step, share in enumerate(shares)]
    path.write_text("\n".join(["seconds,pv_watts,origin", *rows]) + "\n", encoding="ascii")
    return path


def write_kubeconfig(folder: DemoFolder, sites: Mapping[str, Any]) -> None:
    """Writes the user's kubeconfig, mode 0600: a context `hub`, and one for each site."""
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
    """The object in a JSON file; an empty one when the file does not exist."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically: a reader sees the old file or the new one."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def _write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")
