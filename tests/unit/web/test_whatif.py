"""Who may ask what-ifs over HTTP, and one at a time. A real server on a real socket."""

import asyncio
import io
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import pytest

from benchmarks._web_state import WebState
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources, serve_web
from scheduler.web.whatif import WhatIfSource
from scheduler.whatif.questions import CapacityQuestion, Question, WhatIfQuestion
from scheduler.whatif.scenario.changes import DrainSite
from scheduler.whatif.shape import AskedShape
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, SITES, fake_reviewer
from tests.support.faults import make_faults

OPERATOR = {"Authorization": "Bearer operator"}
DRAIN = {"type": "whatif", "changes": [{"type": "drain", "site": "m1"}]}


class AskedServer:
    """A server, the questions that reached its asker, and what that answers."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.lines = [b'{"what":"read","done":1,"total":2}\n', b'{"answer":{"moves":[]}}\n']
        self.goes_on, self.ended = asyncio.Event(), 0
        self.goes_on.set()
        self.root, self.session = "", aiohttp.ClientSession()

    async def ask(self, question: Question) -> AsyncGenerator[bytes, None]:
        self.questions.append(question)
        try:
            for line in self.lines:
                await self.goes_on.wait()
                yield line
        finally:
            self.ended += 1

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(self.root + path, headers=headers or OPERATOR) as answer:
            return answer.status, await answer.text()

    async def post(self, body: object, **headers: str) -> tuple[int, str]:
        data = io.BytesIO(json.dumps(body).encode())
        url = f"{self.root}/whatif"
        async with self.session.post(url, data=data, headers=headers or OPERATOR) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def server() -> AsyncIterator[AskedServer]:
    one, state = AskedServer(), WebState(FakeClock())

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
        review_token=fake_reviewer({"operator": [ALL], "tenant": ["ns"], "looker": [SITES]}),
        clock=FakeClock(),
        faults=make_faults(FakeClock()),
        whatif=WhatIfSource(ask=one.ask),
    )
    async with one.session, serve_web(WebListener(port=port), sources):
        one.root = f"http://127.0.0.1:{port}/api/v1"
        yield one


async def test_a_question_is_answered_line_by_line(server: AskedServer) -> None:
    status, text = await server.post(DRAIN)
    assert (status, text.encode()) == (200, b"".join(server.lines))
    assert server.questions == [WhatIfQuestion(changes=(DrainSite(site="m1"),))]


async def test_the_page_gets_one_answer(server: AskedServer) -> None:
    assert await server.get("/whatif?scenario=drain+m1") == (200, '{"moves":[]}')
    path = "/capacity?cpu=2&memory=4Gi&class=general-2&namespace=ns"
    assert (await server.get(path))[0] == 200
    shape = AskedShape(
        requests={"cpu": "2", "memory": "4Gi"}, data_class="general-2", namespace="ns"
    )
    assert server.questions[1] == CapacityQuestion(shape=shape)


async def test_the_page_gets_its_answer_in_its_language(server: AskedServer) -> None:
    line = "0/1 sites are feasible: 1 data-class"
    server.lines = [json.dumps({"answer": {"unplaced": [{"line": line}]}}).encode()]
    for path in ("/whatif?scenario=drain+m1", "/capacity?cpu=2"):
        said = {}
        for language in ("en", "zh"):
            status, text = await server.get(f"{path}&lang={language}")
            assert status == 200
            said[language] = json.loads(text)["unplaced"][0]["line"]
        assert said["en"] == line
        assert "站点" in said["zh"]
        assert (await server.get(f"{path}&lang=xx"))[0] == 400


async def test_only_holders_of_a_token_that_may_list_all_are_answered(
    server: AskedServer,
) -> None:
    for token, expected in (("looker", 403), ("tenant", 403), ("stranger", 401), ("", 401)):
        headers = {"Authorization": f"Bearer {token}"}
        assert (await server.get("/whatif?scenario=drain+m1", **headers))[0] == expected
        assert (await server.post(DRAIN, **headers))[0] == expected
        assert (await server.get("/capacity", **headers))[0] == expected
    assert server.questions == []


async def test_one_question_is_answered_at_a_time(server: AskedServer) -> None:
    server.goes_on.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(server.post(DRAIN))
        while not server.questions:  # noqa: ASYNC110 - the request is on its way
            await asyncio.sleep(0.01)  # noqa: TID251 - over a real socket
        for status, text in (
            await server.post(DRAIN),
            await server.get("/whatif?scenario=drain+m1"),
            await server.get("/capacity"),
        ):
            assert status == 429
            assert "ask again" in text
        server.goes_on.set()
    assert first.result()[0] == 200
    assert (await server.post(DRAIN))[0] == 200
    assert server.ended == 2


async def test_a_question_of_a_hundred_thousand_levels_is_no_fault(server: AskedServer) -> None:
    deep = io.BytesIO(b'{"a":' * 100_000)
    async with server.session.post(f"{server.root}/whatif", data=deep, headers=OPERATOR) as answer:
        assert (answer.status, "cannot be read" in await answer.text()) == (400, True)


async def test_a_reader_that_is_gone_ends_its_question_without_a_fault(
    server: AskedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.lines = [b"{}\n"] * 100_000
    data = json.dumps(DRAIN).encode()
    async with server.session.post(f"{server.root}/whatif", data=data, headers=OPERATOR) as answer:
        await answer.content.readline()
        answer.close()
    while not server.ended:  # noqa: ASYNC110 - the server has to notice
        await asyncio.sleep(0.01)  # noqa: TID251 - over a real socket
    server.lines = [b"{}\n"]
    while (await server.post(DRAIN))[0] != 200:  # noqa: ASYNC110 - until it is not busy
        await asyncio.sleep(0.01)  # noqa: TID251 - over a real socket
    assert [one for one in caplog.records if one.levelname == "ERROR"] == []


async def test_a_sender_that_is_gone_before_its_question_ends_is_no_fault(
    server: AskedServer, caplog: pytest.LogCaptureFixture
) -> None:
    port = int(server.root.split(":")[2].split("/")[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    token = OPERATOR["Authorization"]
    writer.write(
        f"POST /api/v1/whatif HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {token}\r\n"
        "Content-Length: 1000\r\n\r\n{".encode()
    )
    await writer.drain()
    await asyncio.sleep(0.1)  # noqa: TID251 - the server reads what there is
    writer.transport.abort()
    await asyncio.sleep(0.1)  # noqa: TID251 - and sees it gone
    assert (await server.post(DRAIN))[0] == 200
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


async def test_what_cannot_be_read_reaches_no_asker(server: AskedServer) -> None:
    for body in (
        {},
        {"type": "whatif", "changes": []},
        {"type": "whatif", "changes": [{"type": "load", "factor": 0}]},
        {"type": "whatif", "changes": [{"type": "frob"}]},
        {"type": "whatif", "changes": [{"type": "drain", "site": "m1"}] * 65},
        {"type": "capacity", "shape": {"dataClass": "secret"}},
        {"type": "capacity", "shape": {"unknown": 1}},
        "x" * (9 << 20),
    ):
        status, text = await server.post(body)
        assert status == 400, text
    for words in ("", "frob", "drain+'", "add+-f+x", "drain+" + "x" * 9000):
        assert (await server.get(f"/whatif?scenario={words}"))[0] in (400, 414)
    assert (await server.get("/capacity?cpus=1"))[0] == 400
    assert server.questions == []


async def test_a_refusal_and_a_failure_are_said_and_the_next_one_is_answered(
    server: AskedServer,
) -> None:
    server.lines = [b'{"refused":"there is no site"}\n']
    assert await server.get("/whatif?scenario=drain+m1") == (409, "there is no site\n")
    server.lines = [b'{"failed":"it took longer than 120 s"}\n']
    assert await server.get("/whatif?scenario=drain+m1") == (500, "it took longer than 120 s\n")
    server.lines = [b'{"answer":{}}\n']
    assert await server.get("/whatif?scenario=drain+m1") == (200, "{}")
