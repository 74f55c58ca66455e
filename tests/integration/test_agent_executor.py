"""The agent at a member cluster, through its API: applies, adopts, withdraws, runs jobs once.

On the embedded server; on a real one when KAPOK_TEST_MEMBER_KUBECONFIGS names it.
"""

import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.member.access import AccessError, from_kubeconfig
from agents.member.api import ApiError, MemberApi, Unreachable
from agents.member.discovery import Discovery, discover
from agents.orders.dressing import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.orders.executor import Executor
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.orders.lease import LocalLease
from agents.protocol.keys import TrustedKeys
from agents.protocol.orders import OrderContent
from agents.protocol.status import OrderStatus
from agents.protocol.topics import order_token, parse
from agents.sensors.kubernetes import KubernetesSensor
from agents.sensors.nodes import LabelChoice
from tests.support.fake_clock import FakeClock
from tests.support.member_clusters import REAL, api_servers
from tests.support.wire_hub import Manifest, WireHub, config_map, deployment, job, packed

pytestmark = pytest.mark.integration

CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
JOBS = "/apis/batch/v1/namespaces/{}/jobs"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if REAL:
        yield REAL[0]
        return
    with api_servers(tmp_path_factory.mktemp("member"), "m1") as [path]:
        yield path


@pytest.fixture(scope="module")
def api(kubeconfig: Path) -> Iterator[MemberApi]:
    one = MemberApi(from_kubeconfig(kubeconfig))
    yield one
    one.close()


