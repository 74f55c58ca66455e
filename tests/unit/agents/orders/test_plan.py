"""From what is desired and what is seen to what must be done, and what is said of it."""

from typing import Any

import pytest

from agents.orders.applier import ApplyResult
from agents.orders.inventory import MemberInventory, ObservedObject
from agents.orders.labels import is_controlled, object_key_of, with_ownership_labels
from agents.orders.plan import TrackedOrder, find_surplus, needs_apply, order_status_of
from agents.orders.readiness import Readiness, readiness_of
from agents.protocol.index import IndexEntry
from agents.protocol.orders import OrderContent
from agents.protocol.topics import order_token
from tests.support.wire_hub import Manifest, WireHub, config_map, deployment

HUB = WireHub()


def seen(content: OrderContent, manifest: Manifest, **more: Any) -> ObservedObject:  # noqa: ANN401 - fields
    tree = with_ownership_labels(content, manifest, is_namespaced=True)
    words: dict[str, Any] = {
        "key": object_key_of(tree),
        "uid": "u1",
        "revision": "g1",
        "token": order_token(content.id),
        "order_id": content.id,
        "is_terminating": False,
        "readiness": readiness_of(tree),
    }
    return ObservedObject(**(words | more))


def view(*objects: ObservedObject) -> MemberInventory:
    visible = frozenset({("apps", "Deployment"), ("", "ConfigMap")})
    return MemberInventory(
        {(*o.key.group_kind, o.key.namespace, o.key.name): o for o in objects}, visible
    )


CONTENT = HUB.content("health", deployment())
WEB = seen(CONTENT, deployment())
NAME = ("apps", "Deployment", "health", "web")
ENTRY = IndexEntry(id=CONTENT.id, generation=1, digest="sha256:1")


def held(**more: Any) -> TrackedOrder:  # noqa: ANN401 - fields
    applied = ApplyResult(
        applied_revisions={NAME: ("u1", "g1")}, readiness_by_object={NAME: WEB.readiness}
    )
    words: dict[str, Any] = {"digest": "sha256:1", "generation": 1, "object_count": 1}
    return TrackedOrder(**(words | {"result": applied} | more))


def test_what_is_as_it_was_applied_is_let_be() -> None:
    assert not needs_apply(held(), ENTRY, view(WEB), now=0)


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [seen(CONTENT, deployment(), revision="g2")],
        [seen(CONTENT, deployment(), uid="u2")],
    ],
    ids=["gone", "changed", "remade"],
)
def test_what_drifted_is_applied_again(objects: list[ObservedObject]) -> None:
    assert needs_apply(held(), ENTRY, view(*objects), now=0)


def test_what_is_new_or_of_another_generation_is_applied() -> None:
    assert needs_apply(None, ENTRY, view(), now=0)
    assert needs_apply(held(digest="sha256:0"), ENTRY, view(WEB), now=0)


def test_what_failed_is_tried_again_at_its_time() -> None:
    failed = held(retry_at=10.0)
    assert not needs_apply(failed, ENTRY, view(), now=9)
    assert needs_apply(failed, ENTRY, view(), now=10)


def test_of_a_kind_that_could_not_be_listed_nothing_is_concluded() -> None:
    assert not needs_apply(held(), ENTRY, MemberInventory({}, frozenset()), now=0)


def test_what_no_index_lists_is_surplus() -> None:
    token = order_token(CONTENT.id)
    assert find_surplus(view(WEB), {}, frozenset()) == [WEB]
    assert find_surplus(view(WEB), {token: held()}, frozenset({token})) == []
    assert find_surplus(view(WEB), {}, frozenset({token})) == [], "not applied by us yet"


def test_what_a_newer_generation_dropped_is_surplus_only_once_that_is_whole() -> None:
    token = order_token(CONTENT.id)
    old = seen(CONTENT, config_map("old"))
    whole, partly = held(), held()
    partly.result.errors.append("no room")
    assert find_surplus(view(WEB, old), {token: whole}, frozenset({token})) == [old]
    assert find_surplus(view(WEB, old), {token: partly}, frozenset({token})) == []


