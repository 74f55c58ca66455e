"""What the page asks about workloads, tenants and the queue, over real HTTP."""

import json
import socket
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any, get_args

import aiohttp
import msgspec
import pytest

from benchmarks._web_state import WebState
from scheduler.model.decision import Authority
from scheduler.model.kinds.kinds import Tenant, Workload
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.policy import FailoverMode
from scheduler.model.kinds.tenant import TenantSpec
from scheduler.model.kinds.workload import GroupPhase, WorkloadSpec
from scheduler.model.reasons import REASONS
from scheduler.placement.cost.site_costs import all_costs
from scheduler.placement.filter.rules import WakeEvent
from scheduler.web.answers.table_rows import FACETS
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, fake_reviewer
from tests.support.faults import make_faults

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e名"


def _object(kind: str, text: str) -> dict[str, Any]:
    name = kind.lower()
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": {"k": text}}


class Server:
    """A server and what it shows."""

    def __init__(self, port: int, scene: WebState, session: aiohttp.ClientSession) -> None:
        self.scene, self.clock = scene, scene.clock
        self._root, self._session = f"http://127.0.0.1:{port}", session

    async def ask(self, path: str, token: str = "good") -> tuple[int, Any]:  # noqa: S107 - a name
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._session.get(self._root + path, headers=headers) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text

    async def get(self, path: str, token: str = "good") -> Any:  # noqa: ANN401, S107 - JSON
        status, body = await self.ask(path, token)
        assert status == 200, body
        return body


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    scene = WebState(FakeClock())
    scene.admit(3)
    scene.report_all()
    scene.place(5)
    scene.refuse(2)
    objects = scene.sources.registry
    work = objects.workloads
    first = work["default", "work-00000"]
    work["health", "appointment"] = msgspec.structs.replace(
        first,
        metadata=Metadata(namespace="health", name="appointment", labels={"note": HOSTILE}),
        spec=WorkloadSpec(
            data_class="general-3",
            priority=7,
            manifests=(_object("Secret", "cGFzcw=="), _object("ConfigMap", HOSTILE)),
        ),
    )
    for name, quota, namespace in (("police", "4", "default"), ("bureau", "2", "health")):
        spec = TenantSpec(
            namespaces=(namespace,), quota={"cpu": quota}, borrowing=True, cohort="city"
        )
        objects.tenants[name] = Tenant(metadata=Metadata(name=name), spec=spec)
    usage = {"default": {"cpu": 1500}, "health": {"cpu": 3000}}
    sources = scene.sources
    object.__setattr__(sources, "quota_totals", lambda: usage)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def nothing(*_: object) -> bytes:
        raise LookupError("no ledger")

    web_sources = WebSources(
        take_snapshot=scene.take_snapshot,
        render_metrics=Metrics().render,
        ledger=LedgerSource(
            find_decision=nothing, read_page=nothing, read_blob=nothing, read_blob_of=nothing
        ),
        readiness_problem=lambda: "",
        review_token=fake_reviewer({"good": [ALL], "tenant": ["health"]}),
        clock=scene.clock,
        faults=make_faults(scene.clock),
    )
    async with (
        serve_web(WebListener(port=port), web_sources),
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Server(port, scene, session)


def values(body: dict[str, Any], facet: str) -> dict[str, int]:
    return {one["value"]: one["count"] for one in body["facets"][facet]["values"]}


async def test_a_facet_counts_what_choosing_another_value_would_give(server: Server) -> None:
    every = await server.get("/api/v1/workloads/table")
    assert (every["total"], every["matching"]) == (8, 8)
    assert values(every, "phase") == {"Running": 6, "Refused": 2}
    assert values(every, "tenant") == {"police": 7, "bureau": 1}
    assert values(every, "reason")["not-allowed"] == 2
    some = await server.get("/api/v1/workloads/table?phase=Refused&tenant=police")
    assert some["matching"] == 2
    assert values(some, "phase") == {"Running": 5, "Refused": 2}, "of the tenant, whatever phase"
    assert values(some, "tenant") == {"police": 2}, "of the phase, whatever tenant"
    both = await server.get("/api/v1/workloads/table?phase=Refused&phase=Running&class=general-3")
    assert [one["name"] for one in both["workloads"]] == ["appointment"]


async def test_the_table_is_searched_sorted_and_paged_by_the_server(server: Server) -> None:
    page = await server.get("/api/v1/workloads/table?sort=-priority&limit=2")
    assert [one["name"] for one in page["workloads"]] == ["appointment", "large-00000"]
    rest = await server.get("/api/v1/workloads/table?sort=-priority&limit=3&offset=6")
    assert [one["name"] for one in rest["workloads"]] == ["work-00003", "work-00004"]
    unknown = await server.get("/api/v1/workloads/table?sort=class")
    assert unknown["workloads"][0]["name"] == "appointment", "what has no class is last"
    down = await server.get("/api/v1/workloads/table?sort=-class")
    assert down["workloads"][0]["name"] == "appointment", "in either direction"
    last = await server.get("/api/v1/workloads/table?sort=-namespace")
    first = await server.get("/api/v1/workloads/table?sort=namespace")
    assert last["workloads"] == first["workloads"][::-1], "within a namespace too"
    found = await server.get("/api/v1/workloads/table?search=BUREAU%20running")
    assert found["matching"] == 1
    for wrong in ("sort=x", "limit=0", "offset=-1", "limit=9999", "sort=name&phase=" + "x" * 400):
        assert (await server.ask(f"/api/v1/workloads/table?{wrong}"))[0] == 400


async def test_the_table_shows_changes_at_once(server: Server) -> None:
    assert (await server.get("/api/v1/workloads/table"))["total"] == 8
    work = server.scene.sources.registry.workloads
    work["default", "new"] = Workload(metadata=Metadata(namespace="default", name="new"))
    del work["default", "work-00000"]
    await server.clock.advance(0.11)  # type: ignore[attr-defined] # a fake one
    body = await server.get("/api/v1/workloads/table?search=new")
    assert (body["total"], body["matching"]) == (8, 1)
    assert values(body, "phase") == {"Pending": 1}


async def test_a_tenant_sees_its_namespaces_only(server: Server) -> None:
    body = await server.get("/api/v1/workloads/table", "tenant")
    assert [one["name"] for one in body["workloads"]] == ["appointment"]
    assert body["total"] == 1
    assert values(body, "namespace") == {"health": 1}, "no count speaks of others"
    assert (await server.ask("/api/v1/workloads/health/appointment", "tenant"))[0] == 200
    for path in ("workloads/default/work-00000", "workloads/default/nothing", "spend", "fits"):
        status, text = await server.ask(f"/api/v1/{path}", "tenant")
        assert status in (401, 403), text
    queue = await server.get("/api/v1/queue", "tenant")
    assert (queue["total"], "depths" in queue) == (0, False)
    shares = await server.get("/api/v1/tenants", "tenant")
    assert [one["name"] for one in shares["tenants"]] == ["bureau"]
    # A tenant with a second namespace: of that, neither the name nor the workloads are shown.
    tenants = server.scene.sources.registry.tenants
    bureau, both = tenants["bureau"], ("default", "health")
    spec = msgspec.structs.replace(bureau.spec, namespaces=both)
    tenants["bureau"] = msgspec.structs.replace(bureau, spec=spec)
    del tenants["police"]
    await server.clock.advance(1.0)  # type: ignore[attr-defined] # a fake one
    for token, seen, count in (("tenant", ["health"], 1), ("good", [*both], 8)):
        (row,) = (await server.get("/api/v1/tenants", token))["tenants"]
        assert (row["namespaces"], sum(row["phases"].values())) == (seen, count)
    assert (await server.ask("/api/v1/workloads/table", ""))[0] == 401


async def test_a_workload_shows_its_manifests_without_secrets(server: Server) -> None:
    body = await server.get("/api/v1/workloads/health/appointment")
    assert body["tenant"] == "bureau"
    assert body["sites"][0]["health"] == "Reporting"
    assert body["sites"][0]["province"] == "CN-GD"
    assert "cGFzcw" not in json.dumps(body)
    assert body["manifests"][0]["kind"] == "Secret"
    assert body["manifests"][1]["data"]["k"] == HOSTILE, "text is passed on as it is"
    assert body["labels"]["note"] == HOSTILE
    status, text = await server.ask("/api/v1/workloads/health/other")
    assert (status, text) == (404, "there is no workload health/other\n")
    assert (await server.ask("/api/v1/workloads/health/%2e%2e"))[0] in (400, 404)


async def test_the_queue_names_what_would_wake_each_workload(server: Server) -> None:
    body = await server.get("/api/v1/queue")
    assert body["total"] == 2
    row = body["waiting"][0]
    assert row["reasons"] == {"not-allowed": 3}
    assert "grant" in row["wakes"]
    assert "capacity" not in row["wakes"], "more room does not help where no grant allows it"
    assert body["byReason"][0] == {
        "reason": "not-allowed",
        "workloads": 2,
        "meaning": "the site has no grant for this tenant or workload",
        "wakes": row["wakes"],
    }
    assert body["depths"]["unschedulable"] == 2


async def test_the_tenant_that_uses_most_of_its_quota_is_first_with_what_it_borrows(
    server: Server,
) -> None:
    body = await server.get("/api/v1/tenants")
    first, second = body["tenants"]
    assert (first["name"], first["share"], first["dominant"]) == ("bureau", 1.5, "cpu")
    assert first["resources"][0] == {
        "name": "cpu",
        "used": 3.0,
        "quota": 2.0,
        "borrowed": 1.0,
        "lent": 0.0,
        "borrowLimit": None,
    }
    assert second["resources"][0]["lent"] == 1.0
    assert second["phases"] == {"Refused": 2, "Running": 5}


async def test_questions_to_the_engine_are_refused_where_there_is_none(server: Server) -> None:
    for path in ("fits?request=cpu=8", "losses/m1", "spend", "workloads/health/appointment/why"):
        status, text = await server.ask(f"/api/v1/{path}")
        assert status == 404, text
    for wrong in ("fits", "fits?request=cpu", "losses/UPPER"):
        assert (await server.ask(f"/api/v1/{wrong}"))[0] == 400
    two = await server.ask("/api/v1/fits?request=cpu=1&request=cpu=2")
    assert two == (409, "request: cpu has two quantities; write it once\n")
    for wrong in ("versus=a&versus=b&versus=c", "versus=A", "limit=1000", "decision=%20"):
        assert (await server.ask(f"/api/v1/workloads/health/appointment/why?{wrong}"))[0] == 400


def test_every_word_that_these_views_show_of_a_closed_list_has_words() -> None:
    text = (files("scheduler.web") / "page" / "words" / "en.json").read_text("utf-8")
    known = json.loads(text)
    needed = {
        "reason": REASONS,
        "wake": get_args(WakeEvent),
        "term": [cost.term for cost in all_costs()],
        "failover": get_args(FailoverMode),
        "group": get_args(GroupPhase),
        "who": get_args(Authority),
        "facet": FACETS,
    }
    missing = [
        f"{kind}.{slug}"
        for kind, slugs in needed.items()
        for slug in slugs
        if f"{kind}.{slug}" not in known
    ]
    assert missing == []
