"""Who may look: names, origins, tokens, codes, sessions. A real server on a real socket."""

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from benchmarks._web_state import WebState
from scheduler.cli.open import register, run
from scheduler.ledger.pages import read_blob, read_blob_of, read_page
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.web.listener import WebListener
from scheduler.web.live.feed import LOOK_SECONDS
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, fake_reviewer
from tests.support.faults import make_faults

GOOD = {"Authorization": "Bearer good"}
RECORD = b'{"id":"1-1"}'


class Server:
    def __init__(
        self,
        port: int,
        scene: WebState,
        session: aiohttp.ClientSession,
        rights: dict[str, list[str]],
    ) -> None:
        self.root = f"http://127.0.0.1:{port}"
        assert isinstance(scene.clock, FakeClock)
        self.clock, self.scene, self.session, self.rights = scene.clock, scene, session, rights

    async def next_event(self, answer: aiohttp.ClientResponse) -> dict[str, Any]:
        """The next event of a stream, after as many looks as it takes."""
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(answer.content.readuntil(b"\n\n"))
            while not reading.done():
                await self.clock.advance(LOOK_SECONDS)
        found: dict[str, Any] = json.loads(reading.result().removeprefix(b"data: "))
        return found

    async def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str, aiohttp.ClientResponse]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.root + path, headers=named) as answer:
            return answer.status, await answer.text(), answer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    clock = FakeClock()
    scene = WebState(clock)
    scene.admit(3)
    scene.report_all()
    scene.place(5)
    scene.refuse(2)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rights = {"good": [ALL], "health": ["health"], "tenant": ["default"]}
    sources = WebSources(
        take_snapshot=scene.take_snapshot,
        render_metrics=Metrics().render,
        ledger=LedgerSource(
            find_decision=lambda name: RECORD if name == "1-1" else None,
            read_page=partial(read_page, tmp_path / LEDGER_FILE),
            read_blob=partial(read_blob, tmp_path / LEDGER_FILE),
            read_blob_of=partial(read_blob_of, tmp_path / LEDGER_FILE),
        ),
        readiness_problem=lambda: "receiving reports",
        review_token=fake_reviewer(rights),
        clock=clock,
        faults=make_faults(clock),
    )
    async with (
        serve_web(WebListener(port=port), sources),
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Server(port, scene, session, rights)


async def test_metrics_and_health_are_open_and_say_what_is_missing(server: Server) -> None:
    status, text, _ = await server.ask("/metrics")
    assert (status, "kapok_site_ready" in text) == (200, True)
    assert (await server.ask("/healthz"))[:2] == (200, "ok\n")
    assert (await server.ask("/readyz"))[:2] == (503, "receiving reports\n")


@pytest.mark.parametrize("path", ["/api/v1/sites", "/api/v1/workloads", "/api/v1/live", "/"])
async def test_pages_that_show_workloads_require_authentication(server: Server, path: str) -> None:
    assert (await server.ask(path))[0] == 401
    assert (await server.ask(path, Authorization="Bearer bad"))[0] == 401
    assert (await server.ask(path, Cookie=f"kapok-{server.root.split(':')[2]}=guess"))[0] == 401


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/sites", "/"])
async def test_other_hosts_and_other_pages_are_not_served(server: Server, path: str) -> None:
    assert (await server.ask(path, Host="evil.example:80", **GOOD))[0] == 403
    assert (await server.ask(path, Origin="http://evil.example", **GOOD))[0] == 403
    assert (await server.ask(path, Origin=server.root, **GOOD))[0] == 200


async def test_every_answer_forbids_other_hosts_and_frames(server: Server) -> None:
    for path in ("/metrics", "/", "/nothing"):
        _, _, answer = await server.ask(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_a_code_opens_one_session_which_only_reads(server: Server) -> None:
    status, text, _ = await server.ask("/login/codes", "POST", **GOOD)
    assert status == 201
    code = text.split('"code":"')[1].split('"')[0]
    status, _, answer = await server.ask(f"/login?code={code}")
    assert status == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    session = cookie.split(";")[0]
    assert (await server.ask("/api/v1/sites", Cookie=session))[0] == 200
    assert (await server.ask("/login/codes", "POST", Cookie=session))[0] == 401
    assert (await server.ask(f"/login?code={code}"))[0] == 401


async def test_a_code_ends_after_two_minutes_and_a_session_after_twelve_hours(
    server: Server,
) -> None:
    _, text, _ = await server.ask("/login/codes", "POST", **GOOD)
    late = text.split('"code":"')[1].split('"')[0]
    await server.clock.advance(121)
    assert (await server.ask(f"/login?code={late}"))[0] == 401
    _, text, _ = await server.ask("/login/codes", "POST", **GOOD)
    code = text.split('"code":"')[1].split('"')[0]
    _, _, answer = await server.ask(f"/login?code={code}")
    session = answer.headers["Set-Cookie"].split(";")[0]
    await server.clock.advance(12 * 3600 + 1)
    assert (await server.ask("/api/v1/sites", Cookie=session))[0] == 401


async def test_workloads_come_in_pages(server: Server) -> None:
    _, text, answer = await server.ask("/api/v1/workloads?limit=3", **GOOD)
    body = await answer.json() if answer.content_type == "application/json" else {}
    assert body["total"] == 7
    assert [one["name"] for one in body["workloads"]] == [
        "large-00000",
        "large-00001",
        "work-00000",
    ]
    assert body["workloads"][0]["reasons"] == {"not-allowed": 3}
    _, text, _ = await server.ask(f"/api/v1/workloads?limit=9&after={body['next']}", **GOOD)
    assert '"next"' not in text
    assert text.count('"namespace"') == 4
    assert (await server.ask("/api/v1/workloads?limit=0", **GOOD))[0] == 400
    _, text, _ = await server.ask("/api/v1/workloads?search=not-allowed&limit=1", **GOOD)
    assert '"total":2' in text
    assert text.count('"namespace"') == 1


async def test_a_decision_is_found_by_its_id(server: Server) -> None:
    assert (await server.ask("/api/v1/decisions/1-1", **GOOD))[:2] == (200, RECORD.decode())
    assert (await server.ask("/api/v1/decisions/9-9", **GOOD))[0] == 404
    assert (await server.ask("/api/v1/decisions/..%2f..%2fkey", **GOOD))[0] == 404


@pytest.mark.parametrize("path", ["/api/v1/ledger/records", "/api/v1/ledger/blobs/sha256:0"])
async def test_the_ledger_needs_a_token_and_a_lost_one_is_said(server: Server, path: str) -> None:
    assert (await server.ask(path))[0] == 401
    status, text, _ = await server.ask(path, Authorization="Bearer good")
    assert (status, "cannot be read" in text) == (503, True)


async def test_a_wrong_page_of_the_ledger_is_a_bad_request(server: Server) -> None:
    wrong = "/api/v1/ledger/records?after=x"
    assert (await server.ask(wrong, Authorization="Bearer good"))[0] == 400


async def test_files_of_the_page_are_kept_until_they_change_and_no_other_file_is_served(
    server: Server,
) -> None:
    status, text, answer = await server.ask("/page/app.js")
    assert (status, "loadWords" in text) == (200, True)
    assert answer.content_type == "text/javascript"
    assert answer.headers["Cache-Control"] == "no-cache"
    again = await server.ask("/page/app.js", If_None_Match=answer.headers["ETag"])
    assert again[:2] == (304, "")
    _, document, _ = await server.ask("/", **GOOD)
    assert '<link rel="modulepreload" href="/page/views/overview.js">' in document
    for path in ("index.html", "../server.py", "%2e%2e/server.py", "vendor/htm/LICENSE", "x.js"):
        assert (await server.ask(f"/page/{path}"))[0] in (401, 404), path


TENANT = {"Authorization": "Bearer tenant"}


async def test_a_tenant_sees_its_namespaces_and_is_told_the_missing_right(server: Server) -> None:
    works = server.scene.sources.registry.workloads
    meta = msgspec.structs.replace(works["default", "work-00000"].metadata, namespace="police")
    moved = msgspec.structs.replace(works.pop(("default", "work-00000")), metadata=meta)
    works["police", "work-00000"] = moved
    status, text, _ = await server.ask("/api/v1/workloads", **TENANT)
    assert (status, json.loads(text)["total"], "police" in text) == (200, 6, False)
    status, text, _ = await server.ask("/api/v1/workloads?search=police", **TENANT)
    assert (status, json.loads(text)["total"]) == (200, 0)
    status, text, _ = await server.ask("/api/v1/sites", **TENANT)
    assert (status, text) == (403, "the token may not list sites.kapok.dev\n")
    status, text, _ = await server.ask("/api/v1/evictions", **TENANT)
    assert (status, "list workloads.kapok.dev in all namespaces" in text) == (403, True)
    assert (await server.ask("/", **TENANT))[0] == 200


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("?view=nothing", (400, "view: write one of overview, fleet, site\n")),
        ("?view=site", (404, "name: the view site needs the name of a site\n")),
        ("?view=site&name=../x", (404, "name: the view site needs the name of a site\n")),
    ],
)
async def test_an_unknown_view_or_site_is_refused_with_what_to_write(
    server: Server, query: str, refusal: tuple[int, str]
) -> None:
    status, text, _ = await server.ask(f"/api/v1/live{query}", **GOOD)
    assert (status, text) == refusal


