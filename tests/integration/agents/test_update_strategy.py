"""Changes of what cannot be changed: named, refused as a whole, or made by creating again."""

from typing import Any

import pytest

from agents.member.api import MemberApiError
from agents.protocol.orders import OrderContent
from tests.support.agent_rig import CONFIG_MAPS, DEPLOYMENTS, AgentRig
from tests.support.member_clusters import REAL_KUBECONFIGS

BUDGETS = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"
CLAIMS = "/api/v1/namespaces/{}/persistentvolumeclaims"


def deployment(app: str) -> dict[str, Any]:
    labels = {"app": app}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "web"}]},
            },
        },
    }


def config(value: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields
    metadata = {"name": "app"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": value}} | (
        more
    )


def both(rig: AgentRig, app: str, strategy: str | None, generation: int = 1) -> OrderContent:
    return rig.content(
        config(app), deployment(app), update_strategy=strategy, generation=generation
    )


def app_of(rig: AgentRig) -> str:
    found: str = rig.find(DEPLOYMENTS, "web")["spec"]["selector"]["matchLabels"]["app"]
    return found


def test_what_cannot_be_changed_is_named_with_the_ways_out(rig: AgentRig) -> None:
    rig.run(both(rig, "a", None))
    (status,) = rig.run(both(rig, "b", None, 2))
    assert status.phase == "Failed"
    assert status.message is not None
    assert "Deployment" in status.message
    assert "spec.selector cannot be changed" in status.message
    assert "updateStrategy: Recreate" in status.message
    assert app_of(rig) == "a"
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "b"}  # the other objects are applied


def test_refuse_changes_nothing_and_goes_on_when_the_object_is_gone(rig: AgentRig) -> None:
    rig.run(both(rig, "a", "Refuse"))
    (status,) = rig.run(both(rig, "b", "Refuse", 2))
    assert status.phase == "Refused"
    assert status.desired == 1  # what runs is counted
    assert status.message is not None
    assert "spec.selector cannot be changed" in status.message
    assert "updateStrategy: Refuse" in status.message
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "a"}
    rig.api.delete(f"{DEPLOYMENTS.format(rig.name)}/web")
    rig.clock.stand_still(120)
    rig.step()
    assert app_of(rig) == "b"
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "b"}


def test_recreate_deletes_the_object_and_creates_it_again(rig: AgentRig) -> None:
    rig.run(both(rig, "a", "Recreate"))
    before = rig.find(DEPLOYMENTS, "web")["metadata"]["uid"]
    (status,) = rig.run(both(rig, "b", "Recreate", 2))
    assert status.phase == "Applying"
    assert status.message is not None
    assert "deleted, to be created again (updateStrategy: Recreate)" in status.message
    rig.clock.stand_still(120)
    (status,) = rig.step()
    assert status.phase == "Applied"
    assert status.recreated is None
    assert app_of(rig) == "b"
    assert rig.find(DEPLOYMENTS, "web")["metadata"]["uid"] != before


@pytest.mark.parametrize(("allowed", "is_kept"), [(0, True), (1, False)])
def test_a_budget_that_protects_the_pods_keeps_the_object(
    rig: AgentRig, allowed: int, *, is_kept: bool
) -> None:
    if REAL_KUBECONFIGS and allowed:
        pytest.skip("the real disruption controller allows none, as no kubelet runs the pods")
    rig.run(both(rig, "a", "Recreate"))
    budget: dict[str, Any] = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": rig.name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    }
    made = rig.api.create(BUDGETS.format(rig.name), budget)
    if not REAL_KUBECONFIGS:  # a real controller counts for itself
        made["status"] = {
            "disruptionsAllowed": allowed,
            "currentHealthy": 1,
            "desiredHealthy": 1,
            "expectedPods": 1,
        }
        rig.api.update(f"{BUDGETS.format(rig.name)}/web/status", made)
    (status,) = rig.run(both(rig, "b", "Recreate", 2))
    assert (app_of(rig) if rig.find(DEPLOYMENTS, "web") else "") == ("a" if is_kept else "")
    assert status.message is not None
    assert ("PodDisruptionBudget web protects its pods" in status.message) is is_kept


def test_a_claim_is_never_created_again(rig: AgentRig, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    rig.run(rig.content(tree, update_strategy="Recreate"))
    uid = rig.find(CLAIMS, "data")["metadata"]["uid"]

    def refuse(*_: object, **__: object) -> None:
        cause = ("spec", "Forbidden: spec is immutable after creation except resources.requests")
        raise MemberApiError(422, "Invalid", "PATCH: 422", invalid_fields=(cause,))

    monkeypatch.setattr(rig.api, "apply", refuse)
    (status,) = rig.run(rig.content(tree, update_strategy="Recreate", generation=2))
    assert status.message is not None
    assert "it is not deleted: it holds data" in status.message
    assert rig.find(CLAIMS, "data")["metadata"]["uid"] == uid


def test_an_immutable_object_that_was_made_again_at_the_hub_is_made_again_here(
    rig: AgentRig,
) -> None:
    words = {"update_strategy": "Recreate"}
    rig.run(rig.content(config("1", immutable=True), **words))
    rig.run(rig.content(config("2", immutable=True), **words, generation=2))
    rig.clock.stand_still(120)
    rig.step()
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "2"}
