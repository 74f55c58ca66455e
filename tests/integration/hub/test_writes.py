"""How many writes a workload costs the hub, from its creation until it runs."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: portal, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 3
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: portal}
    spec:
      selector: {matchLabels: {app: portal}}
      template:
        metadata: {labels: {app: portal}}
        spec:
          containers:
          - {name: web, image: "portal:1", resources: {requests: {cpu: "1", memory: 1Gi}}}
"""
_SAMPLE = re.compile(r"apiserver_request_total\{(.*)\} (\d+)(?:\.0)?")


def writes(up: Up) -> Counter[str]:
    """Accepted writes until now, by resource and subresource, as the hub counts them."""
    found = Counter[str]()
    for line in up.kubectl("get", "--raw", "/metrics").splitlines():
        sample = _SAMPLE.fullmatch(line)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', sample[1])) if sample else {}
        if sample and labels["verb"] in ("POST", "PUT", "PATCH", "DELETE", "APPLY"):
            found[f"{labels['resource']}/{labels['subresource']}".rstrip("/")] += int(sample[2])
    return found


def test_a_workload_is_written_twice_until_it_runs_and_has_one_event(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        site.is_ready = False
        up.apply(site.manifest)
        with running_sites(site):
            eventually(lambda: up.get("site", "m1").get("status", {}).get("freeCpu"))
            eventually(lambda: "events" in writes(up))  # that the site is admitted and granted
            eventually(lambda: is_quiet(up))
            before = writes(up)
            up.apply(WORKLOAD)
            eventually(lambda: site.contents)
            site.is_ready = True
            eventually(lambda: phase(up) == "Running")
            eventually(lambda: writes(up)["events"] > before["events"])
            eventually(lambda: is_quiet(up))
            ours = writes(up) - before
            assert ours["workloads"] == 1  # kubectl created it
            assert 1 <= ours["workloads/status"] <= 2
            assert ours["events"] <= 1
            assert up.get("workloads.kapok.dev", "portal")["metadata"]["finalizers"] == [
                "kapok.dev/withdraw"
            ]


def phase(up: Up) -> str:
    return str(up.get("workloads.kapok.dev", "portal").get("status", {}).get("phase", ""))


def is_quiet(up: Up) -> bool:
    """Whether no workload and no Event is written while kubectl asks twice."""
    first, second = (writes(up) for _ in range(2))
    names = ("workloads", "workloads/status", "events")
    return all(first[name] == second[name] for name in names)