async def test_a_stream_begins_with_all_goes_on_with_changes_and_ends_with_the_right(
    server: Server,
) -> None:
    async with server.session.get(f"{server.root}/api/v1/live", headers=TENANT) as answer:
        assert answer.content_type == "text/event-stream"
        first = await server.next_event(answer)
        assert (first["first"], first["values"]["phases"]) == (True, {"Refused": 2, "Running": 5})
        assert "sites" not in first["values"]
        works = server.scene.sources.registry.workloads
        del works["default", "large-00000"]
        changed = await server.next_event(answer)
        assert changed["values"]["phases"] == {"Refused": 1, "Running": 5}
        assert "trend" not in changed["values"]
        assert changed["tables"] == {}
        del server.rights["tenant"]
        while not answer.content.at_eof():
            await server.clock.advance(11)
            await answer.content.readany()
        assert server.clock.monotonic() < 60
    assert (await server.ask("/api/v1/live", **TENANT))[0] == 401


async def test_a_tenant_on_another_machine_opens_the_page_with_its_token(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"

    async def opened(words: str) -> int:
        token.write_text(words)
        parser = argparse.ArgumentParser()
        register(parser)
        given = ["--server", server.root, "--token-file", str(token), "--data-dir", str(tmp_path)]
        return await asyncio.to_thread(run, parser.parse_args(given))

    assert await opened("tenant\n") == 0
    url = capsys.readouterr().out.strip()
    assert url.startswith(f"{server.root}/login?code=")
    status, _, answer = await server.ask(url.removeprefix(server.root))
    cookie = answer.headers["Set-Cookie"].split(";")[0]
    assert (status, (await server.ask("/", Cookie=cookie))[0]) == (200, 200)
    assert await opened("guess") == 1
    assert "HTTP 401" in capsys.readouterr().err


async def test_round_trip_times_of_one_site_are_for_who_may_see_sites(server: Server) -> None:
    status, text, _ = await server.ask("/api/v1/links?site=site-00001", **GOOD)
    assert (status, json.loads(text)["site"]) == (200, "site-00001")
    assert isinstance(json.loads(text)["links"], list)
    assert (await server.ask("/api/v1/links?site=../x", **GOOD))[0] == 404
    assert (await server.ask("/api/v1/links?site=site-00001", **TENANT))[0] == 403


async def test_a_tenant_gets_the_catalogue_of_its_language(server: Server) -> None:
    assert (await server.ask("/api/v1/words/zh", **TENANT))[0] == 200
    assert (await server.ask("/api/v1/words/zh"))[0] == 401
