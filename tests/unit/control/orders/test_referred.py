"""Objects that pod templates refer to: when they go along, and when they are withdrawn."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from scheduler.control.orders.referred_ids import (
    parse_referred_id,
    parse_referred_key,
    referred_object,
    referred_order_id,
)
from scheduler.control.ports.agents import KEEP_DIGEST, OrderState, OrderStatusReport
from scheduler.control.ports.hub import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, TENANTS, WORKLOADS
from tests.support.control_loops import ControlLoops
from tests.support.pod_kinds import of_kind, template
from tests.support.sites import Raw, nodes, site, tenant_of_ns, workload

SITE = site("m1", nodes(8), observedAt="2026-11-24T08:00:00Z")
CONFIG = "hub/ns/configmap:app/along"
NEEDS_CONFIG = {"volumes": [{"name": "v", "configMap": {"name": "app"}}]}


def deployed(name: str, spec: Raw, **metadata: Any) -> Raw:  # noqa: ANN401 - any field
    pods = template()
    pods["spec"] |= spec
    manifest = of_kind("apps/v1", "Deployment", replicas=1, template=pods)
    manifest["metadata"] = {"name": name}
    made = workload(name=name, manifests=[manifest])
    made["metadata"] |= metadata
    del made["spec"]["demand"], made["status"]
    return made


def config(value: str, **fields: Any) -> Raw:  # noqa: ANN401 - any field
    metadata = {"name": "app", "namespace": "ns"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": value}} | (
        fields
    )


@asynccontextmanager
async def running(*raw: Raw, loops: ControlLoops | None = None) -> AsyncIterator[ControlLoops]:
    loops = loops or ControlLoops()
    async with loops.started(SITE, *raw), asyncio.TaskGroup() as group:
        task = group.create_task(loops.term.referred.run())
        await settle(loops)
        yield loops
        task.cancel()


async def settle(loops: ControlLoops) -> None:
    for _ in range(4):
        loops.read_hub()
        loops.dispatcher.flush()
        await loops.clock.settle()
        await loops.clock.advance(1.0)


def listed(loops: ControlLoops) -> Mapping[str, str]:
    return loops.publisher.indexes.get("m1", {})


def names(loops: ControlLoops) -> set[str]:
    return {one.split("/")[2] for one in listed(loops)}


async def condition(loops: ControlLoops, name: str) -> Mapping[str, Any]:
    found = (await loops.workload(name))["status"]["conditions"]
    return next((one for one in found if one["type"] == "References"), {})


def changed(loops: ControlLoops, kind: str, name: str) -> None:
    loops.term.referred._listener_of(kind)("ns", name)  # type: ignore[arg-type] # noqa: SLF001 - the watch


async def test_an_order_waits_for_what_is_missing_and_goes_on_when_it_appears() -> None:
    async with running(deployed("web", NEEDS_CONFIG)) as loops:
        assert names(loops) == set()
        found = await condition(loops, "web")
        assert (found["status"], found["reason"]) == ("False", "MissingReference")
        assert "ConfigMap app is not in namespace ns of the hub" in found["message"]
        assert await loops.phase("web") == "Placed"
        assert "ConfigMap app" in (await loops.workload("web"))["status"]["reason"]
        await loops.hub.create(CONFIG_MAPS, config("1"))
        changed(loops, "ConfigMap", "app")
        await settle(loops)
        assert names(loops) == {"web", "configmap:app"}
        found = await condition(loops, "web")
        assert (found["status"], found["reason"]) == ("True", "GoAlong")
        assert found["message"] == "these go along: ConfigMap app"


async def test_an_object_that_changes_is_sent_again_and_nothing_else() -> None:
    loops = ControlLoops()
    await loops.hub.create(CONFIG_MAPS, config("1"))
    async with running(deployed("web", NEEDS_CONFIG), deployed("other", {}), loops=loops):
        before = dict(listed(loops))
        await loops.hub.merge_patch(CONFIG_MAPS, "app", {"data": {"k": "2"}}, namespace="ns")
        changed(loops, "ConfigMap", "app")
        await settle(loops)
        after = dict(listed(loops))
        assert before.keys() == after.keys()
        assert len(after) == 3
        assert {one for one in after if after[one] != before[one]} == {CONFIG}


async def test_the_last_workload_that_refers_to_an_object_withdraws_it() -> None:
    loops = ControlLoops()
    await loops.hub.create(CONFIG_MAPS, config("1"))
    async with running(deployed("a", NEEDS_CONFIG), deployed("b", NEEDS_CONFIG), loops=loops):
        assert names(loops) == {"a", "b", "configmap:app"}
        for name, left in (("a", {"b", "configmap:app"}), ("b", set[str]())):
            raw = await loops.hub.get(WORKLOADS, name, "ns")
            manifest = raw["spec"]["manifests"][0]
            manifest["spec"]["template"]["spec"].pop("volumes")
            patch = {"spec": {"manifests": [manifest]}}
            await loops.hub.merge_patch(WORKLOADS, name, patch, namespace="ns")
            await settle(loops)
            assert ("configmap:app" in names(loops)) is ("configmap:app" in left)


async def test_an_optional_object_is_sent_if_it_exists_and_never_waited_for() -> None:
    optional = {"volumes": [{"name": "v", "configMap": {"name": "app", "optional": True}}]}
    async with running(deployed("web", optional)) as loops:
        assert names(loops) == {"web"}
        await loops.hub.create(CONFIG_MAPS, config("1"))
        changed(loops, "ConfigMap", "app")
        await settle(loops)
        assert names(loops) == {"web", "configmap:app"}


async def test_an_object_that_is_deleted_at_the_hub_stays_where_pods_use_it() -> None:
    loops = ControlLoops()
    await loops.hub.create(CONFIG_MAPS, config("1"))
    async with running(deployed("web", NEEDS_CONFIG), loops=loops):
        before = dict(listed(loops))
        await loops.hub.delete(CONFIG_MAPS, "app", "ns")
        changed(loops, "ConfigMap", "app")
        await settle(loops)
        assert dict(listed(loops)) == before


async def test_a_site_that_is_made_again_under_its_name_gets_the_objects_again() -> None:
    loops = ControlLoops()
    await loops.hub.create(CONFIG_MAPS, config("1"))
    async with running(deployed("web", NEEDS_CONFIG), loops=loops):
        loops.dispatcher.forget_site("m1")
        loops.dispatcher.admit("m1", "another-uid")
        loops.requeuer.redecide([("ns", "web")])
        loops.report(SITE)
        await settle(loops)
        assert CONFIG in loops.dispatcher.plans["m1"].orders


async def test_a_change_of_the_tenant_reaches_the_objects() -> None:
    loops = ControlLoops()
    await loops.hub.create(CONFIG_MAPS, config("1"))
    async with running(deployed("web", NEEDS_CONFIG), loops=loops):
        patch = {"spec": {"podSecurity": "baseline"}}
        (tenant,) = (await loops.hub.list(TENANTS)).items
        await loops.hub.merge_patch(TENANTS, tenant["metadata"]["name"], patch)
        await settle(loops)
        assert loops.dispatcher.plans["m1"].orders[CONFIG].pod_security == "baseline"


async def test_what_the_sites_have_themselves_is_not_waited_for() -> None:
    noted = {"kapok.dev/from-site": "Secret/x, ConfigMap/app"}
    async with running(deployed("web", NEEDS_CONFIG, annotations=noted)) as loops:
        assert names(loops) == {"web"}
        assert await condition(loops, "web") == {}


async def test_a_class_that_the_tenant_may_not_send_is_named_and_stops_nothing() -> None:
    async with running(deployed("web", {"priorityClassName": "gold"} | NEEDS_CONFIG)) as loops:
        found = await condition(loops, "web")
        assert found["reason"] == "MissingReference"
        assert "PriorityClass gold: Tenant.spec.clusterKinds lacks" in found["message"]
        await loops.hub.create(CONFIG_MAPS, config("1"))
        changed(loops, "ConfigMap", "app")
        await settle(loops)
        assert names(loops) == {"web", "configmap:app"}
        found = await condition(loops, "web")
        assert (found["status"], found["reason"]) == ("False", "NotSent")
        assert "kapok.dev/from-site" in found["message"]
        words = {"metadata": {"annotations": {"kapok.dev/from-site": "PriorityClass/gold"}}}
        await loops.hub.merge_patch(WORKLOADS, "web", words, namespace="ns")
        await settle(loops)
        await settle(loops)
        assert (await condition(loops, "web"))["status"] == "True"


@pytest.mark.parametrize("is_own", [True, False])
async def test_what_another_namespace_of_the_tenant_holds_goes_along(*, is_own: bool) -> None:
    loops = ControlLoops()
    web = deployed("web", NEEDS_CONFIG)
    web["spec"]["manifests"][0]["metadata"]["namespace"] = "more"
    other = {"metadata": {"name": "app", "namespace": "more"}}
    await loops.hub.create(CONFIG_MAPS, config("1") | other)
    own = ("ns", "more") if is_own else ("ns",)
    loops.has_tenant = False
    await loops.hub.create(TENANTS, tenant_of_ns(*own, extraNamespaces=["more"]))
    async with running(web, loops=loops):
        found = await condition(loops, "web")
        if is_own:
            assert set(listed(loops)) == {"hub/more/configmap:app/along", order_of(loops, "web")}
            assert found["message"] == "these go along: ConfigMap more/app"
        else:  # the namespace is another tenant's at the hub
            assert names(loops) == {"web"}
            assert found["reason"] == "NotSent"
            assert "ConfigMap more/app: Tenant.spec.namespaces lacks more" in found["message"]


async def test_a_new_leader_keeps_what_sites_have_in_other_namespaces_too() -> None:
    loops = ControlLoops()
    web = deployed("web", NEEDS_CONFIG)
    web["spec"]["manifests"][0]["metadata"]["namespace"] = "more"
    other = {"metadata": {"name": "app", "namespace": "more"}}
    await loops.hub.create(CONFIG_MAPS, config("1") | other)
    loops.has_tenant = False
    await loops.hub.create(TENANTS, tenant_of_ns("ns", "more", extraNamespaces=["more"]))
    async with running(web, loops=loops):
        former = dict(listed(loops))
    after = ReportingLoops(hub=loops.hub, recorder=loops.recorder)
    after.reported = tuple(former)
    async with after.leads(SITE):
        after.dispatcher.flush()
        assert listed(after)["hub/more/configmap:app/along"] == KEEP_DIGEST
        assert listed(after).keys() == former.keys()


def order_of(loops: ControlLoops, name: str) -> str:
    return next(one for one in listed(loops) if one.split("/")[2] == name)


async def test_the_pull_secrets_of_an_account_go_along_with_it() -> None:
    loops = ControlLoops()
    loops.term.referred.sealing_key_of = lambda _: "key"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "runner", "namespace": "ns"},
        "imagePullSecrets": [{"name": "pull"}],
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pull", "namespace": "ns"},
        "data": {"k": "dg=="},
    }
    await loops.hub.create(SERVICE_ACCOUNTS, account)
    await loops.hub.create(SECRETS, secret)
    async with running(deployed("web", {"serviceAccountName": "runner"}), loops=loops):
        assert names(loops) == {"web", "serviceaccount:runner", "secret:pull"}


async def test_a_secret_waits_for_the_sealing_key_of_its_site() -> None:
    loops = ControlLoops()
    keys = dict[str, str]()
    loops.term.referred.sealing_key_of = lambda name: keys.get(name, "")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "ns"},
        "data": {"k": "dg=="},
    }
    await loops.hub.create(SECRETS, secret)
    needs = {"volumes": [{"name": "v", "secret": {"secretName": "db"}}]}
    async with running(deployed("web", needs), loops=loops):
        assert names(loops) == set()
        assert (await condition(loops, "web"))["reason"] == "SealingKeyUnknown"
        keys["m1"] = "key"
        loops.term.referred.on_sealing_key("m1")
        await settle(loops)
        assert names(loops) == {"web", "secret:db"}


@pytest.mark.parametrize("is_heard", [False, True])
async def test_a_new_leader_keeps_a_secret_at_a_site_whose_sealing_key_it_does_not_know(
    *, is_heard: bool
) -> None:
    loops = ControlLoops()
    keys = {"m1": "key"}
    loops.term.referred.sealing_key_of = lambda name: keys.get(name, "")
    metadata = {"name": "db", "namespace": "ns"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "dg=="}}
    await loops.hub.create(SECRETS, secret)
    needs = {"volumes": [{"name": "v", "secret": {"secretName": "db"}}]}
    async with running(deployed("web", needs), loops=loops):
        former = dict(listed(loops))
        full = loops.dispatcher.order_at("m1", order_of(loops, "web"))
        assert full is not None
    assert names(loops) == {"web", "secret:db"}
    keys.clear()
    after = ReportingLoops(hub=loops.hub, recorder=loops.recorder)
    after.term.referred.sealing_key_of = lambda name: keys.get(name, "")
    after.reported, after.is_heard = tuple(former), is_heard
    async with after.leads(SITE), asyncio.TaskGroup() as group:
        task = group.create_task(after.term.referred.run())
        await settle(after)
        if not is_heard:
            after.dispatcher.set_orders(("ns", "web"), {"m1": full})  # it is decided again
            await settle(after)
            assert after.dispatcher.sites_of(("ns", "secret:db")) == {"m1"}
            assert names(after) == set(), "no index goes to a site that has not reported"
            after.is_heard = True
            after.report(SITE)
            await settle(after)
        assert names(after) == {"web", "secret:db"}
        assert listed(after)["hub/ns/secret:db/along"] == KEEP_DIGEST
        keys["m1"] = "key"
        after.term.referred.on_sealing_key("m1")
        await settle(after)
        assert listed(after)["hub/ns/secret:db/along"] != KEEP_DIGEST
        assert names(after) == {"web", "secret:db"}
        task.cancel()


async def test_a_token_of_an_account_is_refused_by_name() -> None:
    loops = ControlLoops()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "db", "namespace": "ns"},
    }
    await loops.hub.create(SECRETS, secret)
    needs = {"volumes": [{"name": "v", "secret": {"secretName": "db"}}]}
    async with running(deployed("web", needs), loops=loops):
        assert names(loops) == set()
        found = await condition(loops, "web")
        assert (found["reason"], "Secret db" in found["message"]) == ("ReferenceRefused", True)


async def test_too_many_references_are_refused_by_name() -> None:
    many = {"volumes": [{"name": f"v{n}", "configMap": {"name": f"c{n}"}} for n in range(65)]}
    async with running(deployed("web", many)) as loops:
        assert names(loops) == set()
        found = await condition(loops, "web")
        assert (found["reason"], "65 objects" in found["message"]) == ("TooManyReferences", True)


class ReportingLoops(ControlLoops):
    """The loops of a leader whose sites run orders of the one before."""

    reported: tuple[str, ...] = ()
    is_heard = True

    def report(self, raw: Raw) -> None:
        if not self.is_heard:  # the leader waits for the site, and begins without it
            self.waiting = asyncio.get_running_loop().create_task(self.clock.advance(60.0))
            return
        super().report(raw)
        self.sites.states["m1"].order_status = None
        states = {one: OrderState(id=one, generation=1, phase="Ready") for one in self.reported}
        self.controller.on_order_status(
            OrderStatusReport(site="m1", site_uid=None, version=None, digest="", orders=states)
        )


async def test_a_new_leader_keeps_what_sites_have_until_it_knows_who_needs_it() -> None:
    loops = ControlLoops()
    await loops.hub.create(CONFIG_MAPS, config("1"))
    async with running(deployed("web", NEEDS_CONFIG), loops=loops):
        former = dict(listed(loops))
    await loops.hub.delete(CONFIG_MAPS, "app", "ns")
    gone = "hub/ns/configmap:former/along"
    after = ReportingLoops(hub=loops.hub, recorder=loops.recorder)
    after.reported = (*former, gone)
    async with after.leads(SITE), asyncio.TaskGroup() as group:
        task = group.create_task(after.term.referred.run())
        after.dispatcher.flush()
        assert listed(after)[CONFIG] == listed(after)[gone] == KEEP_DIGEST
        assert len(listed(after)) == 3
        for _ in range(4):
            await settle(after)
        # It is known now what refers to what: one object is needed, and is gone at the hub.
        assert listed(after)[CONFIG] == KEEP_DIGEST
        assert gone not in listed(after)
        assert len(listed(after)) == 2
        task.cancel()


@pytest.mark.parametrize(
    ("kind", "namespace"), [("ConfigMap", "ns"), ("PriorityClass", "kapok-system")]
)
def test_an_order_id_names_its_object(kind: Any, namespace: str) -> None:  # noqa: ANN401 - a kind
    one = referred_object(kind, "ns", "app")
    assert one.namespace == namespace
    assert parse_referred_id(referred_order_id("hub", one)) == one
    assert parse_referred_key(one.order_key) == one


@pytest.mark.parametrize("text", ["hub/ns/app/along", "hub/ns/pod:app/along", "hub/ns/x:y/1", "x"])
def test_the_id_of_another_order_names_no_object(text: str) -> None:
    assert parse_referred_id(text) is None


@pytest.mark.parametrize("name", ["a/b", "A", "x" * 221, "x" * 300, "ä", "a b", "..", "a:b/c/d"])
async def test_a_name_that_no_object_has_is_refused_unless_it_is_optional(name: str) -> None:
    for is_optional in (False, True):
        source = {"name": name, "optional": is_optional}
        async with running(deployed("web", {"volumes": [{"name": "v", "configMap": source}]})) as (
            loops
        ):
            found = await condition(loops, "web")
            assert names(loops) == ({"web"} if is_optional else set())
            assert bool(found) is not is_optional
            if found:
                assert found["reason"] == "ReferenceRefused"
                assert "kapok.dev/from-site" in found["message"]


async def test_pull_secrets_of_an_account_with_odd_names_are_left_out() -> None:
    loops = ControlLoops()
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "runner", "namespace": "ns"},
        "imagePullSecrets": [{"name": "a/b"}, {"name": "x" * 300}, {"name": 3}, "none"],
    }
    await loops.hub.create(SERVICE_ACCOUNTS, account)
    async with running(deployed("web", {"serviceAccountName": "runner"}), loops=loops):
        assert names(loops) == {"web", "serviceaccount:runner"}


async def test_records_name_what_goes_along_and_hold_no_content() -> None:
    marker = "marker-of-a-password"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": "ns"},
        "data": {"k": marker},
    }
    spec = {
        "priorityClassName": "high",
        "volumes": [
            *NEEDS_CONFIG["volumes"],
            {"name": "s", "secret": {"secretName": "login"}},
            {"name": "o", "configMap": {"name": "gone", "optional": True}},
        ],
    }
    loops = ControlLoops()
    await loops.hub.create(CONFIG_MAPS, config("1"))
    await loops.hub.create(SECRETS, secret)
    async with running(deployed("web", spec), loops=loops):
        referred = loops.term.referred
        known = referred.recorded_references(("ns", "web"))
        found = {f"{one['kind']} {one['name']}": one for one in known}
        first = found["ConfigMap app"]
        assert first["namespace"] == "ns"
        assert first["digest"].startswith("sha256:")
        assert found["Secret login"].keys() == {"kind", "name", "namespace", "resourceVersion"}
        assert found["ConfigMap gone"].keys() == {"kind", "name", "namespace"}
        assert marker not in str(found)
        await loops.hub.merge_patch(CONFIG_MAPS, "app", {"data": {"k": "2"}}, namespace="ns")
        changed(loops, "ConfigMap", "app")
        await settle(loops)
        assert first not in referred.recorded_references(("ns", "web"))
        await loops.hub.merge_patch(WORKLOADS, "web", {"spec": {"replicas": 2}}, namespace="ns")
        await settle(loops)
        recorded = loops.recorder.records[-1][1]["references"]
        assert [f"{one['kind']} {one['name']}" for one in recorded] == sorted(found)
        assert referred.recorded_references(("ns", "other")) == []
