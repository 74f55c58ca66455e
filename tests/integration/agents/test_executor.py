"""The agent at a member cluster, through its API: applies, adopts, withdraws, runs jobs once.

On the embedded server; on a real one when KAPOK_TEST_MEMBER_KUBECONFIGS names it.
"""

import threading
from typing import Any

import pytest

from agents.orders.applier import Applier
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL, OrderContent
from agents.protocol.topics import order_token
from tests.support.agent_rig import CONFIG_MAPS, DEPLOYMENTS, JOBS, AgentRig, written_version
from tests.support.member_clusters import REAL_KUBECONFIGS, wait_until
from tests.support.up import becomes
from tests.support.widgets import widget_crd
from tests.support.wire_hub import config_map, deployment, job

pytestmark = pytest.mark.integration


def test_an_order_is_applied_into_a_namespace_of_its_own(rig: AgentRig) -> None:
    content = rig.content(config_map(a="1"), deployment())
    [status] = rig.run(content)
    made = rig.find(DEPLOYMENTS, "web")
    assert (status.phase, status.applied, status.desired) == ("Applied", 2, 2)
    assert made["metadata"]["labels"] == {ORDER_LABEL: order_token(content.id)}
    assert made["metadata"]["annotations"][ORDER_ID_ANNOTATION] == content.id
    assert made["spec"]["template"]["metadata"]["labels"][ORDER_LABEL] == order_token(content.id)
    managers = made["metadata"]["managedFields"]
    if REAL_KUBECONFIGS:  # its controllers write the status, and a note of the revision
        managers = [one for one in managers if "f:spec" in one["fieldsV1"]]
    [manager] = managers
    assert (manager["manager"], manager["operation"]) == ("kapok-agent", "Apply")
    namespace = rig.api.get(f"/api/v1/namespaces/{rig.name}")
    assert namespace["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kapok-agent"


PSA = "pod-security.kubernetes.io/enforce"


def test_a_namespace_that_the_agent_made_gets_the_level_of_its_tenant(rig: AgentRig) -> None:
    def level() -> str | None:
        labels = rig.api.get(f"/api/v1/namespaces/{rig.name}")["metadata"]["labels"]
        found: str | None = labels.get(PSA)
        return found

    rig.run(rig.content(config_map(a="1"), pod_security="baseline"))
    assert level() == "baseline"
    rig.run(rig.content(config_map(a="2"), generation=2, pod_security="restricted"))
    assert level() == "restricted"
    rig.run(rig.content(config_map(a="3"), generation=3, pod_security="nonsense"))
    assert level() == "restricted"


def test_a_namespace_of_another_client_keeps_its_labels(rig: AgentRig) -> None:
    path = f"/api/v1/namespaces/{rig.name}"
    tree = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": rig.name}}
    rig.api.apply(path, tree, force=False)
    rig.run(rig.content(config_map(a="1"), pod_security="restricted"))
    assert PSA not in rig.api.get(path)["metadata"].get("labels", {})


def test_a_second_pass_changes_nothing(rig: AgentRig) -> None:
    rig.run(rig.content(config_map(a="1"), deployment(), job()))
    before = written_version(rig.find(DEPLOYMENTS, "web"))
    assert not rig.executor.reconcile()
    assert written_version(rig.find(DEPLOYMENTS, "web")) == before


def test_a_new_generation_changes_what_it_changes_and_drops_what_it_drops(rig: AgentRig) -> None:
    rig.run(rig.content(config_map("one", a="1"), config_map("two")))
    before = rig.find(CONFIG_MAPS, "one")["metadata"]["uid"]
    [status] = rig.run(rig.content(config_map("one", b="2"), generation=2))
    after = rig.find(CONFIG_MAPS, "one")
    assert (after["metadata"]["uid"], after["data"]) == (before, {"b": "2"})
    assert rig.find(CONFIG_MAPS, "two") is None
    assert (status.generation, status.applied_generation, status.phase) == (2, 2, "Ready")


def test_what_the_index_no_longer_lists_is_withdrawn(rig: AgentRig) -> None:
    content = rig.content(config_map(), deployment())
    rig.run(content)
    rig.bound = {content.id: 2}
    assert [s.phase for s in rig.run()] == ["Withdrawing"]
    assert rig.find(DEPLOYMENTS, "web") is None
    assert rig.phases() == ["Withdrawing"], "its pods still hold room"
    rig.bound = {}
    becomes(rig.phases, [])  # a real server deletes its pods meanwhile
    assert rig.journal.created_objects() == {}


def test_an_order_that_left_the_index_never_leaves_the_status_before_it_is_gone(
    rig: AgentRig,
) -> None:
    rig.run(rig.content(config_map()))
    rig.order()
    assert [s.phase for s in rig.executor.order_statuses()] == ["Withdrawing"]


def test_nothing_is_withdrawn_before_an_index_was_heard(rig: AgentRig) -> None:
    rig.run(rig.content(config_map()))
    rig.lose_disk()
    rig.step()
    assert rig.find(CONFIG_MAPS, "settings") is not None
    rig.run()
    assert rig.find(CONFIG_MAPS, "settings") is None, "found again by its label"


def test_what_runs_is_adopted_after_a_lost_disk(rig: AgentRig) -> None:
    content = rig.content(deployment(), config_map())
    rig.run(content)
    before = rig.find(DEPLOYMENTS, "web")["metadata"]
    rig.lose_disk()
    [status] = rig.run(content)
    after = rig.find(DEPLOYMENTS, "web")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert status.applied_generation == 1


def test_what_drifted_is_set_back_and_what_vanished_is_made_again(rig: AgentRig) -> None:
    rig.run(rig.content(deployment(), config_map(a="1")))
    path = f"{DEPLOYMENTS.format(rig.name)}/web"
    tree = rig.api.get(path)
    tree["spec"]["replicas"] = 7
    rig.api.update(path, tree)
    rig.api.delete(f"{CONFIG_MAPS.format(rig.name)}/settings")
    assert rig.executor.reconcile()
    assert rig.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 2
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"a": "1"}


