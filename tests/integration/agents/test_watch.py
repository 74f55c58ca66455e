"""Watches of a member's collections: whatever is cut, expired or refused, nothing stays wrong."""

import asyncio
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.member.access import Access
from agents.member.api import MemberApi, MemberApiError
from agents.member.discovery import Discovery
from agents.member.watch import MAX_EVENT_BYTES, Watch, WatchRefused
from agents.sensors.kubernetes import FAULT_WATCH_REFUSED, KubernetesSensor
from agents.sensors.nodes import LabelChoice
from agents.sensors.records import kept_pod_of
from agents.sensors.sensor import Observation
from tests.support.agent_rig import AgentRig
from tests.support.watch_server import WatchServer, line, serving

PATH = "/api/v1/things"
NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/{}/pods"


def number_of(tree: dict[str, Any]) -> tuple[str, Any] | None:
    number = tree["spec"].get("number")
    return None if number is None else (tree["metadata"]["name"], number)


@pytest.fixture
def server() -> Iterator[WatchServer]:
    chance = random.Random(7)  # noqa: S311 - chance of a test
    with serving(WatchServer(chance)) as one:
        yield one


@pytest.fixture
def watch(server: WatchServer) -> Iterator[Watch[tuple[str, Any]]]:
    api = MemberApi(Access(host="127.0.0.1", port=server.port))
    jitter = random.Random(1)  # noqa: S311 - chance of a test
    one = Watch(api=api, path=PATH, read=number_of, jitter=jitter)
    one.start()
    yield one
    one.stop()
    api.close()


def until(is_true: Callable[[], bool]) -> bool:
    """Waits for something that other threads do; at most a minute."""
    pause, tries = threading.Event(), 3000
    while not is_true() and tries:
        tries -= 1
        pause.wait(0.02)
    return is_true()


def known(watch: Watch[tuple[str, Any]]) -> dict[str, Any]:
    try:
        return dict(watch.snapshot(5.0)[0])
    except MemberApiError:
        return {}


def model(server: WatchServer) -> dict[str, Any]:
    return {
        name: tree["spec"]["number"]
        for name, tree in server.objects.items()
        if "number" in tree["spec"]
    }


def test_it_knows_what_the_server_has_however_often_it_is_cut(
    server: WatchServer, watch: Watch[tuple[str, Any]]
) -> None:
    server.cut_ratio, server.expire_ratio = 0.03, 0.2
    chance = random.Random(11)  # noqa: S311 - chance of a test
    assert until(lambda: server.watches > 0)
    for step in range(300):
        if step % 50 == 0:
            assert until(lambda: known(watch) == model(server))
        name = f"thing-{chance.randrange(20)}"
        if name in server.objects and chance.random() < 0.3:
            server.delete(name)
        elif chance.random() < 0.1:
            server.put(name)  # nothing of it is kept
        else:
            server.put(name, number=step)
    assert until(lambda: known(watch) == model(server)), (known(watch), model(server))
    assert server.watches > 3
    assert server.lists < 300


def test_an_expired_watch_begins_with_a_new_list(
    server: WatchServer, watch: Watch[tuple[str, Any]]
) -> None:
    server.put("a", number=1)
    assert until(lambda: known(watch) == {"a": 1})
    server.expire_ratio, server.cut_ratio = 1.0, 1.0
    server.put("b", number=2)
    assert until(lambda: server.lists >= 2)
    server.expire_ratio = server.cut_ratio = 0.0
    assert until(lambda: known(watch) == {"a": 1, "b": 2})


@pytest.mark.parametrize(
    "bad",
    [
        b"no json\n",
        b"[1]\n",
        b'{"type": "ADDED", "object": 5}\n',
        line("ERROR", {"code": 500, "reason": "InternalError"}),
        b'{"type": "ADDED", "object": "' + b"x" * (MAX_EVENT_BYTES + 1) + b'"}\n',
        b"[" * 100_000 + b"\n",
        line("ADDED", {"metadata": {"name": "z", "uid": "not hex"}}),
    ],
)
def test_what_no_server_sends_is_an_error_until_it_ends(
    server: WatchServer, watch: Watch[tuple[str, Any]], bad: bytes
) -> None:
    server.put("a", number=1)
    server.raw_line = bad
    assert until(lambda: server.watches >= 1)
    server.raw_line = b""
    server.put("b", number=2)
    assert until(lambda: known(watch) == {"a": 1, "b": 2})


def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_pause(
    server: WatchServer, watch: Watch[tuple[str, Any]]
) -> None:
    server.is_short = True
    server.put("a", number=1)  # ends a watch that has begun before
    assert until(lambda: server.watches >= 2)
    assert server.watches + server.lists < 30
    assert watch.snapshot(1.0)


def test_a_watch_that_is_refused_says_so(
    server: WatchServer, watch: Watch[tuple[str, Any]]
) -> None:
    server.watch_code = 403
    server.is_short = True
    server.put("a", number=1)
    with pytest.raises(WatchRefused):
        assert until(lambda: not watch.snapshot(1.0))


