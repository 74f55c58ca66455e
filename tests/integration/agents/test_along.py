"""Objects that orders refer to, at a member: before the pods, shared, sealed, not fought for."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from agents.protocol.index import KEPT_AS_IT_IS, IndexEntry
from agents.protocol.orders import OrderContent
from agents.protocol.sealing.box import SealingKey, seal_content
from agents.protocol.status import OrderStatus
from agents.protocol.topics import parse_topic
from tests.support.agent_rig import CONFIG_MAPS, DEPLOYMENTS, AgentRig
from tests.support.wire_hub import packed

SECRETS = "/api/v1/namespaces/{}/secrets"
MARKER = "marker-of-this-test-5b1c"


def config(rig: AgentRig, value: str = "1", **more: Any) -> OrderContent:  # noqa: ANN401 - fields
    tree = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}}
    return along(rig, "configmap:app", tree | {"data": {"k": value}}, **more)


def along(rig: AgentRig, name: str, *trees: Any, **more: Any) -> OrderContent:  # noqa: ANN401 - fields
    order_id = f"hub/{rig.name}/{name}/along"
    return replace(rig.content(*trees), id=order_id, name=name, **more)


def user(rig: AgentRig, name: str, *needs: OrderContent) -> OrderContent:
    labels = {"app": name}
    tree = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "web"}]},
            },
        },
    }
    order_id, ids = f"hub/{rig.name}/{name}/1", tuple(one.id for one in needs)
    return replace(rig.content(tree), id=order_id, name=name, needs=ids)


def secret(rig: AgentRig, key: SealingKey, value: str) -> OrderContent:
    tree = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "data": {"k": base64.b64encode(value.encode()).decode()},
    }
    empty = along(rig, "secret:db")
    box = seal_content(
        json.dumps([tree]).encode(),
        recipient=key.public,
        site=empty.site,
        order_id=empty.id,
        secret=bytes(32),
    )
    return along(rig, "secret:db", sealed=box)


def of(statuses: list[OrderStatus], one: OrderContent) -> OrderStatus:
    return next(status for status in statuses if status.id == one.id)


def test_what_an_order_needs_is_applied_before_it(rig: AgentRig) -> None:
    needed = config(rig)
    web = user(rig, "a-first-by-name", needed)
    statuses = rig.run(web, needed)
    assert of(statuses, needed).phase == "Ready"
    assert of(statuses, web).phase == "Applied"
    found = rig.find(CONFIG_MAPS, "app")
    deployment = rig.find(DEPLOYMENTS, "a-first-by-name")
    assert int(found["metadata"]["resourceVersion"]) < int(
        deployment["metadata"]["resourceVersion"]
    )


def test_an_order_waits_for_content_that_has_not_arrived(rig: AgentRig) -> None:
    needed = config(rig)
    web = user(rig, "web", needed)
    parts = packed(web, needed)
    rig.intake.accept_index(rig.hub.index(1, *parts)[1])
    for name, payload in rig.hub.orders(parts[0]):
        rig.intake.accept_part(parse_topic(name), payload)
    status = of(rig.step(), web)
    assert (status.phase, status.message) == ("Applying", f"waits for configmap {rig.name}/app")
    assert rig.find(DEPLOYMENTS, "web") is None
    for name, payload in rig.hub.orders(parts[1]):
        rig.intake.accept_part(parse_topic(name), payload)
    assert of(rig.step(), web).phase == "Applied"
    rig._sequence = 1  # noqa: SLF001 - an index was accepted beside it


def test_an_object_of_another_owner_is_a_conflict_that_the_order_names(rig: AgentRig) -> None:
    rig.executor._namespaces.ensure(rig.name)  # noqa: SLF001 - where the other owner writes
    path = CONFIG_MAPS.format(rig.name)
    metadata = {"name": "app", "namespace": rig.name}
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "own"}}
    rig.api.create(path, foreign)
    needed = config(rig)
    web = user(rig, "web", needed)
    statuses = rig.run(web, needed)
    assert of(statuses, needed).phase == "Conflict"
    assert "was not created by Kapok" in str(of(statuses, web).message)
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "own"}
    assert rig.find(DEPLOYMENTS, "web") is None
    rig.api.delete(f"{path}/app")
    rig.clock.stand_still(61.0)
    assert of(rig.step(), web).phase == "Applied"


def test_a_shared_object_goes_with_the_last_order_that_lists_it(rig: AgentRig) -> None:
    needed = config(rig)
    one, two = user(rig, "one", needed), user(rig, "two", needed)
    rig.run(one, two, needed)
    rig.run(two, needed)
    assert rig.find(CONFIG_MAPS, "app") is not None
    rig.run(two, config(rig, "2"))
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "2"}
    rig.run()
    assert rig.find(CONFIG_MAPS, "app") is None


def test_an_object_that_is_kept_stays_as_it_is(rig: AgentRig) -> None:
    needed = config(rig)
    web = user(rig, "web", needed)
    rig.run(web, needed)
    (part,) = packed(web)
    rig._sequence += 1  # noqa: SLF001 - an index with an entry of no content
    entries = (part.entry, IndexEntry(id=needed.id, generation=1, digest=KEPT_AS_IT_IS))
    rig.intake.accept_index(rig.hub.index_of(rig._sequence, entries)[1])  # noqa: SLF001
    rig.step()
    assert rig.intake.missing_entries() == ()
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "1"}
    rig.start()  # an agent that knows nothing of before
    assert of(rig.step(), web).phase in ("Applied", "Ready"), "its pods may run by now"
    assert rig.find(CONFIG_MAPS, "app")["data"] == {"k": "1"}


def test_a_sealed_secret_is_applied_and_is_on_no_disk(rig: AgentRig) -> None:
    key = SealingKey.generate()
    rig.executor.sealing_key = key
    needed = secret(rig, key, MARKER)
    web = user(rig, "web", needed)
    statuses = rig.run(web, needed)
    assert (of(statuses, needed).phase, of(statuses, web).phase) == ("Ready", "Applied")
    found = rig.find(SECRETS, "db")["data"]["k"]
    assert base64.b64decode(found).decode() == MARKER
    written = b"".join(path.read_bytes() for path in rig.folder.iterdir())
    assert MARKER.encode() not in written
    assert found.encode() not in written
    assert key.public.encode() in written  # the box is there
    rig.run()
    assert rig.find(SECRETS, "db") is None


def test_a_secret_for_a_lost_key_is_refused_until_it_is_sealed_again(rig: AgentRig) -> None:
    key = SealingKey.generate()
    rig.executor.sealing_key = key
    lost = secret(rig, SealingKey.generate(), MARKER)
    web = user(rig, "web", lost)
    statuses = rig.run(web, lost)
    assert of(statuses, lost).phase == "Refused"
    assert "sealed for another key" in str(of(statuses, web).message)
    assert rig.find(DEPLOYMENTS, "web") is None
    assert of(rig.run(web, secret(rig, key, MARKER)), web).phase == "Applied"


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment"])
def test_only_secrets_are_taken_from_a_box(rig: AgentRig, kind: str) -> None:
    key = SealingKey.generate()
    rig.executor.sealing_key = key
    empty = along(rig, "secret:db")
    version = "v1" if kind == "ConfigMap" else "apps/v1"
    trees = [{"apiVersion": version, "kind": kind, "metadata": {"name": "db"}}]
    box = seal_content(
        json.dumps(trees).encode(),
        recipient=key.public,
        site=empty.site,
        order_id=empty.id,
        secret=bytes(32),
    )
    refused = along(rig, "secret:db", sealed=box)
    status = of(rig.run(refused), refused)
    assert (status.phase, "is no Secret" in str(status.message)) == ("Refused", True)
