"""A hub, simulated member clusters and their agents, all as real processes, as in the demo."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.member_clusters import Cluster, api_servers, controllers
from tests.support.up import Up, running_up

SITE = "m1"
_AGENT = [sys.executable, "-m", "agents.cli", "--config"]
SITE_OBJECTS = """
apiVersion: kapok.dev/v1alpha1
kind: Site
metadata: {name: SITE}
spec:
  tier: edge
  location: {province: CN-GD, city: guangzhou, metro: guangzhou}
  energy: {gridZone: CN-GD, pue: 1.3, pueOrigin: assumed}
  prices: {energyCnyPerKwh: 0.6, coreCnyPerHour: 0.05}
  delivery: {mode: Pull, agentKeys: ["KEY"]}
---
apiVersion: kapok.dev/v1alpha1
kind: SiteGrant
metadata: {name: SITE-grant}
spec:
  sites: [SITE]
  dataClass: general-3
  protectionLevel: 3
  networkZones: [public-network]
  jurisdiction: CN-GD
  authority: test
  document: test
---
"""


@dataclass(frozen=True)
class SiteWithAgent:
    """A hub and the member cluster of its one site.

    Attributes:
        up: the hub.
        member: the member cluster.
        stop_member: ends the API server of the member cluster; its agent goes on.
        start_member: starts it again, at the same address.
    """

    up: Up
    member: Cluster
    stop_member: Callable[[], None]
    start_member: Callable[[], list[Path]]


@contextmanager
def site_with_agent(folder: Path, namespace: str) -> Iterator[SiteWithAgent]:
    """A running hub, with one site whose agent reports and applies.

    Args:
        folder: an empty folder.
        namespace: the namespace in which the member is looked at.
    """
    with running_up(folder) as up, ExitStack() as servers:

        def start_member() -> list[Path]:
            return servers.enter_context(api_servers(folder / "members", SITE))

        (kubeconfig,) = start_member()
        log = folder / "controllers.log"
        with (
            controllers(log, [kubeconfig], "--start-seconds", "0.2"),
            running_agent(up, folder, SITE, kubeconfig),
        ):
            member = Cluster(kubeconfig, namespace)
            yield SiteWithAgent(up, member, servers.close, start_member)


@contextmanager
def sites_with_agents(up: Up, folder: Path, namespace: str, *names: str) -> Iterator[list[Cluster]]:
    """The member clusters of several sites of a running hub, each with its agent.

    Args:
        up: the hub.
        folder: for the members and the data of the agents.
        namespace: the namespace in which the members are looked at.
        names: of the sites.
    """
    with ExitStack() as stack:
        kubeconfigs = stack.enter_context(api_servers(folder / "members", *names))
        log = folder / "controllers.log"
        stack.enter_context(controllers(log, kubeconfigs, "--start-seconds", "0.2"))
        for name, kubeconfig in zip(names, kubeconfigs, strict=True):
            stack.enter_context(running_agent(up, folder, name, kubeconfig))
        yield [Cluster(kubeconfig, namespace) for kubeconfig in kubeconfigs]


@contextmanager
def running_agent(up: Up, folder: Path, site: str, kubeconfig: Path) -> Iterator[None]:
    """The agent of a site, whose Site and grant are made too.

    Args:
        up: the hub.
        folder: for its settings, log and data.
        site: name of the site.
        kubeconfig: how it reaches its member cluster.
    """
    host, _, port = up.ready["broker"].rpartition(":")
    config = folder / f"agent-{site}.yaml"
    settings = {
        "site": site,
        "data_dir": str(folder / f"agent-{site}"),
        "hub_keys": [up.ready["hubKey"]],
        "host_sensor": False,
        "broker": {"host": host, "port": int(port)},
        "cluster": {
            "source": "kubeconfig",
            "kubeconfig": str(kubeconfig),
            "resync_seconds": 1.0,
        },
        "report": {
            "interval_seconds": 1.0,
            "status_interval_seconds": 1.0,
            "full_interval_seconds": 60.0,
        },
    }
    config.write_text(yaml.safe_dump(settings))
    with (folder / f"agent-{site}.log").open("w") as errors:
        key = subprocess.run(
            [*_AGENT, str(config), "--show-key"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=True,
        ).stdout.strip()
        up.apply(SITE_OBJECTS.replace("SITE", site).replace("KEY", key))
        with subprocess.Popen([*_AGENT, str(config)], stderr=errors) as agent:
            try:
                yield
            finally:
                agent.terminate()
                agent.wait(60)