def test_an_object_whose_label_was_taken_off_is_still_ours(rig: AgentRig) -> None:
    rig.run(rig.content(config_map(a="1")))
    path = f"{CONFIG_MAPS.format(rig.name)}/settings"
    tree = rig.api.get(path)
    del tree["metadata"]["labels"]
    rig.api.update(path, tree)
    rig.step()
    assert ORDER_LABEL in rig.find(CONFIG_MAPS, "settings")["metadata"]["labels"]


def test_what_somebody_else_made_is_a_conflict_and_not_touched(rig: AgentRig) -> None:
    rig.run(rig.content(config_map("other")))
    theirs = {**config_map(a="theirs")}
    rig.api.create(CONFIG_MAPS.format(rig.name), theirs)
    [status] = rig.run(rig.content(config_map(a="ours"), generation=2))
    assert status.phase == "Conflict"
    assert "was not created by Kapok; it was not changed" in str(status.message)
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"a": "theirs"}
    assert rig.find(CONFIG_MAPS, "other") is not None, "what is to be replaced stays till then"


@pytest.mark.parametrize("order_id", ["hub/a/b/1", "x" * 2000, ""])
def test_what_only_claims_to_be_ours_is_let_be_and_spoils_no_status(
    rig: AgentRig, order_id: str
) -> None:
    rig.run(rig.content(config_map("own")))
    claim = config_map("claim")
    claim["metadata"] |= {
        "labels": {ORDER_LABEL: "0" * 32},
        "annotations": {ORDER_ID_ANNOTATION: order_id},
    }
    rig.api.create(CONFIG_MAPS.format(rig.name), claim)
    [status] = rig.run(rig.content(config_map("own")))
    assert status.phase == "Ready"
    assert rig.find(CONFIG_MAPS, "claim") is not None


