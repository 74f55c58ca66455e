"""What other controllers set is theirs; what people changed has drifted.

On the embedded server; on a real one when KAPOK_TEST_MEMBER_KUBECONFIGS names it. The controllers
are played by requests in their names, since the server tells them by nothing else.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_rig import AUTOSCALERS, CONFIG_MAPS, DEPLOYMENTS, AgentRig
from tests.support.api_client import APPLY, STRATEGIC, Client
from tests.support.wire_hub import autoscaler, config_map, deployment

pytestmark = pytest.mark.integration
CONTROLLER_MANAGER = "kube-controller-manager"


@pytest.fixture
def others(kubeconfig: Path) -> Client:
    return Client.of(kubeconfig)


def web(rig: AgentRig) -> Any:  # noqa: ANN401 - a JSON tree
    return rig.find(DEPLOYMENTS, "web")


def scale(rig: AgentRig, others: Client, replicas: int, manager: str = CONTROLLER_MANAGER) -> None:
    path = f"{DEPLOYMENTS.format(rig.name)}/web/scale"
    others.patch(path, {"spec": {"replicas": replicas}}, fieldManager=manager).ok()


def set_container(rig: AgentRig, others: Client, manager: str, **fields: object) -> None:
    path = f"{DEPLOYMENTS.format(rig.name)}/web"
    spec = {"template": {"spec": {"containers": [{"name": "c", **fields}]}}}
    others.patch(path, {"spec": spec}, STRATEGIC, fieldManager=manager).ok()


def idle_passes(rig: AgentRig) -> bool:
    """Whether further passes find nothing to do."""
    return not rig.executor.reconcile() and not rig.executor.reconcile()


def test_an_autoscaler_of_the_cluster_keeps_its_number(rig: AgentRig, others: Client) -> None:
    rig.run(rig.content(deployment(replicas=2)))
    others.create(AUTOSCALERS.format(rig.name), autoscaler()).ok()
    for replicas in (5, 7, 3):
        scale(rig, others, replicas)
        [status] = rig.step()
        assert web(rig)["spec"]["replicas"] == replicas
        assert "spec.replicas is left to kube-controller-manager" in (status.message or "")
        assert idle_passes(rig)
    rig.start()
    rig.run(rig.content(deployment(replicas=2), generation=2))
    assert web(rig)["spec"]["replicas"] == 3, "after a start too"


def test_the_number_is_taken_back_when_the_autoscaler_is_gone(
    rig: AgentRig, others: Client
) -> None:
    rig.run(rig.content(deployment(replicas=2)))
    scale(rig, others, 6)
    rig.step()
    assert web(rig)["spec"]["replicas"] == 2


def test_an_autoscaler_of_a_distribution_in_one_program_is_known_by_the_status(
    rig: AgentRig, others: Client
) -> None:
    """As in k3s: the server names the manager by the program."""
    rig.run(rig.content(deployment(replicas=2)))
    path = f"{DEPLOYMENTS.format(rig.name)}/web/status"
    others.patch(path, {"status": {"collisionCount": 1}}, fieldManager="k3s").ok()
    others.create(AUTOSCALERS.format(rig.name), autoscaler()).ok()
    scale(rig, others, 6, manager="k3s")
    rig.step()
    assert web(rig)["spec"]["replicas"] == 6
    others.delete(f"{AUTOSCALERS.format(rig.name)}/{autoscaler()['metadata']['name']}").ok()
    rig.clock.stand_still(400)
    rig.step()
    assert web(rig)["spec"]["replicas"] == 2


def test_a_scaler_that_is_not_the_controller_manager_keeps_its_number(
    rig: AgentRig, others: Client
) -> None:
    rig.run(rig.content(deployment(replicas=2)))
    scale(rig, others, 6, manager="a-scaler")
    [status] = rig.step()
    assert web(rig)["spec"]["replicas"] == 6
    assert "spec.replicas is left to a-scaler" in (status.message or "")


def test_nothing_runs_where_nothing_is_to_run(rig: AgentRig, others: Client) -> None:
    rig.run(rig.content(deployment(replicas=2)))
    others.create(AUTOSCALERS.format(rig.name), autoscaler()).ok()
    scale(rig, others, 5)
    rig.step()
    rig.run(rig.content(deployment(replicas=0), generation=2))
    assert web(rig)["spec"]["replicas"] == 0


def test_the_number_is_not_owned_beside_an_autoscaler_of_the_order(
    rig: AgentRig, others: Client
) -> None:
    rig.run(rig.content(deployment(replicas=3), autoscaler()))
    assert (web(rig)["spec"]["replicas"], owned(web(rig))) == (3, False)
    assert idle_passes(rig)
    scale(rig, others, 8)
    generation = web(rig)["metadata"]["generation"]
    assert idle_passes(rig), "what it raised has not drifted"
    [status] = rig.run(rig.content(deployment(replicas=4), autoscaler(), generation=2))
    assert (web(rig)["spec"]["replicas"], status.applied_generation) == (8, 2)
    assert web(rig)["metadata"]["generation"] == generation, "no pod was touched"


def test_what_was_owned_is_handed_over_when_an_autoscaler_joins(
    rig: AgentRig, others: Client
) -> None:
    rig.run(rig.content(deployment(replicas=3)))
    assert owned(web(rig))
    rig.run(rig.content(deployment(replicas=4), autoscaler(), generation=2))
    assert (web(rig)["spec"]["replicas"], owned(web(rig))) == (3, False)
    rig.run(rig.content(deployment(replicas=0), autoscaler(), generation=3))
    assert web(rig)["spec"]["replicas"] == 0
    rig.run(rig.content(deployment(replicas=4), autoscaler(), generation=4))
    assert (web(rig)["spec"]["replicas"], owned(web(rig))) == (4, False)
    scale(rig, others, 6)
    assert idle_passes(rig)
    assert web(rig)["spec"]["replicas"] == 6


def test_the_number_that_a_manifest_leaves_out_is_never_owned(
    rig: AgentRig, others: Client
) -> None:
    manifest = deployment()
    del manifest["spec"]["replicas"]
    rig.run(rig.content(manifest))
    scale(rig, others, 4, manager="kubectl-scale")
    assert idle_passes(rig)
    assert (web(rig)["spec"]["replicas"], owned(web(rig))) == (4, False)


def test_a_generation_that_another_controller_raised_has_not_drifted(
    rig: AgentRig, others: Client
) -> None:
    rig.run(rig.content(deployment(), config_map(a="1")))
    before = web(rig)["metadata"]["generation"]
    set_container(rig, others, "an-injector", env=[{"name": "PROXY", "value": "x"}])
    path = f"{CONFIG_MAPS.format(rig.name)}/settings"
    others.patch(path, {"data": {"b": "theirs"}}, fieldManager="some-operator").ok()
    assert web(rig)["metadata"]["generation"] > before
    assert not rig.executor.reconcile()
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"a": "1", "b": "theirs"}


def test_a_field_that_another_controller_took_is_left_to_it_and_named(
    rig: AgentRig, others: Client
) -> None:
    content = rig.content(deployment(), config_map(a="1"))
    rig.run(content)
    resources = {"requests": {"cpu": "250m"}}
    set_container(rig, others, "vpa-admission", resources=resources)
    [status] = rig.step()
    assert requests_of(web(rig)) == {"cpu": "250m"}
    assert status.phase in ("Applied", "Ready")
    assert "resources.requests.cpu is left to vpa-admission" in (status.message or "")
    assert idle_passes(rig)
    changed = deployment()
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    rig.run(rig.content(changed, config_map(a="1"), generation=2))
    assert requests_of(web(rig)) == {"cpu": "250m"}
    assert container_of(web(rig))["image"] == "nginx:2", "the rest is ours"


@pytest.mark.parametrize("manager", ["kubectl-edit", "Mozilla", "helm", "k9s"])
def test_what_people_changed_is_set_back(rig: AgentRig, others: Client, manager: str) -> None:
    rig.run(rig.content(deployment()))
    set_container(rig, others, manager, image="other", resources={"requests": {"cpu": "1"}})
    status = rig.step()[0]
    assert (container_of(web(rig))["image"], requests_of(web(rig))) == ("nginx", {"cpu": "500m"})
    assert status.message is None or "left to" not in status.message


def test_of_one_conflict_what_people_did_is_set_back_and_the_rest_is_left(
    rig: AgentRig, others: Client
) -> None:
    rig.run(rig.content(deployment()))
    set_container(rig, others, "kubectl-edit", image="other")
    set_container(rig, others, "vpa-admission", resources={"requests": {"cpu": "250m"}})
    rig.step()
    assert (container_of(web(rig))["image"], requests_of(web(rig))) == ("nginx", {"cpu": "250m"})


def test_the_mark_of_the_order_is_left_to_nobody(rig: AgentRig, others: Client) -> None:
    rig.run(rig.content(config_map(a="1")))
    path = f"{CONFIG_MAPS.format(rig.name)}/settings"
    tree = rig.api.get(path)
    name, right = "kapok.dev/order-id", tree["metadata"]["annotations"]["kapok.dev/order-id"]
    mine = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "annotations": {name: f"{right}x"}},
        "data": {"a": "2"},
    }
    others.patch(path, mine, APPLY, fieldManager="some-operator", force="true").ok()
    rig.step()
    after = rig.find(CONFIG_MAPS, "settings")
    assert after["metadata"]["annotations"][name] == right
    assert after["data"] == {"a": "2"}


def owned(tree: Any) -> bool:  # noqa: ANN401 - a JSON tree
    return any(
        "f:replicas" in each["fieldsV1"].get("f:spec", {})
        for each in tree["metadata"]["managedFields"]
        if each["manager"] == "kapok-agent"
    )


def container_of(tree: Any) -> Any:  # noqa: ANN401 - a JSON tree
    return tree["spec"]["template"]["spec"]["containers"][0]


def requests_of(tree: Any) -> Any:  # noqa: ANN401 - a JSON tree
    return container_of(tree)["resources"]["requests"]