class Rig:
    """One agent's orders at one member, step by step and without loops."""

    def __init__(self, api: MemberApi, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.clock = FakeClock()
        self.hub = WireHub(site="site-a")
        self.name = f"ka{secrets.token_hex(4)}"
        self.bound: dict[str, int] = {}
        self.is_allowed = True
        self._sequence = 0
        self.start()

    def start(self) -> None:
        """A start of the agent on the disk it has."""
        self.journal = Journal(self.folder / "journal.sqlite")
        self.intake = Intake("site-a", TrustedKeys([self.hub.key.public]), self.journal)
        self.executor = Executor(
            discovery=Discovery(self.api, self.clock),
            intake=self.intake,
            journal=self.journal,
            clock=self.clock,
            jitter=random.Random(1),  # noqa: S311 - jitter
            is_allowed=lambda: self.is_allowed,
            bound=lambda: self.bound,
        )
        self.executor.prepare()

    def lose_disk(self) -> None:
        """A start of the agent on an empty disk."""
        self.journal.close()
        for path in self.folder.iterdir():
            path.unlink()
        self.start()

    def content(self, *manifests: Manifest, **more: Any) -> OrderContent:  # noqa: ANN401 - fields
        return self.hub.content(self.name, *manifests, **more)

    def order(self, *contents: OrderContent) -> None:
        """The hub orders exactly this."""
        self._sequence += 1
        each = packed(*contents)
        self.intake.take_index(self.hub.index(self._sequence, *each)[1])
        for name, payload in self.hub.orders(*each):
            self.intake.take_part(parse(name), payload)

    def run(self, *contents: OrderContent) -> list[OrderStatus]:
        """The hub orders exactly this, and one pass is made."""
        self.order(*contents)
        return self.step()

    def step(self) -> list[OrderStatus]:
        self.executor.run_once()
        return list(self.executor.statuses())

    def phases(self) -> list[str]:
        return [status.phase for status in self.step()]

    def find(self, collection: str, name: str) -> Any:  # noqa: ANN401 - a JSON tree, or None
        return self.api.find(f"{collection.format(self.name)}/{name}")

    def finish(self, name: str, kind: str = "Complete") -> None:
        """Plays the job controller."""
        path = f"{JOBS.format(self.name)}/{name}"
        tree = self.api.get(path)
        moment = "2026-01-01T00:00:00Z"
        also = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        tree["status"] = {
            "startTime": moment,
            "conditions": [
                {"type": each, "status": "True", "lastTransitionTime": moment}
                for each in (also, kind)
            ],
        }
        if kind == "Complete":
            tree["status"] |= {"completionTime": moment, "succeeded": 1}
        self.api.update(f"{path}/status", tree)


@pytest.fixture
def rig(api: MemberApi, tmp_path: Path) -> Iterator[Rig]:
    folder = tmp_path / "agent"
    folder.mkdir()
    one = Rig(api, folder)
    yield one
    one.is_allowed = True
    if one.intake.index:
        one.run()
    one.journal.close()
    api.delete(f"/api/v1/namespaces/{one.name}")


def test_an_order_is_applied_into_a_namespace_of_its_own(rig: Rig) -> None:
    content = rig.content(config_map(a="1"), deployment())
    [status] = rig.run(content)
    made = rig.find(DEPLOYMENTS, "web")
    assert (status.phase, status.applied, status.desired) == ("Applied", 2, 2)
    assert made["metadata"]["labels"] == {ORDER_LABEL: order_token(content.id)}
    assert made["metadata"]["annotations"][ORDER_ID_ANNOTATION] == content.id
    assert made["spec"]["template"]["metadata"]["labels"][ORDER_LABEL] == order_token(content.id)
    [manager] = made["metadata"]["managedFields"]
    assert (manager["manager"], manager["operation"]) == ("kapok-agent", "Apply")
    namespace = rig.api.get(f"/api/v1/namespaces/{rig.name}")
    assert namespace["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kapok-agent"


def test_a_second_pass_changes_nothing(rig: Rig) -> None:
    rig.run(rig.content(config_map(a="1"), deployment(), job()))
    before = rig.find(DEPLOYMENTS, "web")["metadata"]["resourceVersion"]
    assert not rig.executor.run_once()
    assert rig.find(DEPLOYMENTS, "web")["metadata"]["resourceVersion"] == before


def test_a_new_generation_changes_what_it_changes_and_drops_what_it_drops(rig: Rig) -> None:
    rig.run(rig.content(config_map("one", a="1"), config_map("two")))
    before = rig.find(CONFIG_MAPS, "one")["metadata"]["uid"]
    [status] = rig.run(rig.content(config_map("one", b="2"), generation=2))
    after = rig.find(CONFIG_MAPS, "one")
    assert (after["metadata"]["uid"], after["data"]) == (before, {"b": "2"})
    assert rig.find(CONFIG_MAPS, "two") is None
    assert (status.generation, status.applied_generation, status.phase) == (2, 2, "Ready")


def test_what_the_index_no_longer_lists_is_withdrawn(rig: Rig) -> None:
    content = rig.content(config_map(), deployment())
    rig.run(content)
    rig.bound = {content.id: 2}
    assert [s.phase for s in rig.run()] == ["Withdrawing"]
    assert rig.find(DEPLOYMENTS, "web") is None
    assert rig.phases() == ["Withdrawing"], "its pods still hold room"
    rig.bound = {}
    assert rig.phases() == []
    assert rig.journal.made() == {}


def test_an_order_that_left_the_index_never_leaves_the_status_before_it_is_gone(rig: Rig) -> None:
    rig.run(rig.content(config_map()))
    rig.order()
    assert [s.phase for s in rig.executor.statuses()] == ["Withdrawing"]


def test_nothing_is_withdrawn_before_an_index_was_heard(rig: Rig) -> None:
    rig.run(rig.content(config_map()))
    rig.lose_disk()
    rig.step()
    assert rig.find(CONFIG_MAPS, "settings") is not None
    rig.run()
    assert rig.find(CONFIG_MAPS, "settings") is None, "found again by its label"


def test_what_runs_is_adopted_after_a_lost_disk(rig: Rig) -> None:
    content = rig.content(deployment(), config_map())
    rig.run(content)
    before = rig.find(DEPLOYMENTS, "web")["metadata"]
    rig.lose_disk()
    [status] = rig.run(content)
    after = rig.find(DEPLOYMENTS, "web")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert status.applied_generation == 1


def test_what_drifted_is_set_back_and_what_vanished_is_made_again(rig: Rig) -> None:
    rig.run(rig.content(deployment(), config_map(a="1")))
    path = f"{DEPLOYMENTS.format(rig.name)}/web"
    tree = rig.api.get(path)
    tree["spec"]["replicas"] = 7
    rig.api.update(path, tree)
    rig.api.delete(f"{CONFIG_MAPS.format(rig.name)}/settings")
    assert rig.executor.run_once()
    assert rig.find(DEPLOYMENTS, "web")["spec"]["replicas"] == 2
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"a": "1"}


def test_an_object_whose_label_was_taken_off_is_still_ours(rig: Rig) -> None:
    rig.run(rig.content(config_map(a="1")))
    path = f"{CONFIG_MAPS.format(rig.name)}/settings"
    tree = rig.api.get(path)
    del tree["metadata"]["labels"]
    rig.api.update(path, tree)
    rig.step()
    assert ORDER_LABEL in rig.find(CONFIG_MAPS, "settings")["metadata"]["labels"]


def test_what_somebody_else_made_is_a_conflict_and_not_touched(rig: Rig) -> None:
    rig.run(rig.content(config_map("other")))
    theirs = {**config_map(a="theirs")}
    rig.api.create(CONFIG_MAPS.format(rig.name), theirs)
    [status] = rig.run(rig.content(config_map(a="ours"), generation=2))
    assert status.phase == "Conflict"
    assert "not Kapok's; it was not touched" in str(status.message)
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"a": "theirs"}
    assert rig.find(CONFIG_MAPS, "other") is not None, "what is to be replaced stays till then"


