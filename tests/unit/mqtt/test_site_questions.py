"""Questions to sites: who may answer, once, in time, and how often a site is asked."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from agents.protocol.diagnosis.answer import ANSWER, LogAnswer, OrderAnswer
from agents.protocol.diagnosis.question import Question
from agents.protocol.envelope import seal
from agents.protocol.keys import SigningKey
from agents.protocol.status import SiteStatusMessage
from agents.protocol.topics import answer_topic
from scheduler.control.ports.diagnosis import DiagnosisQuery, LogPosition, SiteDiagnosis
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.questions.site_questions import ANSWER_SECONDS, SiteQuestions
from scheduler.mqtt.receiver import Receiver
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.nonces import make_asker
from tests.support.null_telemetry import NullTelemetry

KEYS = {name: SigningKey(bytes([number] * 32)) for number, name in enumerate(("m1", "m2"))}
ORDER = "hub/health/web/1"
STATUS = DiagnosisQuery(about="status")


class Counted(NullTelemetry):
    """Telemetry that remembers what was refused."""

    def __init__(self) -> None:
        self.bad: Counter[str] = Counter()

    def count_bad_message(self, kind: str) -> None:
        self.bad[kind] += 1


class Sites:
    """Two sites, and what they are asked."""

    def __init__(self) -> None:
        self.clock, self.telemetry = FakeClock(), Counted()
        self.sent: list[tuple[str, str, Question]] = []
        self.taken_back: list[tuple[str, str]] = []
        self.is_leading = True
        self.questions = SiteQuestions(
            clock=self.clock,
            send=lambda *one: self.sent.append(one),
            take_back=lambda *one: self.taken_back.append(one),
            is_leading=lambda: self.is_leading,
        )
        keyring = Keyring()
        for name, key in KEYS.items():
            keyring.admit(name, [str(key.public)])
        faults = make_faults(self.clock)
        self.ingest = Ingest(
            keyring=keyring,
            listener=None,  # type: ignore[arg-type]  # nothing but answers arrives
            telemetry=self.telemetry,
            clock=self.clock,
            faults=faults,
            asker=make_asker(self.clock),
            questions=self.questions,
        )
        self.receiver = Receiver(
            ingest=self.ingest, telemetry=self.telemetry, clock=self.clock, faults=faults
        )
        for name in KEYS:
            self.know(name)

    def know(self, site: str, agent: str = "main", *, answers: bool | None = True) -> None:
        self.questions.on_status(
            site,
            SiteStatusMessage(
                site=site,
                agent=agent,
                boot_id="b1",
                boot_number=1,
                sequence=1,
                observed_seconds_ago=0.0,
                is_executing=True,
                answers_questions=answers,
            ),
        )

    async def ask(self, answer: Callable[[], Awaitable[None]]) -> SiteDiagnosis:
        """Asks m1; what `answer` does happens while the question is open."""
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(self.questions.ask("m1", "uid-1", ORDER, STATUS))
            await self.clock.settle()
            await answer()
        return asked.result()

    def send(self, site: str = "m1", *, signer: str = "", token: str = "", **more: object) -> None:
        """An answer of a site arrives, to the newest question unless `token` names another."""
        topic = answer_topic(site, token or self.sent[-1][2].token)
        words = {"site": site, "agent": "main", "boot_id": "b1", "order": ORDER, "pod_count": 3}
        data = ANSWER.encode(OrderAnswer(**(words | more)))  # type: ignore[arg-type]
        self.receiver.receive(topic, seal(data, topic=topic, key=KEYS[signer or site]))
        self.receiver.handle_batch()

    async def late(self) -> None:
        await self.clock.advance(ANSWER_SECONDS)


@pytest.fixture
def sites() -> Sites:
    return Sites()


async def test_the_first_answer_counts_and_another_is_dropped(sites: Sites) -> None:
    async def answer() -> None:
        sites.send()
        sites.send(pod_count=9)

    assert (await sites.ask(answer)).pod_count == 3
    assert sites.telemetry.bad == {"stale": 1}
    assert sites.taken_back == [("m1", sites.sent[0][2].token)]


async def test_an_answer_that_comes_too_late_is_dropped_unread(sites: Sites) -> None:
    found = await sites.ask(sites.late)
    assert (found.pod_count, found.problem) == (None, "its agent has not answered within 10 s")
    sites.send()
    assert sites.telemetry.bad == {"stale": 1}
    assert len(list(sites.receiver.queue)) == 0


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        ({"site": "m2"}, "stale"),
        ({"signer": "m2"}, "unknown-key"),
        ({"token": "0" * 32}, "stale"),
        ({"agent": "another"}, "stale"),
        ({"boot_id": "b0"}, "stale"),
        ({"order": "hub/police/files/1"}, "malformed"),
    ],
)
async def test_no_other_than_who_was_asked_answers(
    sites: Sites, forged: dict[str, str], reason: str
) -> None:
    async def answer() -> None:
        sites.send(**forged)
        await sites.late()

    assert (await sites.ask(answer)).pod_count is None
    assert set(sites.telemetry.bad) == {reason}


async def test_an_answer_that_says_too_much_is_refused(sites: Sites) -> None:
    async def answer() -> None:
        text = "x" * (64 * 1024 + 1)
        topic = answer_topic("m1", sites.sent[-1][2].token)
        log = {"pod": "p", "container": "c", "text": text}
        words = f'{{"site":"m1","agent":"main","bootId":"b1","order":"{ORDER}","logs":['
        data = words.encode() + str(log).replace("'", '"').encode() + b"]}"
        sealed = seal(data, topic=topic, key=KEYS["m1"])
        assert not sites.ingest.handle(topic, sealed)
        assert not sites.ingest.handle(topic, seal(b" " * 2**21, topic=topic, key=KEYS["m1"]))
        await sites.late()

    assert (await sites.ask(answer)).problem is not None
    assert sum(sites.telemetry.bad.values()) == 2


async def test_a_large_answer_is_taken_beside_the_loop(sites: Sites) -> None:
    logs = tuple(
        LogAnswer(pod=f"p{number}", container="c", text="line\n" * 13_000) for number in range(4)
    )

    async def answer() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            run = group.create_task(sites.receiver.run())
            sites.send(logs=logs)
            while sites.questions.is_open("m1", sites.sent[-1][2].token):
                await sites.clock.advance(0.01)
            run.cancel()

    found = await sites.ask(answer)
    assert [len(one.text) for one in found.logs] == [65_000] * 4


async def test_an_agent_without_the_ability_is_named(sites: Sites) -> None:
    sites.know("m1", answers=None)
    found = await sites.questions.ask("m1", "uid-1", ORDER, STATUS)
    assert found.problem == (
        "its agent (main) is of a version that answers no questions; update it"
    )
    assert sites.sent == []
    sites.questions.forget("m1")
    found = await sites.questions.ask("m1", "uid-1", ORDER, STATUS)
    assert found.problem == "no agent of it has sent a status since the scheduler started"


async def test_a_scheduler_that_stands_by_asks_no_site(sites: Sites) -> None:
    sites.is_leading = False
    found = await sites.questions.ask("m1", "uid-1", ORDER, STATUS)
    assert "stands by" in str(found.problem)


async def test_a_site_is_asked_only_so_often(sites: Sites) -> None:
    async def answer() -> None:
        sites.send()

    found = [await sites.ask(answer) for _ in range(14)]
    assert [one.pod_count for one in found] == [3] * 12 + [None] * 2
    assert "too often" in str(found[-1].problem)
    await sites.clock.advance(1)
    assert (await sites.ask(answer)).pod_count == 3


async def test_a_question_names_positions_of_its_site_alone(sites: Sites) -> None:
    positions = tuple(
        LogPosition(site=site, pod="p", container="c", after="2026-01-01T00:00:00Z")
        for site in ("m1", "m2")
    )
    query = DiagnosisQuery(about="logs", positions=positions, tail_lines=7)
    async with asyncio.TaskGroup() as group:
        group.create_task(sites.questions.ask("m1", "uid-1", ORDER, query))
        await sites.clock.settle()
        sites.send()
    site, agent, question = sites.sent[0]
    assert (site, agent, question.site_uid, question.boot_id) == ("m1", "main", "uid-1", "b1")
    assert (question.about, question.tail_lines, len(question.cursors)) == ("logs", 7, 1)
