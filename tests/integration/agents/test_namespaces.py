"""A namespace goes with the last workload that needed it, and never with what others made in it."""

import asyncio
import threading
from typing import Any

import pytest

from agents.member.api import MemberApi, MemberApiError
from agents.protocol.orders import OrderContent
from tests.support.agent_rig import CONFIG_MAPS, AgentRig
from tests.support.member_clusters import REAL_KUBECONFIGS
from tests.support.wire_hub import Manifest, config_map

pytestmark = pytest.mark.integration

SPACES = "/api/v1/namespaces"


def space(rig: AgentRig, name: str = "") -> Any:  # noqa: ANN401 - a JSON tree, or None
    return rig.api.find(f"{SPACES}/{name or rig.name}")


def is_there(rig: AgentRig, name: str = "") -> bool:
    found = space(rig, name)
    return found is not None and not found["metadata"].get("deletionTimestamp")


def wait(rig: AgentRig, seconds: float = 20.0) -> None:
    """Two looks, some time apart."""
    rig.step()
    asyncio.run(rig.clock.advance(seconds))
    rig.step()


def in_other(name: str, **more: Any) -> Manifest:  # noqa: ANN401 - fields
    tree = config_map()
    return {**tree, "metadata": {**tree["metadata"], "namespace": name}, **more}


def order_of(rig: AgentRig, name: str, *manifests: Manifest, **more: Any) -> OrderContent:  # noqa: ANN401 - fields
    return rig.content(*manifests, id=f"hub/{rig.name}/{name}/1", **more)


def test_it_goes_with_the_last_workload_that_needed_it(rig: AgentRig) -> None:
    first, second = (order_of(rig, one, config_map(one)) for one in ("one", "two"))
    rig.run(first, second)
    rig.run(second)
    wait(rig, 400)
    assert is_there(rig)
    rig.run()
    rig.step()
    assert is_there(rig), "one look is not enough"
    wait(rig)
    assert not is_there(rig)


def test_an_object_of_others_keeps_it_until_that_is_gone(rig: AgentRig) -> None:
    rig.run(rig.content(config_map()))
    rig.api.create(CONFIG_MAPS.format(rig.name), config_map(name="theirs"))
    rig.run()
    wait(rig)
    wait(rig, 400)
    assert is_there(rig)
    rig.api.delete(f"{CONFIG_MAPS.format(rig.name)}/theirs")
    asyncio.run(rig.clock.advance(400))
    wait(rig)
    assert not is_there(rig)


def test_one_made_by_hand_before_stays(rig: AgentRig) -> None:
    name = f"{rig.name}-hand"
    labels = {"app.kubernetes.io/managed-by": "kapok-agent"}  # even with our label
    rig.api.create(SPACES, {"metadata": {"name": f"{name}2", "labels": labels}})
    rig.api.create(SPACES, {"metadata": {"name": name}})
    made = rig.api.get(f"{SPACES}/{name}2")
    made["metadata"]["managedFields"] = [{}]  # nobody's, as kubectl --validate writes it
    rig.api.update(f"{SPACES}/{name}2", made)
    spaces = (name, f"{name}2")
    rig.run(rig.content(*(in_other(one) for one in spaces), namespaces=spaces))
    rig.run()
    wait(rig)
    wait(rig, 400)
    assert not is_there(rig)
    assert [is_there(rig, one) for one in spaces] == [True, True]
    for one in spaces:
        rig.api.delete(f"{SPACES}/{one}")


def test_what_cannot_be_listed_may_be_in_it(rig: AgentRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.run(rig.content(config_map()))
    real = MemberApi.list_mapped

    def refuse(self: MemberApi, path: str, *more: Any, **words: Any) -> Any:  # noqa: ANN401 - passed on
        if path.endswith("/secrets"):
            raise MemberApiError(403, "Forbidden", "secrets is forbidden")
        return real(self, path, *more, **words)

    monkeypatch.setattr(MemberApi, "list_mapped", refuse)
    rig.run()
    wait(rig)
    wait(rig, 400)
    assert is_there(rig)
    monkeypatch.undo()
    asyncio.run(rig.clock.advance(400))
    wait(rig)
    assert not is_there(rig)


def test_each_namespace_of_an_order_is_needed(rig: AgentRig) -> None:
    rig.run(order_of(rig, "one", config_map("one")))
    other = order_of(rig, "two", in_other(f"{rig.name}-b"), namespaces=(f"{rig.name}-b",))
    rig.run(other)
    asyncio.run(rig.clock.advance(400))
    wait(rig)
    assert is_there(rig), "the order's own namespace"
    assert is_there(rig, f"{rig.name}-b")
    rig.run()
    wait(rig)
    assert [is_there(rig), is_there(rig, f"{rig.name}-b")] == [False, False]


def test_a_workload_that_comes_back_finds_or_makes_it(rig: AgentRig) -> None:
    rig.run(rig.content(config_map()))
    rig.run()
    wait(rig)
    [status] = rig.run(rig.content(config_map(), generation=2))
    for _ in range(50):  # the deletion of the namespace may go on
        if status.phase == "Ready":
            break
        if REAL_KUBECONFIGS:
            threading.Event().wait(0.5)  # a controller empties it, by the real clock
        asyncio.run(rig.clock.advance(70))
        [status] = rig.step()
    assert status.phase == "Ready"


def test_a_namespace_of_a_manifest_stays_for_what_others_made_in_it(rig: AgentRig) -> None:
    name = f"{rig.name}-shared"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    words: dict[str, Any] = {"cluster_kinds": ("Namespace",), "namespaces": (name,)}
    rig.run(rig.content(manifest, in_other(name), **words))
    rig.api.create(CONFIG_MAPS.format(name), config_map(name="theirs"))
    rig.run()
    assert rig.phases() == []
    assert is_there(rig, name)
    rig.api.delete(f"{CONFIG_MAPS.format(name)}/theirs")
    rig.step()
    assert not is_there(rig, name)
