"""The member's API as the agent uses it: lease, sensor, lists, errors, and the way there.

On the embedded server; on a real one when KAPOK_TEST_MEMBER_KUBECONFIGS names it.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agents.member.access import AccessError, from_kubeconfig
from agents.member.api import MemberApi, MemberApiError, Unreachable
from agents.member.discovery import Discovery, discover
from agents.orders.lease import LocalLease
from agents.sensors.kubernetes import KubernetesSensor
from agents.sensors.namespaces import NamespaceSensor
from agents.sensors.nodes import LabelChoice
from agents.sensors.sensor import Observation
from tests.support.agent_rig import CONFIG_MAPS, AgentRig
from tests.support.fake_clock import FakeClock
from tests.support.wire_hub import config_map

pytestmark = pytest.mark.integration


async def test_the_lease_is_taken_over_when_its_holder_falls_silent(rig: AgentRig) -> None:
    api = rig.api
    rig.executor.ensure_system_namespace()
    one, two = (
        LocalLease(api=api, holder=name, duration_seconds=15.0, clock=rig.clock)
        for name in ("one", "two")
    )
    lease = "/apis/coordination.k8s.io/v1/namespaces/kapok-system/leases/kapok-agent"
    api.delete(lease)
    assert (one.renew(), two.renew()) == (True, False)
    await rig.clock.advance(10)
    assert one.renew()
    await rig.clock.advance(10)
    assert not two.renew(), "it has seen the lease change"
    await rig.clock.advance(4)
    assert not one.is_held(), "its holder stops before the others may begin"
    await rig.clock.advance(11)
    assert two.renew()
    assert (one.renew(), two.is_held()) == (False, True)
    two.release()
    assert (two.is_held(), one.renew()) == (False, True)
    assert api.get(lease)["spec"]["leaseTransitions"] >= 2
    api.delete(lease)


async def test_the_sensor_reports_orders_executor_and_kinds(rig: AgentRig) -> None:
    content = rig.content(config_map())
    rig.run(content)
    sensor = KubernetesSensor(
        discovery=Discovery(rig.api, rig.clock),
        label_choice=LabelChoice(),
        read_applied_generations=rig.journal.applied_generations,
        is_active=lambda: True,
    )
    look = await sensor.observe()
    assert look.executor is not None
    assert (look.executor.is_active, look.executor.is_reachable) == (True, True)
    assert {"apps/v1/Deployment", "batch/v1/Job", "v1/ConfigMap"} <= set(look.api_kinds or ())
    [order] = [each for each in look.orders or () if each.id == content.id]
    assert (order.generation, order.bound) == (1, 0)


async def test_a_member_that_serves_no_quotas_reports_no_namespaces_and_no_fault(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.sensors.namespaces._QUOTAS_PATH", "/api/v1/allowances")
    assert await NamespaceSensor(rig.api).observe() == Observation()


async def test_the_quota_of_a_namespace_is_reported(rig: AgentRig) -> None:
    rig.run(rig.content(config_map()))  # creates the namespace
    quotas = f"/api/v1/namespaces/{rig.name}/resourcequotas"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
    rig.api.create(quotas, {**quota, "spec": {"hard": {"pods": "7"}}})
    status, left = await observe_quota(rig)
    assert left == (7 if status else 0), "what no controller has counted is no room"
    for _ in range(100):  # the cluster's own controller may count at the same moment
        if status == TWO_OF_SEVEN:
            break
        with suppress(MemberApiError):
            rig.api.update(f"{quotas}/q/status", {**rig.api.get(f"{quotas}/q"), **USED})
        status, left = await observe_quota(rig)
    assert (status, left) == (TWO_OF_SEVEN, 5)


TWO_OF_SEVEN = {"hard": {"pods": "7"}, "used": {"pods": "2"}}
USED = {"status": TWO_OF_SEVEN}


async def observe_quota(rig: AgentRig) -> tuple[dict[str, Any], int]:
    """The status of the quota q, and how many pods the sensor says are left by it."""
    path = f"/api/v1/namespaces/{rig.name}/resourcequotas/q"
    while True:
        before = rig.api.get(path)
        seen = await NamespaceSensor(rig.api).observe()
        if (
            rig.api.get(path)["metadata"]["resourceVersion"]
            == before["metadata"]["resourceVersion"]
        ):
            break
    assert not seen.faults
    [left] = [each.quota_left for each in seen.namespaces or () if each.name == rig.name]
    assert left is not None
    assert left.keys() == {"pods"}
    return before.get("status") or {}, int(left["pods"])


async def test_a_member_that_does_not_answer_is_a_fault_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG.format(server="http://127.0.0.1:9"))
    clock = FakeClock()
    discovery = Discovery(MemberApi(from_kubeconfig(path)), clock)
    sensor = KubernetesSensor(
        discovery=discovery,
        label_choice=LabelChoice(),
        read_applied_generations=dict,
        is_active=lambda: False,
    )
    look = await sensor.observe()
    assert look.faults == ("kubernetes-unreachable",)
    assert look.node_classes is None, "unknown, not empty"
    assert look.executor is not None
    assert not look.executor.is_reachable


def test_lists_come_in_pages_and_kinds_from_both_forms_of_discovery(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.run(rig.content(*(config_map(f"c{n}") for n in range(7))))
    monkeypatch.setattr("agents.member.api.PAGE", 3)
    names = rig.api.list_mapped(
        CONFIG_MAPS.format(rig.name), None, lambda tree: tree["metadata"]["name"]
    )
    assert {f"c{n}" for n in range(7)} <= set(names)
    monkeypatch.setattr("agents.member.discovery._AGGREGATED", "application/json")
    old = discover(rig.api)
    monkeypatch.undo()
    assert old.by_name == discover(rig.api).by_name


def test_errors_tell_what_the_server_said(rig: AgentRig) -> None:
    with pytest.raises(MemberApiError) as caught:
        rig.api.get("/api/v1/namespaces/none-such")
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")
    assert rig.api.find("/api/v1/namespaces/none-such") is None
    rig.api.delete("/api/v1/namespaces/none-such")


KUBECONFIG = """
current-context: c
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
clusters: [{{name: k, cluster: {{server: "{server}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "not a kubeconfig"),
        ("{", "not a kubeconfig"),
        ("current-context: x", "no context 'x' in contexts"),
        (KUBECONFIG.format(server="unix:/x"), r"not an http or https URL"),
        (
            KUBECONFIG.format(server="http://h").replace("token: t", "exec: {}"),
            "has 'exec', which is not supported",
        ),
    ],
    ids=["a list", "no YAML", "no context", "no address", "a plug-in"],
)
def test_a_kubeconfig_that_will_not_do_is_refused_with_what_is_missing(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(AccessError, match=words):
        from_kubeconfig(path)
    with pytest.raises(AccessError):
        from_kubeconfig(tmp_path / "none")


def test_a_server_that_is_down_is_unreachable(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG.format(server="http://127.0.0.1:9"))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        MemberApi(from_kubeconfig(path)).get("/api")
