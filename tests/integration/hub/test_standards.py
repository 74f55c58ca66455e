"""Standard objects at a hub that has their kinds: server-side apply, owners, and kubectl."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from scheduler.apiserver.server import serve
from scheduler.control.ports.hub import (
    KAPOK_RESOURCES,
    NAMESPACE,
    NAMESPACES,
    SITES,
    WORKLOADS,
    ApiResource,
    Object,
    WatchEvent,
)
from scheduler.control.standards.names import CLUSTER_PROFILES, PLACEMENT_DECISIONS
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub_process.options import server_options
from tests.integration.hub.test_writes import WORKLOAD, writes
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.sites import OBSERVED, nodes
from tests.support.sites import site as raw_site
from tests.support.sites import workload as raw_workload
from tests.support.standard_kinds import cluster_profile_crd, placement_decision_crd
from tests.support.standards_rig import StandardsRig
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CRDS = ApiResource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)
READY = {"type": "Ready", "status": "True", "reason": "Reporting", "lastTransitionTime": OBSERVED}


class EmbeddedRig(StandardsRig):
    """The loop over the embedded API server; what it knows is listed before each pass."""

    async def pass_over(self, client: HubClient) -> None:
        """Lists the hub and makes a pass."""
        self.requests.hub = client
        listed = [(one, (await client.list(one)).items) for one in KAPOK_RESOURCES]
        known = {
            (SITES.kind, name): (SITES, {"metadata": {"name": name}}) for name in self.objects.sites
        }
        for resource, items in listed:
            for body in items:
                known.pop((resource.kind, body["metadata"]["name"]), None)
                self.objects.apply_event(resource, WatchEvent("MODIFIED", body))
        for resource, gone in known.values():
            self.objects.apply_event(resource, WatchEvent("DELETED", gone))
        assert await self.loop.write_due() is None


@asynccontextmanager
async def hub_with_the_kinds(folder: Path) -> AsyncIterator[HubClient]:
    options = server_options(
        data_dir=folder, port=0, max_objects=500, max_bytes=10**7, on_fault=pytest.fail
    )
    async with serve(options) as server, open_hub(server.kubeconfig_path) as client:
        await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        assert not await client.serves(CLUSTER_PROFILES)
        for crd in (cluster_profile_crd(), placement_decision_crd()):
            await client.create(CRDS, crd)
        assert await client.serves(CLUSTER_PROFILES)
        assert await client.serves(PLACEMENT_DECISIONS)
        yield client


async def add_site(client: HubClient, name: str, **labels: str) -> None:
    body = raw_site(name, nodes(4), labels=labels)
    await client.create(SITES, body)
    status = {**body["status"], "freeCpu": "4", "conditions": [READY]}
    await client.merge_patch(SITES, name, {"status": status}, subresource="status")


async def place(client: HubClient, *sites: str) -> None:
    status = {"placement": {"groups": [{"sites": list(sites), "replicas": 1}]}}
    await client.merge_patch(
        WORKLOADS, "app", {"status": status}, namespace="default", subresource="status"
    )


async def profile_of(client: HubClient, name: str) -> Object:
    return await client.get(CLUSTER_PROFILES, name, NAMESPACE)


async def test_objects_are_accepted_kept_and_shared_with_other_writers(tmp_path: Path) -> None:
    async with hub_with_the_kinds(tmp_path) as client:
        await add_site(client, "m1", tier="edge")
        await add_site(client, "m2")
        body = raw_workload(name="app")
        body["metadata"]["namespace"] = "default"
        await client.create(WORKLOADS, body)
        await place(client, "m2", "m1")
        rig = EmbeddedRig()
        await rig.pass_over(client)
        profile = await profile_of(client, "m1")
        shown = {one["name"]: one["value"] for one in profile["status"]["properties"]}
        assert (shown["free-cpu.kapok.dev"], shown["nodes.kapok.dev"]) == ("4", "4")
        assert profile["metadata"]["labels"]["tier"] == "edge"
        decision = await client.get(PLACEMENT_DECISIONS, "kapok-app-0", "default")
        assert [one["clusterProfileRef"]["name"] for one in decision["decisions"]] == ["m1", "m2"]
        # What others write stays, what a site has no more goes.
        access = {"status": {"accessProviders": [{"name": "kubeconfig"}]}}
        await client.merge_patch(
            CLUSTER_PROFILES, "m1", access, namespace=NAMESPACE, subresource="status"
        )
        await client.merge_patch(SITES, "m1", {"metadata": {"labels": {"tier": None}}})
        silent = {"status": {"conditions": [{**READY, "status": "False", "reason": "Silent"}]}}
        await client.merge_patch(SITES, "m1", silent, subresource="status")
        await rig.pass_over(client)
        profile = await profile_of(client, "m1")
        assert "tier" not in profile["metadata"]["labels"]
        assert profile["status"]["accessProviders"] == access["status"]["accessProviders"]
        assert profile["status"]["conditions"][0]["status"] == "Unknown"
        assert "properties" not in profile["status"] or not profile["status"]["properties"]
        # A new leader finds that all is as it should be.
        fresh = EmbeddedRig()
        await fresh.pass_over(client)
        assert fresh.telemetry.writes == []
        await client.delete(SITES, "m1")
        await fresh.pass_over(client)
        assert fresh.telemetry.writes == [
            ("PlacementDecision", "written"),
            ("ClusterProfile", "deleted"),
        ]


async def test_an_object_of_another_manager_that_comes_later_is_not_seized(tmp_path: Path) -> None:
    async with hub_with_the_kinds(tmp_path) as client:
        rig = EmbeddedRig()
        await rig.pass_over(client)  # lists nothing
        meta: dict[str, Any] = {"name": "m1", "namespace": NAMESPACE}
        body = {"apiVersion": CLUSTER_PROFILES.api_version, "kind": "ClusterProfile"}
        theirs = {**body, "metadata": meta, "spec": {"clusterManager": {"name": "ocm"}}}
        await client.create(CLUSTER_PROFILES, theirs)
        await add_site(client, "m1")
        await rig.pass_over(client)
        assert (await profile_of(client, "m1"))["spec"]["clusterManager"]["name"] == "ocm"
        assert rig.telemetry.writes == [("ClusterProfile", "refused")]


def items(up: Up, kind: str, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(up.kubectl("get", kind, *words, "-o", "json"))["items"]
    return found


def test_kubectl_shows_profiles_and_decisions_that_follow_their_workload(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        up.apply(json.dumps(cluster_profile_crd()))
        up.apply(json.dumps(placement_decision_crd()))
        up.stop()
        up.start()  # it finds the kinds at its start
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
        up.apply(site.manifest)
        with running_sites(site):
            up.apply(WORKLOAD)
            (decision,) = eventually(lambda: items(up, "placementdecisions", "-n", "default"))
            reference = decision["decisions"][0]["clusterProfileRef"]
            assert reference == {"name": "m1", "namespace": NAMESPACE}
            assert decision["schedulerName"] == "kapok"
            by_key = "multicluster.x-k8s.io/decision-key=portal"
            assert len(items(up, "placementdecisions", "-n", "default", "-l", by_key)) == 1
            # The reference resolves, and readers select by the manager.
            manager = "x-k8s.io/cluster-manager=kapok"
            (profile,) = eventually(
                lambda: items(up, "clusterprofiles", "-n", NAMESPACE, "-l", manager)
            )
            assert profile["metadata"]["name"] == reference["name"]
            # At most one write of a decision for a placed workload.
            assert writes(up)["placementdecisions"] == 1
            up.kubectl("delete", "workloads.kapok.dev", "portal", "-n", "default", "--wait=false")
            eventually(lambda: not items(up, "placementdecisions", "-n", "default"))
            up.kubectl("delete", "site", "m1")
            eventually(lambda: not items(up, "clusterprofiles", "-n", NAMESPACE))
        assert "standard objects" not in up.log
        assert "PlacementDecision" not in up.log