def test_what_we_did_not_make_is_never_surplus() -> None:
    labelled = seen(CONTENT, deployment(), order_id=None)  # as Endpoints copy a Service's labels
    leaving = seen(CONTENT, deployment(), is_terminating=True)
    assert find_surplus(view(labelled), {}, frozenset()) == []
    assert find_surplus(view(leaving), {}, frozenset()) == []
    owners = [{"kind": "Deployment", "name": "web", "controller": True}]
    assert is_controlled({"metadata": {"ownerReferences": owners}})
    assert not is_controlled(deployment())


def phase(order: TrackedOrder | None, **more: Any) -> str:  # noqa: ANN401 - fields
    words = {"bound_pods": None, "applied_generation": None} | more
    return order_status_of(ENTRY, order, **words).phase


def applied(*standings: Readiness, **more: Any) -> TrackedOrder:  # noqa: ANN401 - fields
    names = {("", "X", "", str(n)): each for n, each in enumerate(standings)}
    marks = dict.fromkeys(names, ("u", "g"))
    return held(result=ApplyResult(applied_revisions=marks, readiness_by_object=names, **more))


UP = Readiness(is_ready=True, desired=1, ready=1)
DOWN = Readiness(is_ready=False, desired=1, ready=0)
PLAIN = Readiness(is_ready=True)
DONE = Readiness(is_ready=False, desired=0, finished="Succeeded")
LOST = Readiness(is_ready=False, desired=0, finished="Failed")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, "Fetching"),
        (held(digest="sha256:0"), "Fetching"),
        (held(refusals=("no",)), "Refused"),
        (applied(UP, conflicts=["x"]), "Conflict"),
        (applied(UP, errors=["x"]), "Applying"),
        (applied(UP, errors=["x"], is_retryable=False), "Failed"),
        (applied(UP, DOWN), "Applied"),
        (applied(UP, PLAIN), "Ready"),
        (applied(DONE, PLAIN), "Finished"),
        (applied(DONE, UP), "Ready"),
        (applied(DONE, DOWN), "Applied"),
        (applied(finished_jobs={NAME}), "Finished"),
    ],
    ids=str,
)
def test_the_phase_of_an_order(order: TrackedOrder | None, expected: str) -> None:
    assert phase(order) == expected


def test_jobs_together_end_well_only_if_all_did() -> None:
    both = order_status_of(ENTRY, applied(DONE, LOST), bound_pods=0, applied_generation=1)
    unseen = order_status_of(
        ENTRY, applied(finished_jobs={NAME}), bound_pods=0, applied_generation=1
    )
    assert (both.phase, both.finished) == ("Finished", "Failed")
    assert (unseen.phase, unseen.finished) == ("Finished", None), "the agent did not see how"


def test_a_status_adds_up_its_objects() -> None:
    words = order_status_of(ENTRY, applied(UP, DOWN, PLAIN), bound_pods=2, applied_generation=1)
    assert (words.desired, words.ready, words.bound, words.applied) == (2, 1, 2, 3)


@pytest.mark.parametrize(
    ("counts", "ready"), [((-5, 3), 3), ((2**31 - 1, 2**31 - 1), 2**31 - 1), ((-1,), None)]
)
def test_no_count_of_a_member_makes_a_status_that_the_hub_refuses(
    counts: tuple[int, ...], ready: int | None
) -> None:
    result = ApplyResult(
        readiness_by_object={
            ("apps", "Deployment", "a", str(at)): Readiness(
                is_ready=False, desired=count, ready=count
            )
            for at, count in enumerate(counts)
        }
    )
    status = order_status_of(ENTRY, held(result=result), bound_pods=None, applied_generation=None)
    assert (status.desired, status.ready) == (ready, ready)