def test_of_two_orders_for_one_object_the_second_is_a_conflict(rig: Rig) -> None:
    first, second = rig.content(config_map(a="1")), rig.content(config_map(a="2"), id="hub/x/y/1")
    statuses = {status.id: status for status in rig.run(first, second)}
    assert statuses[first.id].phase == "Ready"
    assert statuses["hub/x/y/1"].phase == "Conflict"
    assert "another order's" in str(statuses["hub/x/y/1"].message)


async def test_a_new_incarnation_waits_until_the_old_one_is_gone(rig: Rig) -> None:
    rig.run(rig.content(config_map(a="1")))
    again = rig.content(config_map(a="2"), id=f"hub/{rig.name}/{rig.name}/2")
    statuses = {status.id: status.phase for status in rig.run(again)}
    assert statuses[again.id] == "Applying"
    await rig.clock.advance(2)
    statuses = {status.id: status.phase for status in rig.step()}
    assert statuses == {again.id: "Ready"}
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"a": "2"}


async def test_an_order_that_breaks_the_rules_touches_nothing(rig: Rig) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "eA=="},
    }
    [status] = rig.run(rig.content(config_map(), secret))
    assert status.phase == "Refused"
    assert "manifests[1]: Secret s carries its data inline" in str(status.message)
    assert rig.api.find(f"/api/v1/namespaces/{rig.name}") is None


async def test_a_kind_that_is_not_served_is_named_and_tried_again(rig: Rig) -> None:
    widget = {"apiVersion": "kapok.example/v9", "kind": "Widget", "metadata": {"name": "w"}}
    [status] = rig.run(rig.content(widget, config_map()))
    assert status.phase == "Applying"
    assert "does not serve kapok.example/v9/Widget" in str(status.message)
    assert rig.find(CONFIG_MAPS, "settings") is not None


async def test_a_manifest_that_the_api_refuses_is_a_failure_with_its_words(rig: Rig) -> None:
    wrong = deployment()
    wrong["spec"]["replicas"] = "two"
    [status] = rig.run(rig.content(wrong))
    assert status.phase == "Failed"
    assert "replicas" in str(status.message)
    [status] = rig.run(rig.content(deployment(), generation=2))
    assert (status.phase, status.applied_generation) == ("Applied", 2)


def test_an_agent_without_the_lease_does_nothing(rig: Rig) -> None:
    rig.is_allowed = False
    assert [s.phase for s in rig.run(rig.content(config_map()))] == ["Fetching"]
    assert rig.api.find(f"/api/v1/namespaces/{rig.name}") is None


# ---------------------------------------------------------------- jobs run once


