"""Withdrawn means seen gone, and data goes only by an explicit word."""

from typing import Any

import pytest

from agents.member.api import MemberApiError
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.protocol.topics import order_token
from tests.support.agent_rig import CONFIG_MAPS, DEPLOYMENTS, AgentRig
from tests.support.member_clusters import REAL_KUBECONFIGS, wait_until
from tests.support.wire_hub import Manifest, config_map, deployment

pytestmark = pytest.mark.integration

CLAIMS = "/api/v1/namespaces/{}/persistentvolumeclaims"
STATEFUL_SETS = "/apis/apps/v1/namespaces/{}/statefulsets"
FOREIGN_OWNER = [
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "parent",
        "uid": "00000000-0000-0000-0000-000000000002",
        "controller": True,
    }
]


def claim(name: str = "data") -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec,
    }


def stateful_set() -> Manifest:
    made = {**deployment("db", 1), "kind": "StatefulSet"}
    template = {"metadata": {"name": "data"}, "spec": claim()["spec"]}
    made["spec"] |= {"serviceName": "db", "volumeClaimTemplates": [template]}
    return made


def change(rig: AgentRig, collection: str, name: str, **metadata: Any) -> None:  # noqa: ANN401 - JSON
    path = f"{collection.format(rig.name)}/{name}"
    tree = rig.api.get(path)
    tree["metadata"] |= metadata
    rig.api.update(path, tree)


def kept(rig: AgentRig) -> list[str]:
    return [one.name for one in rig.executor.kept_claims()]


def test_an_owner_or_a_finalizer_in_a_manifest_is_not_applied(rig: AgentRig) -> None:
    copied = config_map(a="1")
    copied["metadata"] |= {"ownerReferences": FOREIGN_OWNER, "finalizers": ["example.com/hold"]}
    rig.run(rig.content(copied))
    made = rig.find(CONFIG_MAPS, "settings")["metadata"]
    assert "ownerReferences" not in made
    assert "finalizers" not in made


def test_an_object_that_claims_a_controller_is_withdrawn_all_the_same(rig: AgentRig) -> None:
    rig.run(rig.content(config_map(a="1")))
    change(rig, CONFIG_MAPS, "settings", ownerReferences=FOREIGN_OWNER)
    rig.lose_disk()
    rig.run()
    assert rig.phases() == []
    assert rig.find(CONFIG_MAPS, "settings") is None


def test_an_object_without_our_label_is_looked_for_by_its_name(rig: AgentRig) -> None:
    rig.run(rig.content(config_map(a="1")))
    change(rig, CONFIG_MAPS, "settings", labels={}, annotations={})
    assert [one.phase for one in rig.run()] == ["Withdrawing"]
    assert rig.find(CONFIG_MAPS, "settings") is None
    assert rig.phases() == []


def test_what_a_finalizer_holds_is_named_and_never_called_gone(rig: AgentRig) -> None:
    rig.run(rig.content(config_map(a="1")))
    change(rig, CONFIG_MAPS, "settings", finalizers=["example.com/hold"])
    rig.run()
    for _ in range(2):
        [status] = rig.step()
        assert status.phase == "Withdrawing"
        text = f"ConfigMap {rig.name}/settings is held by finalizer example.com/hold"
        assert text in str(status.message)
    change(rig, CONFIG_MAPS, "settings", finalizers=[])
    assert rig.phases() == []


def test_a_pod_that_no_node_has_is_not_gone(rig: AgentRig) -> None:
    content = rig.content(config_map(a="1"))
    rig.run(content)
    parent = rig.api.create(CONFIG_MAPS.format(rig.name), config_map("parent"))
    pod: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "waits",
            "labels": {ORDER_LABEL: order_token(content.id)},
            "annotations": {ORDER_ID_ANNOTATION: content.id},
            "ownerReferences": [{**FOREIGN_OWNER[0], "uid": parent["metadata"]["uid"]}],
        },
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    rig.api.create(f"/api/v1/namespaces/{rig.name}/pods", pod)
    rig.run()
    [status] = rig.step()
    assert status.phase == "Withdrawing"
    assert "1 objects" in str(status.message)
    rig.api.delete(f"/api/v1/namespaces/{rig.name}/pods/waits")
    assert rig.phases() == []


