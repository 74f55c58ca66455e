"""`on_drift`: what people change at a site is set back, or named and left."""

import asyncio

import pytest

from agents.protocol.orders import OrderContent
from agents.protocol.status import DriftedObject
from tests.support.agent_rig import CONFIG_MAPS, DEPLOYMENTS, AgentRig
from tests.support.wire_hub import Manifest, config_map, deployment

pytestmark = pytest.mark.integration

SETTINGS = f"{CONFIG_MAPS}/settings"


def change(rig: AgentRig, collection: str, name: str, tree: Manifest, kind: str = "v1") -> None:
    """A person writes some fields, as kubectl does."""
    word = "Deployment" if "deployments" in collection else "ConfigMap"
    tree = {"apiVersion": kind, "kind": word, "metadata": {"name": name}, **tree}
    path = f"{collection.format(rig.name)}/{name}"
    rig.api.apply(path, tree, force=True, manager="kubectl-edit")


def settings(**data: str) -> Manifest:
    return config_map(**(data or {"level": "info", "colour": "red"}))


def reporting(rig: AgentRig, *manifests: Manifest, **more: object) -> OrderContent:
    return rig.content(*manifests, on_drift="Report", **more)


def drifted(rig: AgentRig) -> tuple[DriftedObject, ...]:
    [status] = rig.step()
    return status.drifted or ()


def test_drift_is_set_back_unless_the_order_says_report(rig: AgentRig) -> None:
    rig.run(rig.content(settings()))
    change(rig, CONFIG_MAPS, "settings", {"data": {"level": "debug"}})
    assert drifted(rig) == ()
    assert rig.find(CONFIG_MAPS, "settings")["data"]["level"] == "info"


def test_drift_is_named_with_object_and_field_and_left(rig: AgentRig) -> None:
    [status] = rig.run(reporting(rig, settings(), deployment()))
    assert status.drifted is None
    change(rig, CONFIG_MAPS, "settings", {"data": {"level": "debug"}})
    change(rig, DEPLOYMENTS, "web", {"spec": {"replicas": 7}}, "apps/v1")
    for _ in range(3):
        found = {one.kind: one for one in drifted(rig)}
        assert found["ConfigMap"].fields == ("data.level",)
        assert found["Deployment"].fields == ("spec.replicas",)
        assert found["Deployment"].name == "web"
        assert found["Deployment"].namespace == rig.name
    assert rig.find(CONFIG_MAPS, "settings")["data"]["level"] == "debug"
    assert rig.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 7


def test_a_removed_field_is_drift_and_an_added_one_is_not(rig: AgentRig) -> None:
    rig.run(reporting(rig, settings()))
    path = SETTINGS.format(rig.name)
    tree = rig.api.get(path)
    del tree["data"]["colour"]
    tree["data"]["mine"] = "1"
    rig.api.update(path, tree)
    [one] = drifted(rig)
    assert one.fields == ("data.colour",)


def test_what_is_put_back_has_not_drifted(rig: AgentRig) -> None:
    rig.run(reporting(rig, settings()))
    change(rig, CONFIG_MAPS, "settings", {"data": {"level": "debug"}})
    assert len(drifted(rig)) == 1
    change(rig, CONFIG_MAPS, "settings", {"data": {"level": "info"}})
    asyncio.run(rig.clock.advance(70))
    assert drifted(rig) == ()


def test_it_is_still_only_reported_after_a_restart(rig: AgentRig) -> None:
    rig.run(reporting(rig, settings(), deployment()))
    change(rig, CONFIG_MAPS, "settings", {"data": {"level": "debug"}})
    assert len(drifted(rig)) == 1
    rig.journal.close()
    rig.start()
    [one] = drifted(rig)
    assert (one.name, one.fields) == ("settings", ("data.level",))
    assert rig.find(CONFIG_MAPS, "settings")["data"]["level"] == "debug"


def test_a_new_content_is_applied_whole_over_drift(rig: AgentRig) -> None:
    rig.run(reporting(rig, settings()))
    change(rig, CONFIG_MAPS, "settings", {"data": {"level": "debug"}})
    assert len(drifted(rig)) == 1
    [status] = rig.run(reporting(rig, settings(level="warn"), generation=2))
    assert (status.drifted, status.phase) == (None, "Ready")
    assert rig.find(CONFIG_MAPS, "settings")["data"]["level"] == "warn"


def test_what_was_deleted_is_made_again_and_the_rest_is_left(rig: AgentRig) -> None:
    rig.run(reporting(rig, settings(), deployment()))
    change(rig, CONFIG_MAPS, "settings", {"data": {"level": "debug"}})
    rig.api.delete(f"{DEPLOYMENTS.format(rig.name)}/web")
    [one] = drifted(rig)
    assert one.name == "settings"
    assert rig.find(DEPLOYMENTS, "web") is not None


def test_what_another_controller_took_is_left_to_it_and_is_no_drift(rig: AgentRig) -> None:
    rig.run(reporting(rig, settings()))
    path = SETTINGS.format(rig.name)
    tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    rig.api.apply(path, {**tree, "data": {"level": "x"}}, force=True, manager="level-operator")
    [status] = rig.step()
    assert status.drifted is None
    assert "data.level is left to level-operator" in (status.message or "")


@pytest.mark.soak
def test_more_drift_than_a_status_holds_is_bounded(rig: AgentRig) -> None:
    data = {f"k{at:02}": "v" for at in range(12)}
    many = [config_map(f"c{n:02}", **data) for n in range(20)]
    rig.run(reporting(rig, *many))
    for n in range(20):
        change(rig, CONFIG_MAPS, f"c{n:02}", {"data": dict.fromkeys(data, "w")})
    found = drifted(rig)
    assert len(found) == 16
    assert {len(one.fields) for one in found} == {8}