def test_orders_of_different_workloads_are_applied_at_once(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    met, applied = threading.Barrier(3, timeout=60), Applier.apply

    def apply(self: Applier, content: OrderContent, *rest: Any) -> Any:  # noqa: ANN401 - as it is
        met.wait()  # passes only if three orders are here at the same time
        return applied(self, content, *rest)

    monkeypatch.setattr(Applier, "apply", apply)
    names = ["one", "two", "three"]
    statuses = rig.run(
        *(rig.content(config_map(each), id=f"hub/{rig.name}/{each}/1") for each in names)
    )
    assert [status.phase for status in statuses] == ["Ready"] * 3
    assert all(rig.find(CONFIG_MAPS, each) is not None for each in names)


def test_an_order_that_makes_the_namespace_of_another_one_goes_first_as_listed(
    rig: AgentRig,
) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": rig.name}}
    first = rig.content(space, id="hub/n/a/1", cluster_kinds=("Namespace",))
    statuses = rig.run(
        first, *(rig.content(config_map(each), id=f"hub/n/{each}/1") for each in "bcd")
    )
    assert [status.phase for status in statuses] == ["Ready"] * 4


def test_of_two_orders_for_one_object_the_second_is_a_conflict(rig: AgentRig) -> None:
    first, second = rig.content(config_map(a="1")), rig.content(config_map(a="2"), id="hub/x/y/1")
    statuses = {status.id: status for status in rig.run(first, second)}
    assert statuses[first.id].phase == "Ready"
    assert statuses["hub/x/y/1"].phase == "Conflict"
    assert "belongs to another order" in str(statuses["hub/x/y/1"].message)


async def test_a_new_incarnation_waits_until_the_old_one_is_gone(rig: AgentRig) -> None:
    rig.run(rig.content(config_map(a="1")))
    again = rig.content(config_map(a="2"), id=f"hub/{rig.name}/{rig.name}/2")
    statuses = {status.id: status.phase for status in rig.run(again)}
    assert statuses[again.id] == "Applying"
    await rig.clock.advance(2)
    statuses = {status.id: status.phase for status in rig.step()}
    assert statuses == {again.id: "Ready"}
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"a": "2"}


async def test_an_order_that_breaks_the_rules_touches_nothing(rig: AgentRig) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "eA=="},
    }
    [status] = rig.run(rig.content(config_map(), secret))
    assert status.phase == "Refused"
    assert "manifests[1]: Secret s has inline data" in str(status.message)
    assert rig.api.find(f"/api/v1/namespaces/{rig.name}") is None


async def test_a_definition_and_its_objects_come_with_one_order(rig: AgentRig) -> None:
    group = f"{rig.name}.example"
    definition = widget_crd(group)
    name = definition["metadata"]["name"]
    item = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": "small"},
    }
    kinds = ("apiextensions.k8s.io/CustomResourceDefinition",)
    [first] = rig.run(rig.content(definition, item, cluster_kinds=kinds))
    assert f"does not serve {group}/v1/Widget yet; its CustomResource" in str(first.message)
    wait_until(lambda: rig.api.find(f"/apis/{group}/v1") is not None)  # a real server takes a while
    await rig.clock.advance(3)  # less than the kinds are remembered after a kind was not found
    [status] = rig.step()
    assert (status.applied, status.message) == (2, None)
    wait_until(lambda: rig.phases() == ["Ready"])  # once its definition is established
    rig.api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")


async def test_what_others_need_is_applied_before_them_and_ingresses_after(rig: AgentRig) -> None:
    last = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
    }
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}}
    order = ["ServiceAccount", "Role", "ConfigMap", "Service", "Deployment", "Ingress"]
    content = rig.content(last, deployment(), service, config_map(), role, account)
    applied: list[str] = []
    apply = rig.api.apply

    def noted(path: str, tree: Any, **options: Any) -> Any:  # noqa: ANN401 - as the client takes
        applied.append(tree["kind"])
        return apply(path, tree, **options)

    rig.api.apply = noted  # type: ignore[method-assign]
    rig.run(content)
    assert [kind for kind in dict.fromkeys(applied) if kind in order] == order


async def test_a_kind_that_is_not_served_is_named_and_tried_again(rig: AgentRig) -> None:
    widget = {"apiVersion": "kapok.example/v9", "kind": "Widget", "metadata": {"name": "w"}}
    [status] = rig.run(rig.content(widget, config_map()))
    assert status.phase == "Applying"
    assert "does not serve kapok.example/v9/Widget" in str(status.message)
    assert rig.find(CONFIG_MAPS, "settings") is not None


async def test_a_manifest_that_the_api_refuses_is_a_failure_with_its_words(rig: AgentRig) -> None:
    wrong = deployment()
    wrong["spec"]["replicas"] = "two"
    [status] = rig.run(rig.content(wrong))
    assert status.phase == "Failed"
    assert "replicas" in str(status.message)
    [status] = rig.run(rig.content(deployment(), generation=2))
    assert (status.phase, status.applied_generation) == ("Applied", 2)


