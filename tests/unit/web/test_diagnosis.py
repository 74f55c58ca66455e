"""Who may ask sites about a workload over HTTP. A real server on a real socket."""

import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from benchmarks._web_state import WebState
from scheduler.control.ports.diagnosis import (
    DiagnosedLog,
    DiagnosedPod,
    DiagnosisQuery,
    SiteDiagnosis,
)
from scheduler.model.decode import decode
from scheduler.model.kinds.workload import Workload
from scheduler.web.diagnosis import DiagnosisSource
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, fake_reviewer
from tests.support.faults import make_faults

WORKLOAD = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Workload",
    "metadata": {"name": "web", "namespace": "health"},
    "spec": {"demand": {"replicas": 2, "requests": {"cpu": "1"}}},
    "status": {
        "incarnation": "a1",
        "phase": "Running",
        "placement": {"generation": 1, "groups": [{"sites": ["m1", "m2"], "replicas": 1}]},
    },
}
TENANT = {"Authorization": "Bearer tenant"}


class Scene:
    """A server, what its sites are asked, and what they answer."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.asked: list[tuple[str, str, str, DiagnosisQuery]] = []
        self.reviewed: list[tuple[str, str]] = []
        self.root, self.session = "", aiohttp.ClientSession()

    async def ask(
        self, site: str, site_uid: str, order_id: str, query: DiagnosisQuery
    ) -> SiteDiagnosis:
        self.asked.append((site, site_uid, order_id, query))
        pods = (
            DiagnosedPod(name="web-1", phase="Running", reason="CrashLoopBackOff"),
            DiagnosedPod(name="web-2", phase="Running", is_ready=True),
        )
        logs = (DiagnosedLog(pod="web-1", container="c", text="line\n", after="t"),)
        return SiteDiagnosis(site=site, pod_count=2, ready_count=1, pods=pods, logs=logs)

    async def may_read(self, token: str, namespace: str) -> bool:
        self.reviewed.append((token, namespace))
        return (token, namespace) == ("tenant", "health")

    async def post(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        async with self.session.post(self.root + path, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.status == 200 else text


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    one, state = Scene(), WebState(FakeClock())
    workload = decode(WORKLOAD)
    assert isinstance(workload, Workload)

    def nothing(*_: object) -> bytes:
        raise LookupError

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sources = WebSources(
        take_snapshot=state.take_snapshot,
        render_metrics=Metrics().render,
        ledger=LedgerSource(
            find_decision=nothing, read_page=nothing, read_blob=nothing, read_blob_of=nothing
        ),
        readiness_problem=str,
        review_token=fake_reviewer({"reads-all-workloads": [ALL], "tenant": []}),
        clock=one.clock,
        faults=make_faults(one.clock),
        diagnosis=DiagnosisSource(
            find_workload=lambda *key: workload if key == ("health", "web") else None,
            order_id=lambda found: f"hub/{found.metadata.key}/{found.status.incarnation}",
            site_uid=lambda site: f"uid-of-{site}",
            sites=one,
            may_read=one.may_read,
        ),
    )
    async with one.session, serve_web(WebListener(port=port), sources):
        one.root = f"http://127.0.0.1:{port}/api/v1"
        yield one


async def test_the_holder_of_the_right_learns_what_the_sites_say(scene: Scene) -> None:
    status, answer = await scene.post("/status/health/web", **TENANT)
    assert (status, answer["workload"]) == (200, "health/web")
    site = answer["sites"][0]
    assert (site["name"], site["pods"], site["ready"]) == ("m1", 2, 1)
    assert (site["reasons"], site["events"]) == ({"CrashLoopBackOff": 1}, [])
    assert [one[:3] for one in scene.asked] == [
        (name, f"uid-of-{name}", "hub/health/web/a1") for name in ("m1", "m2")
    ]
    body = {"sites": ["m2"], "tailLines": 5, "pod": "web-1"}
    status, answer = await scene.post("/logs/health/web", body, **TENANT)
    assert (status, [one["name"] for one in answer["sites"]]) == (200, ["m2"])
    assert answer["sites"][0]["logs"][0]["text"] == "line\n"
    assert scene.asked[-1][3].tail_lines == 5


@pytest.mark.parametrize("about", ["status", "logs"])
async def test_no_site_is_asked_for_who_has_not_the_right(scene: Scene, about: str) -> None:
    assert (await scene.post(f"/{about}/health/web"))[0] == 401
    # Neither of another namespace, nor for who may read all workloads and no logs.
    for path in (f"/{about}/police/files", f"/{about}/police/nothing"):
        status, text = await scene.post(path, **TENANT)
        assert (status, "workloads.kapok.dev/log in namespace police" in text) == (403, True)
    for token, refused in (("reads-all-workloads", 403), ("guess", 401)):
        headers = {"Authorization": f"Bearer {token}"}
        assert (await scene.post(f"/{about}/health/web", **headers))[0] == refused
    assert scene.asked == []


async def test_a_question_of_many_levels_is_refused(scene: Scene) -> None:
    deep, path = b'{"a":' * 5_000, f"{scene.root}/logs/health/web"
    async with scene.session.post(path, data=deep, headers=TENANT) as answer:
        assert (answer.status, "cannot be read" in await answer.text()) == (400, True)


async def test_a_session_of_the_page_reads_no_logs(scene: Scene) -> None:
    headers = {"Authorization": "Bearer reads-all-workloads"}
    async with scene.session.post(
        scene.root.replace("/api/v1", "/login/codes"), headers=headers
    ) as answer:
        code = (await answer.json())["code"]
    login = scene.root.replace("/api/v1", f"/login?code={code}")
    async with scene.session.get(login) as answer:
        cookie = answer.headers["Set-Cookie"].split(";")[0]
    assert (await scene.post("/logs/health/web", Cookie=cookie))[0] == 401
    assert scene.asked == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"sites": ["m3"]}, 404),
        ({"sites": ["../m1"]}, 400),
        ({"tailLines": 0}, 400),
        ({"tailLines": "many"}, 400),
        ({"pod": "a b"}, 400),
        ({"unknown": 1}, 400),
        ({"pod": "x" * 40_000}, 400),
        (
            {"positions": [{"site": "m1", "pod": "p", "container": "c", "after": "x" * 99}]},
            400,
        ),
    ],
)
async def test_a_wrong_question_is_refused_with_what_to_write(
    scene: Scene, body: object, code: int
) -> None:
    assert (await scene.post("/logs/health/web", body, **TENANT))[0] == code
    assert (await scene.post("/logs/health/none", **TENANT))[0] == 404
    assert scene.asked == []


async def test_a_user_asks_only_so_often(scene: Scene) -> None:
    codes = [(await scene.post("/status/health/web", **TENANT))[0] for _ in range(32)]
    assert codes == [200] * 30 + [429] * 2
    await scene.clock.advance(31)
    assert (await scene.post("/status/health/web", **TENANT))[0] == 200