def test_a_server_that_fails_and_recovers_is_asked_again_at_once(
    server: WatchServer, watch: Watch[tuple[str, Any]]
) -> None:
    server.list_code = 500
    server.expire_ratio = server.cut_ratio = 1.0
    server.put("a", number=1)  # ends a watch that has begun before
    with pytest.raises(MemberApiError):
        assert until(lambda: not watch.snapshot(1.0))
    server.list_code, server.expire_ratio, server.cut_ratio = 200, 0.0, 0.0
    assert until(lambda: known(watch) == {"a": 1})


def test_a_server_that_was_restored_from_a_backup_while_it_was_away_is_listed_again() -> None:
    chance = random.Random(7)  # noqa: S311 - chance of a test
    before, restored = WatchServer(chance), WatchServer(chance)
    with serving(before):
        api = MemberApi(Access(host="127.0.0.1", port=before.port))
        watch = Watch(api=api, path=PATH, read=number_of, jitter=chance)
        watch.start()
        for number in range(5):
            before.put("a", number=number)
        assert until(lambda: known(watch) == {"a": 4})
    assert until(lambda: known(watch) == {})  # the server does not answer
    restored.port = before.port
    restored.put("b", number=1)
    with serving(restored):
        assert until(lambda: known(watch) == {"b": 1})
        restored.put("b", number=2)
        assert until(lambda: known(watch) == {"b": 2})
        watch.stop()
        api.close()


def test_another_reading_is_of_all_objects(
    server: WatchServer, watch: Watch[tuple[str, Any]]
) -> None:
    server.put("a", number=1)
    assert until(lambda: known(watch) == {"a": 1})
    watch.read = lambda tree: (tree["metadata"]["name"], "other")
    watch.list_again()
    assert until(lambda: known(watch) == {"a": "other"})


def pod(number: int, generation: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"p{number}", "uid": f"{number:016x}{generation:016x}"},
        "spec": {
            "nodeName": f"n{number % 10}",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}],
        },
        "status": {"phase": "Running", "message": f"{generation}" * 500},
    }


def churned_bytes(pods: int, rounds: int) -> float:
    """Bytes that the churn of so many pods adds, after a first round."""
    api = MemberApi(Access(host="127.0.0.1", port=1))
    watch = Watch(api=api, path=PATH, read=kept_pod_of)
    for number in range(pods):
        watch._take("ADDED", pod(number, 0))  # noqa: SLF001 - without a server, which costs more
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for generation in range(1, rounds + 1):
        for number in range(pods):
            watch._take("DELETED", pod(number, generation - 1))  # noqa: SLF001 - as above
            watch._take("ADDED", pod(number, generation))  # noqa: SLF001 - as above
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(watch._objects) == pods  # noqa: SLF001 - as above
    return grown


def test_churn_takes_no_memory() -> None:
    # What was allocated before the trace began is not in it, so all that is kept now counts.
    assert churned_bytes(300, 4) < 300 * 500


@pytest.mark.soak
def test_churn_of_100000_pods_takes_no_memory() -> None:
    assert churned_bytes(10_000, 10) < 10_000 * 500


def sensor_of(rig: AgentRig, *, is_watching: bool) -> KubernetesSensor:
    return KubernetesSensor(
        discovery=Discovery(rig.api, rig.clock),
        label_choice=LabelChoice(),
        read_applied_generations=rig.journal.applied_generations,
        is_active=lambda: True,
        is_watching=is_watching,
    )


def node(name: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


@pytest.mark.timeout(300)  # a real server on a busy machine takes minutes
async def test_it_reports_the_same_as_a_list(rig: AgentRig) -> None:
    api, pods = rig.api, PODS.format(rig.name)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": rig.name}}
    api.create("/api/v1/namespaces", namespace)
    names = [f"{rig.name}-{number}" for number in range(3)]
    watching, polling = (sensor_of(rig, is_watching=each) for each in (True, False))

    async def is_same() -> bool:
        one, other = await watching.observe(), await polling.observe()
        return one.node_classes is not None and one == other

    async def becomes_same() -> bool:
        async with asyncio.timeout(60):
            while not await is_same():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)  # noqa: TID251 - it is waited for
        return True

    try:
        for name in names:
            api.create(NODES, node(name))
            tree = {"apiVersion": "v1", "kind": "Pod", **pod(1, 0), "metadata": {"name": name}}
            tree["spec"]["nodeName"] = name
            tree["spec"]["containers"][0]["image"] = "registry.example/app"
            api.create(pods, tree)
            assert await becomes_same()
        cordoned = api.get(f"{NODES}/{names[0]}")
        cordoned["spec"]["unschedulable"] = True
        api.update(f"{NODES}/{names[0]}", cordoned)
        api.delete(f"{pods}/{names[1]}")
        assert await becomes_same()
        watching.asked_labels = polling.asked_labels = lambda: ("kubernetes.io/hostname",)
        assert await becomes_same()
        found: Observation = await watching.observe()
        assert FAULT_WATCH_REFUSED not in (found.faults or ())
    finally:
        watching.close()
        for name in names:
            api.delete(f"{NODES}/{name}")
