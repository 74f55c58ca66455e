"""From what is desired and what is seen to what must be done, and what is said of it."""

from typing import Any

import pytest

from agents.orders.applier import Applied
from agents.orders.inventory import Seen, View
from agents.orders.labels import dressed, is_controlled, key_of
from agents.orders.plan import Held, must_apply, status_of, surplus
from agents.orders.readiness import Standing, standing
from agents.protocol.index import IndexEntry
from agents.protocol.orders import OrderContent
from agents.protocol.topics import order_token
from tests.support.wire_hub import Manifest, WireHub, config_map, deployment

HUB = WireHub()


def seen(content: OrderContent, manifest: Manifest, **more: Any) -> Seen:  # noqa: ANN401 - fields
    tree = dressed(content, manifest, is_namespaced=True)
    words: dict[str, Any] = {
        "key": key_of(tree),
        "uid": "u1",
        "mark": "g1",
        "token": order_token(content.id),
        "order_id": content.id,
        "is_leaving": False,
        "standing": standing(tree),
    }
    return Seen(**(words | more))


def view(*objects: Seen) -> View:
    visible = frozenset({("apps", "Deployment"), ("", "ConfigMap")})
    return View({(*o.key.group_kind, o.key.namespace, o.key.name): o for o in objects}, visible)


CONTENT = HUB.content("health", deployment())
WEB = seen(CONTENT, deployment())
NAME = ("apps", "Deployment", "health", "web")
ENTRY = IndexEntry(id=CONTENT.id, generation=1, digest="sha256:1")


def held(**more: Any) -> Held:  # noqa: ANN401 - fields
    applied = Applied(marks={NAME: ("u1", "g1")}, standings={NAME: WEB.standing})
    words: dict[str, Any] = {"digest": "sha256:1", "generation": 1, "objects": 1}
    return Held(**(words | {"applied": applied} | more))


def test_what_is_as_it_was_applied_is_let_be() -> None:
    assert not must_apply(held(), ENTRY, view(WEB), now=0)


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [seen(CONTENT, deployment(), mark="g2")],
        [seen(CONTENT, deployment(), uid="u2")],
    ],
    ids=["gone", "changed", "remade"],
)
def test_what_drifted_is_applied_again(objects: list[Seen]) -> None:
    assert must_apply(held(), ENTRY, view(*objects), now=0)


def test_what_is_new_or_of_another_generation_is_applied() -> None:
    assert must_apply(None, ENTRY, view(), now=0)
    assert must_apply(held(digest="sha256:0"), ENTRY, view(WEB), now=0)


def test_what_failed_is_tried_again_at_its_time() -> None:
    failed = held(retry_at=10.0)
    assert not must_apply(failed, ENTRY, view(), now=9)
    assert must_apply(failed, ENTRY, view(), now=10)


def test_of_a_kind_that_could_not_be_listed_nothing_is_concluded() -> None:
    assert not must_apply(held(), ENTRY, View({}, frozenset()), now=0)


def test_what_no_index_lists_is_surplus() -> None:
    token = order_token(CONTENT.id)
    assert surplus(view(WEB), {}, frozenset()) == [WEB]
    assert surplus(view(WEB), {token: held()}, frozenset({token})) == []
    assert surplus(view(WEB), {}, frozenset({token})) == [], "not applied by us yet"


def test_what_a_newer_generation_dropped_is_surplus_only_once_that_is_whole() -> None:
    token = order_token(CONTENT.id)
    old = seen(CONTENT, config_map("old"))
    whole, partly = held(), held()
    partly.applied.errors.append("no room")
    assert surplus(view(WEB, old), {token: whole}, frozenset({token})) == [old]
    assert surplus(view(WEB, old), {token: partly}, frozenset({token})) == []


def test_what_we_did_not_make_is_never_surplus() -> None:
    labelled = seen(CONTENT, deployment(), order_id=None)  # as Endpoints copy a Service's labels
    leaving = seen(CONTENT, deployment(), is_leaving=True)
    assert surplus(view(labelled), {}, frozenset()) == []
    assert surplus(view(leaving), {}, frozenset()) == []
    owners = [{"kind": "Deployment", "name": "web", "controller": True}]
    assert is_controlled({"metadata": {"ownerReferences": owners}})
    assert not is_controlled(deployment())


def phase(order: Held | None, **more: Any) -> str:  # noqa: ANN401 - fields
    words = {"bound": None, "applied_generation": None} | more
    return status_of(ENTRY, order, **words).phase


def applied(*standings: Standing, **more: Any) -> Held:  # noqa: ANN401 - fields
    names = {("", "X", "", str(n)): each for n, each in enumerate(standings)}
    marks = dict.fromkeys(names, ("u", "g"))
    return held(applied=Applied(marks=marks, standings=names, **more))


UP = Standing(is_ready=True, desired=1, ready=1)
DOWN = Standing(is_ready=False, desired=1, ready=0)
PLAIN = Standing(is_ready=True)
DONE = Standing(is_ready=False, desired=0, finished="Succeeded")
LOST = Standing(is_ready=False, desired=0, finished="Failed")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, "Fetching"),
        (held(digest="sha256:0"), "Fetching"),
        (held(refusals=("no",)), "Refused"),
        (applied(UP, conflicts=["x"]), "Conflict"),
        (applied(UP, errors=["x"]), "Applying"),
        (applied(UP, errors=["x"], may_pass=False), "Failed"),
        (applied(UP, DOWN), "Applied"),
        (applied(UP, PLAIN), "Ready"),
        (applied(DONE, PLAIN), "Finished"),
        (applied(DONE, UP), "Ready"),
        (applied(DONE, DOWN), "Applied"),
        (applied(ended={NAME}), "Finished"),
    ],
    ids=str,
)
def test_the_phase_of_an_order(order: Held | None, expected: str) -> None:
    assert phase(order) == expected


def test_jobs_together_end_well_only_if_all_did() -> None:
    both = status_of(ENTRY, applied(DONE, LOST), bound=0, applied_generation=1)
    unseen = status_of(ENTRY, applied(ended={NAME}), bound=0, applied_generation=1)
    assert (both.phase, both.finished) == ("Finished", "Failed")
    assert (unseen.phase, unseen.finished) == ("Finished", None), "nobody saw how"


def test_a_status_adds_up_its_objects() -> None:
    words = status_of(ENTRY, applied(UP, DOWN, PLAIN), bound=2, applied_generation=1)
    assert (words.desired, words.ready, words.bound, words.applied) == (2, 1, 2, 3)
