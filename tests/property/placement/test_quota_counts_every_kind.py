"""Whatever kind a manifest has: what is placed is counted against the quota of its tenant."""

import pytest

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.placement.choose import choose
from tests.support.one_site import tenant
from tests.support.pod_kinds import COUNTED, CPU, of_kind, template
from tests.support.sites import NOW, Raw, demand_or_refusal, fleet_of, nodes, site, workload

NODES = 5
MILLI_PER_CORE = 1000
PER_NODE: dict[str, Raw] = {
    "DaemonSet": of_kind("apps/v1", "DaemonSet", template=template()),
    "Advanced DaemonSet": of_kind("apps.kruise.io/v1alpha1", "DaemonSet", template=template()),
    "BroadcastJob": of_kind("apps.kruise.io/v1alpha1", "BroadcastJob", template=template()),
}
PODS = {name: pods for name, (_, pods) in COUNTED.items()} | dict.fromkeys(PER_NODE, NODES)
MANIFESTS = {name: manifest for name, (manifest, _) in COUNTED.items()} | PER_NODE


def asked(manifest: Raw, milli: int | None) -> Demand | NotAccepted:
    raw = workload(manifests=[manifest])
    del raw["spec"]["demand"]
    limited = {} if milli is None else {"quota": {"cpu": f"{milli}m"}}
    return demand_or_refusal(raw, tenants=[tenant(**limited)])


def decision(manifest: Raw, milli: int | None) -> tuple[str, set[str]]:
    found = asked(manifest, milli)
    assert isinstance(found, Demand), found
    kinds = ("apps.kruise.io/v1alpha1/DaemonSet", *found.api_kinds)
    there = site("m1", nodes(NODES, cpu="64", memory="64Gi", pods=200))
    there["status"]["apiKinds"] = list(kinds)
    decided = choose(found, fleet_of(there), now=NOW)
    return decided.phase, set(decided.reasons)


@pytest.mark.parametrize("name", MANIFESTS)
def test_nothing_that_is_placed_is_uncounted(name: str) -> None:
    manifest, needed = MANIFESTS[name], PODS[name] * CPU
    assert decision(manifest, None) == ("Placed", set())
    assert decision(manifest, needed) == ("Placed", set())
    assert decision(manifest, needed - 1) == ("Waiting", {"quota"})


@pytest.mark.parametrize("group", ["a.example/v1", "apps.example/v1", "batch.example/v1"])
@pytest.mark.parametrize("name", MANIFESTS)
def test_the_same_kind_of_another_group_is_counted_or_refused(name: str, group: str) -> None:
    found = asked({**MANIFESTS[name], "apiVersion": group}, 1)
    assert isinstance(found, NotAccepted)
    assert "spec.demand" in found.message