def test_an_agent_without_the_lease_does_nothing(rig: AgentRig) -> None:
    rig.is_allowed = False
    assert [s.phase for s in rig.run(rig.content(config_map()))] == ["Fetching"]
    assert rig.api.find(f"/api/v1/namespaces/{rig.name}") is None


# ---------------------------------------------------------------- jobs run once


def test_a_finished_job_is_reported_and_not_made_again_when_it_vanishes(rig: AgentRig) -> None:
    content = rig.content(job())
    rig.run(content)
    rig.finish("night")
    [status] = rig.step()
    assert (status.phase, status.finished) == ("Finished", "Succeeded")
    rig.api.delete(f"{JOBS.format(rig.name)}/night")
    assert rig.phases() == ["Finished"]
    assert rig.find(JOBS, "night") is None
    rig.start()
    [status] = rig.step()
    assert (status.phase, status.finished) == ("Finished", "Succeeded"), "after a restart too"


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
def test_a_finished_job_is_not_run_again_because_the_disk_was_lost(
    rig: AgentRig, kind: str
) -> None:
    content = rig.content(job())
    rig.run(content)
    rig.finish("night", kind)
    rig.step()
    rig.api.delete(f"{JOBS.format(rig.name)}/night")
    rig.lose_disk()
    [status] = rig.run(content)
    expected = "Succeeded" if kind == "Complete" else "Failed"
    assert (status.phase, status.finished) == ("Finished", expected)
    assert rig.find(JOBS, "night") is None


def test_a_job_that_its_time_to_live_removed_unseen_is_not_run_again(rig: AgentRig) -> None:
    content = rig.content(job(ttlSecondsAfterFinished=0))
    rig.run(content)
    rig.api.delete(f"{JOBS.format(rig.name)}/night")  # as the TTL controller does
    rig.lose_disk()
    [status] = rig.run(content)
    assert (status.phase, status.finished) == ("Finished", None)
    assert rig.find(JOBS, "night") is None


def test_a_job_that_somebody_deleted_while_it_ran_is_made_again(rig: AgentRig) -> None:
    rig.run(rig.content(job()))
    rig.api.delete(f"{JOBS.format(rig.name)}/night")
    rig.step()
    assert rig.find(JOBS, "night") is not None


def test_a_running_job_is_adopted_not_doubled(rig: AgentRig) -> None:
    content = rig.content(job())
    rig.run(content)
    before = rig.find(JOBS, "night")["metadata"]["uid"]
    rig.lose_disk()
    rig.run(content)
    assert rig.find(JOBS, "night")["metadata"]["uid"] == before


def test_the_marks_of_a_withdrawn_order_are_cleared_away(rig: AgentRig) -> None:
    content = rig.content(job())
    rig.run(content)
    mark = f"/api/v1/namespaces/kapok-system/configmaps/kapok-once-{order_token(content.id)}"
    assert rig.api.find(mark) is not None
    rig.run()
    becomes(rig.phases, [])  # a real server deletes its pods meanwhile
    assert rig.api.find(mark) is None


def test_an_order_on_which_the_agent_fails_keeps_no_other_from_running(
    rig: AgentRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is in a manifest: the fault stays with its order, which is tried again later."""
    apply = Applier.apply

    def fail(self: Applier, content: OrderContent, *more: Any) -> Any:  # noqa: ANN401 - passed on
        if content.id == bad.id:
            raise TypeError("list indices must be integers or slices, not str")
        return apply(self, content, *more)

    monkeypatch.setattr(Applier, "apply", fail)
    bad = rig.content(config_map("bad"), id="hub/a/bad/1")
    good = rig.content(config_map("good"), id="hub/b/good/1")
    statuses = {status.id: status for status in rig.run(bad, good)}
    assert (statuses[bad.id].phase, statuses[good.id].phase) == ("Applying", "Ready")
    assert "failed at this order" in (statuses[bad.id].message or "")
    monkeypatch.undo()
    assert rig.phases() == ["Applying", "Ready"], "it is left alone for a while"


def test_replicas_go_into_a_manifest_whose_spec_is_no_object(rig: AgentRig) -> None:
    broken = {**deployment(), "spec": []}
    content = rig.content(broken, replicas=3, scales="Deployment/web")
    [status] = rig.run(content)
    assert status.phase in ("Failed", "Applying"), "the API says what is wrong, not a traceback"