def test_a_finished_job_is_reported_and_not_made_again_when_it_vanishes(rig: Rig) -> None:
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
def test_a_finished_job_is_not_run_again_because_the_disk_was_lost(rig: Rig, kind: str) -> None:
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


def test_a_job_that_its_time_to_live_removed_unseen_is_not_run_again(rig: Rig) -> None:
    content = rig.content(job(ttlSecondsAfterFinished=0))
    rig.run(content)
    rig.api.delete(f"{JOBS.format(rig.name)}/night")  # as the TTL controller does
    rig.lose_disk()
    [status] = rig.run(content)
    assert (status.phase, status.finished) == ("Finished", None)
    assert rig.find(JOBS, "night") is None


def test_a_job_that_somebody_deleted_while_it_ran_is_made_again(rig: Rig) -> None:
    rig.run(rig.content(job()))
    rig.api.delete(f"{JOBS.format(rig.name)}/night")
    rig.step()
    assert rig.find(JOBS, "night") is not None


def test_a_running_job_is_adopted_not_doubled(rig: Rig) -> None:
    content = rig.content(job())
    rig.run(content)
    before = rig.find(JOBS, "night")["metadata"]["uid"]
    rig.lose_disk()
    rig.run(content)
    assert rig.find(JOBS, "night")["metadata"]["uid"] == before


def test_the_marks_of_a_withdrawn_order_are_cleared_away(rig: Rig) -> None:
    content = rig.content(job())
    rig.run(content)
    mark = f"/api/v1/namespaces/kapok-system/configmaps/kapok-once-{order_token(content.id)}"
    assert rig.api.find(mark) is not None
    rig.run()
    rig.step()
    assert rig.api.find(mark) is None


# ---------------------------------------------------------------- lease, sensor, client


async def test_the_lease_is_taken_over_when_its_holder_falls_silent(rig: Rig) -> None:
    api = rig.api
    rig.executor.prepare()
    one, two = (LocalLease(api, name, 15.0, rig.clock) for name in ("one", "two"))
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


async def test_the_sensor_reports_orders_executor_and_kinds(rig: Rig) -> None:
    content = rig.content(config_map())
    rig.run(content)
    sensor = KubernetesSensor(
        Discovery(rig.api, rig.clock), LabelChoice(), rig.journal.applied, lambda: True
    )
    look = await sensor.look()
    assert look.executor is not None
    assert (look.executor.is_active, look.executor.is_reachable) == (True, True)
    assert {"apps/v1/Deployment", "batch/v1/Job", "v1/ConfigMap"} <= set(look.api_kinds or ())
    [order] = [each for each in look.orders or () if each.id == content.id]
    assert (order.generation, order.bound) == (1, 0)


async def test_a_member_that_does_not_answer_is_a_fault_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG.format(server="http://127.0.0.1:9"))
    clock = FakeClock()
    discovery = Discovery(MemberApi(from_kubeconfig(path)), clock)
    look = await KubernetesSensor(discovery, LabelChoice(), dict, lambda: False).look()
    assert look.faults == ("kubernetes-unreachable",)
    assert look.node_classes is None, "unknown, not empty"
    assert look.executor is not None
    assert not look.executor.is_reachable


def test_lists_come_in_pages_and_kinds_from_both_forms_of_discovery(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.run(rig.content(*(config_map(f"c{n}") for n in range(7))))
    monkeypatch.setattr("agents.member.api.PAGE", 3)
    names = rig.api.fold(CONFIG_MAPS.format(rig.name), None, lambda tree: tree["metadata"]["name"])
    assert {f"c{n}" for n in range(7)} <= set(names)
    monkeypatch.setattr("agents.member.discovery._AGGREGATED", "application/json")
    old = discover(rig.api)
    monkeypatch.undo()
    assert old.by_name == discover(rig.api).by_name


def test_errors_tell_what_the_server_said(rig: Rig) -> None:
    with pytest.raises(ApiError) as caught:
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
        ("current-context: x", "no context named 'x'"),
        (KUBECONFIG.format(server="unix:/x"), r"no http\(s\) address"),
        (KUBECONFIG.format(server="http://h").replace("token: t", "exec: {}"), "uses 'exec'"),
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