def test_a_custom_kind_that_went_with_its_definition_holds_nothing(rig: AgentRig) -> None:
    content = rig.content(config_map(a="1"))
    rig.run(content)
    key = next(iter(rig.journal.created_objects()[content.id]))
    widget = type(key)("kapok.example/v9", "Widget", rig.name, "w")
    rig.journal.record_created(content.id, [widget])
    rig.run()
    assert rig.phases() == []


def test_a_claim_stays_when_its_order_goes_until_the_word_that_data_goes(rig: AgentRig) -> None:
    content = rig.content(claim(), deployment())
    rig.run(content)
    before = rig.find(CLAIMS, "data")["metadata"]["uid"]
    rig.run()
    assert rig.phases() == [], "of the order nothing is left but the claim"
    assert rig.find(DEPLOYMENTS, "web") is None
    assert kept(rig) == ["data"]
    rig.lose_disk()
    rig.run(content)
    assert rig.find(CLAIMS, "data")["metadata"]["uid"] == before, "it is taken up again"
    assert kept(rig) == []
    rig.run(purge=(content.id,))
    assert rig.phases() == []
    assert rig.find(CLAIMS, "data") is None
    assert kept(rig) == []


def test_a_claim_that_an_edit_drops_stays_and_is_told(rig: AgentRig) -> None:
    rig.run(rig.content(claim(), deployment()))
    rig.run(rig.content(deployment(), generation=2))
    assert rig.find(CLAIMS, "data") is not None
    assert kept(rig) == ["data"]


def test_a_claim_that_lost_its_label_is_never_deleted_by_name(rig: AgentRig) -> None:
    rig.run(rig.content(claim(), config_map()))
    change(rig, CLAIMS, "data", labels={}, annotations={})
    rig.run()
    assert rig.phases() == []
    assert rig.find(CLAIMS, "data") is not None


def test_claims_that_a_stateful_set_makes_are_kept_and_told(rig: AgentRig) -> None:
    content = rig.content(stateful_set())
    rig.run(content)
    if REAL_KUBECONFIGS:  # its controller makes them
        wait_until(lambda: rig.find(CLAIMS, "data-db-0") is not None)
    else:
        [template] = rig.find(STATEFUL_SETS, "db")["spec"]["volumeClaimTemplates"]
        made = {**claim("data-db-0"), "metadata": {**template["metadata"], "name": "data-db-0"}}
        rig.api.create(CLAIMS.format(rig.name), made)
    rig.step()
    assert kept(rig) == [], "it is in use"
    rig.run()
    rig.step()
    assert kept(rig) == ["data-db-0"]
    rig.run(purge=(content.id,))
    if REAL_KUBECONFIGS:  # a controller lets go of it when no pod uses it
        wait_until(lambda: rig.find(CLAIMS, "data-db-0") is None)
    assert rig.find(CLAIMS, "data-db-0") is None


def test_a_stateful_set_of_the_agent_before_keeps_its_templates(rig: AgentRig) -> None:
    content = rig.content(stateful_set())
    rig.run(content)
    tree = rig.find(STATEFUL_SETS, "db")
    for marks in ("labels", "annotations"):
        del tree["spec"]["volumeClaimTemplates"][0]["metadata"][marks]
    for name in ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"):
        tree["metadata"].pop(name, None)
    path = f"{STATEFUL_SETS.format(rig.name)}/db"
    rig.api.delete(path)
    rig.api.apply(path, tree, force=True)
    assert [one.phase for one in rig.step()] == ["Applied"]


def test_what_the_api_refuses_to_delete_is_named_with_its_words(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.run(rig.content(config_map(a="1")))
    delete = rig.api.delete

    def refuse(path: str, **more: Any) -> None:  # noqa: ANN401 - passed on
        if path.endswith("/settings"):
            raise MemberApiError(403, "Forbidden", f"DELETE {path}: 403 configmaps is forbidden")
        delete(path, **more)

    monkeypatch.setattr(rig.api, "delete", refuse)
    rig.run()
    [status] = rig.step()
    assert status.phase == "Withdrawing"
    assert f"ConfigMap {rig.name}/settings cannot be deleted: DELETE" in str(status.message)
    assert "403 configmaps is forbidden" in str(status.message)
    monkeypatch.undo()
    rig.step()
    assert rig.phases() == []
