"""The HTTP API is what its OpenAPI document says: routes, answers and refusals of a real server."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks._web_state import WebState
from scheduler.control.ports.diagnosis import (
    DiagnosedEvent,
    DiagnosedLog,
    DiagnosedPod,
    DiagnosisQuery,
    SiteDiagnosis,
)
from scheduler.ledger.pages import read_blob, read_blob_of, read_page
from scheduler.ledger.reader import decision_json
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.web.diagnosis import DiagnosisSource
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, _Handlers, serve_web
from scheduler.web.whatif import WhatIfSource
from tests.integration.cli.test_replay import demand, record
from tests.support.api_fuzz import ApiRequest, check_answer, requests_of
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, fake_reviewer
from tests.support.faults import make_faults
from tests.support.ports import free_port

pytestmark = pytest.mark.integration
OF_PROGRAMS = ("/api/", "/metrics", "/healthz", "/readyz", "/login/codes", "/openapi.json")


class AnsweringSites:
    """Sites that answer each question."""

    async def ask(self, site: str, _uid: str, _order: str, query: DiagnosisQuery) -> SiteDiagnosis:
        pods = (DiagnosedPod(name="web-1", phase="Running", reason="CrashLoopBackOff"),)
        events = (DiagnosedEvent(about="Pod/web-1", kind="Warning", reason="BackOff"),)
        logs = (DiagnosedLog(pod="web-1", container=query.container or "c", text="line\n"),)
        return SiteDiagnosis(
            site=site, pod_count=1, ready_count=0, pods=pods, events=events, logs=logs
        )


async def answer_at_once(_question: object) -> AsyncGenerator[bytes, None]:
    """A what-if of nothing."""
    yield b'{"answer": {}}\n'


@dataclass
class Api:
    """A running server and its document."""

    root: str
    sources: WebSources
    session: aiohttp.ClientSession
    document: dict[str, Any]
    clock: FakeClock


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    await record(tmp_path, demand())
    clock = FakeClock()
    scene = WebState(clock)
    scene.admit(3)
    scene.report_all()
    scene.place(5)
    scene.refuse(2)

    async def may_read(token: str, _namespace: str) -> bool:
        return token == "good"  # noqa: S105 - a test's

    file, port = tmp_path / LEDGER_FILE, free_port()
    workloads = scene.sources.registry.workloads
    sources = WebSources(
        take_snapshot=scene.take_snapshot,
        render_metrics=Metrics().render,
        ledger=LedgerSource(
            find_decision=partial(decision_json, file),
            read_page=partial(read_page, file),
            read_blob=partial(read_blob, file),
            read_blob_of=partial(read_blob_of, file),
        ),
        readiness_problem=str,
        review_token=fake_reviewer({"good": [ALL], "health": ["health"]}),
        clock=clock,
        faults=make_faults(clock),
        diagnosis=DiagnosisSource(
            find_workload=lambda *key: workloads.get(key),
            order_id=lambda found: f"hub/{found.metadata.key}",
            site_uid=lambda site: f"uid-of-{site}",
            sites=AnsweringSites(),
            may_read=may_read,
        ),
        whatif=WhatIfSource(ask=answer_at_once),
    )
    async with (
        serve_web(WebListener(port=port), sources),
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        root = f"http://127.0.0.1:{port}"
        async with session.get(f"{root}/openapi.json") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            yield Api(root, sources, session, await answer.json(), clock)


async def test_the_document_has_the_routes_of_the_server_and_no_others(api: Api) -> None:
    app = _Handlers(WebListener(port=1), api.sources).app()
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource and route.resource.canonical.startswith(OF_PROGRAMS)
    }
    documented = {(how, path) for path, each in api.document["paths"].items() for how in each}
    assert {one for one in served if one[0] != "head"} == documented


ONE_WORKLOAD = "/api/v1/workloads/{namespace}/{name}"
NOT_HERE = {
    *(("get", f"{ONE_WORKLOAD}/{what}") for what in ("why", "changes", "history", "events")),
    *(("get", path) for path in ("/api/v1/spend", "/api/v1/fits", "/api/v1/losses/{site}")),
    ("post", "/api/v1/whatif"),
    ("get", "/api/v1/live"),
}
"""This server has no engine, and what streams is not asked here; their own tests ask them."""
GOOD_REQUESTS = [
    ApiRequest("get", "/api/v1/sites", "/api/v1/sites"),
    ApiRequest("get", "/api/v1/workloads", "/api/v1/workloads", [("limit", "2"), ("search", "w")]),
    ApiRequest("get", "/api/v1/evictions", "/api/v1/evictions"),
    ApiRequest("get", "/api/v1/decisions/{id}", "/api/v1/decisions/3-1"),
    ApiRequest("get", "/api/v1/ledger/records", "/api/v1/ledger/records", [("last", "1")]),
    ApiRequest(
        "post",
        "/api/v1/status/{namespace}/{name}",
        "/api/v1/status/default/work-00001",
        body=b'{"sites": []}',
    ),
    ApiRequest("post", "/api/v1/logs/{namespace}/{name}", "/api/v1/logs/default/work-00001"),
    ApiRequest("get", "/api/v1/links", "/api/v1/links", [("site", "site-00001")]),
    ApiRequest("get", "/api/v1/workloads/table", "/api/v1/workloads/table", [("limit", "2")]),
    ApiRequest("get", ONE_WORKLOAD, "/api/v1/workloads/default/work-00001"),
    ApiRequest("get", f"{ONE_WORKLOAD}/whatif", "/api/v1/workloads/default/work-00001/whatif"),
    ApiRequest("get", "/api/v1/queue", "/api/v1/queue"),
    ApiRequest("get", "/api/v1/tenants", "/api/v1/tenants"),
    ApiRequest("get", "/api/v1/whatif", "/api/v1/whatif", [("scenario", "drain site-00001")]),
    ApiRequest("get", "/api/v1/capacity", "/api/v1/capacity", [("cpu", "8")]),
    ApiRequest("get", "/api/v1/words/{language}", "/api/v1/words/zh"),
    ApiRequest("get", "/api/v1/words/{language}/said", "/api/v1/words/zh/said", [("text", "full")]),
    ApiRequest("post", "/login/codes", "/login/codes"),
    ApiRequest("get", "/metrics", "/metrics", token=None),
    ApiRequest("get", "/healthz", "/healthz", token=None),
    ApiRequest("get", "/readyz", "/readyz", token=None),
    ApiRequest("get", "/openapi.json", "/openapi.json", token=None),
]


async def test_a_good_request_to_each_path_is_answered_as_documented(api: Api) -> None:
    for request in GOOD_REQUESTS:
        status = await check_answer(api.session, api.root, api.document, request)
        assert status in (200, 201), request
    page = json.loads(await asyncio.to_thread(api.sources.ledger.read_page, {"last": "1"}))
    [digest, *_] = json.loads(page["records"][0]["body"])["refs"]
    template = "/api/v1/ledger/blobs/{digest}"
    found = ApiRequest("get", template, f"/api/v1/ledger/blobs/{digest}")
    assert await check_answer(api.session, api.root, api.document, found) == 200
    missing = ApiRequest("get", template, "/api/v1/ledger/blobs/sha256:0")
    assert await check_answer(api.session, api.root, api.document, missing) == 404
    tried = {(one.method, one.template) for one in [*GOOD_REQUESTS, found]}
    documented = {(how, path) for path, each in api.document["paths"].items() for how in each}
    assert documented - tried == NOT_HERE


async def test_the_endless_answer_begins_with_a_document(api: Api) -> None:
    headers = {"Authorization": "Bearer good"}
    async with api.session.get(f"{api.root}/api/v1/live", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        line = await answer.content.readline()
    assert isinstance(json.loads(line.removeprefix(b"data: ")), dict)


async def fuzz(api: Api, examples: int) -> Counter[int]:
    """Sends that many requests; returns how often each status was answered."""
    loop, statuses = asyncio.get_running_loop(), Counter[int]()

    @settings(max_examples=examples, deadline=None)
    @given(st.data())
    def send(data: st.DataObject) -> None:
        request = data.draw(requests_of(api.document))
        work = check_answer(api.session, api.root, api.document, request)
        statuses[asyncio.run_coroutine_threadsafe(work, loop).result(20)] += 1

    await asyncio.to_thread(send)
    return statuses


async def test_whatever_is_asked_the_answer_is_one_of_the_document(api: Api) -> None:
    statuses = await fuzz(api, 200)
    assert statuses[200]
    assert statuses[401]
    assert not statuses[500]


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_many_requests_find_nothing(api: Api) -> None:
    statuses = await fuzz(api, 5_000)
    sys.stdout.write(json.dumps({"soak": "openapi", "requests": statuses.total()}) + "\n")
    assert not statuses[500]


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_schemathesis_finds_nothing(api: Api, tmp_path: Path) -> None:
    """With schemathesis on the PATH, which is not in the lock: it brings 26 packages."""
    tool = shutil.which("schemathesis")
    if tool is None:
        pytest.skip("schemathesis is not on the PATH")
    command = [
        *(tool, "run", f"{api.root}/openapi.json"),
        *("--header", "Authorization: Bearer good", "--max-examples", "200"),
        *("--exclude-path", "/api/v1/live", "--phases", "examples,coverage,fuzzing"),
        # How fast it makes objects of nested kinds says nothing of the API.
        *("--suppress-health-check", "too_slow"),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ, cwd=tmp_path
    )
    async with asyncio.TaskGroup() as group:
        time = group.create_task(pass_time(api.clock))  # else the pace of questions ends them all
        out, _ = await process.communicate()
        time.cancel()
    assert process.returncode == 0, out.decode()[-8000:]
    assert b"Rate limited" not in out, out.decode()[-8000:]


async def pass_time(clock: FakeClock) -> None:
    """A minute of the server's clock, again and again."""
    while True:
        await asyncio.sleep(0.02)  # noqa: TID251 - while another process asks
        await clock.advance(60)
