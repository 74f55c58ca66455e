"""Which questions an agent answers: the hub's, for this site and boot, each once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.diagnosis.answerer import QuestionAnswerer
from agents.metrics.counters import Counters
from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.router import MessageRouter
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.diagnosis.answer import ANSWER
from agents.protocol.diagnosis.question import Question
from agents.protocol.envelope import unseal
from agents.protocol.hub_requests import HUB_REQUEST, HubRequest
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.protocol.topics import answer_topic
from agents.runtime.data_dir import Boot
from tests.support.fake_clock import FakeClock
from tests.support.wire_hub import WireHub, config_map, packed

KEY = SigningKey(bytes([7] * 32))
TOKEN = "ab" * 16
QUESTION = Question(
    token=TOKEN,
    asker="scheduler",
    number=1,
    site_uid="uid-1",
    boot_id="boot",
    order="hub/web/web/1",
    about="status",
)


class Connection:
    """Remembers what is published."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def publish(self, topic: str, payload: bytes, *, expiry_seconds: float) -> None:
        assert expiry_seconds > 0
        self.sent.append((topic, payload))


class Agent:
    """The part of an agent that answers; its site has one order and no cluster."""

    def __init__(self, folder: Path) -> None:
        self.hub, self.counters, self.clock = WireHub(epoch=3), Counters(), FakeClock()
        self.connection = Connection()
        self.journal = Journal(folder / "journal.sqlite")
        trusted = TrustedKeys([self.hub.key.public])
        intake = Intake(site="site-a", trusted_keys=trusted, journal=self.journal)
        order = packed(self.hub.content("web", config_map()))
        intake.accept_index(self.hub.index(1, *order)[1])
        session: Any = type("Session", (), {"connection": self.connection})()
        self.answerer = QuestionAnswerer(
            builder=ReportBuilder(
                site="site-a",
                agent="main",
                boot=Boot(id="boot", number=1),
                key=KEY,
                full_interval_seconds=60,
            ),
            intake=intake,
            session=session,
            reader=None,
            clock=self.clock,
            counters=self.counters,
        )
        nothing: Any = lambda *_: None  # noqa: E731 - a stand-in
        self.router = MessageRouter(
            site="site-a",
            agent="main",
            intake=intake,
            counters=self.counters,
            on_index=nothing,
            on_order_content=nothing,
            on_order_part=nothing,
            on_hub_request=nothing,
            on_question=self.answerer.ask,
        )

    def message(self, epoch: int = 3, agent: str = "main", **more: Any) -> tuple[str, bytes]:  # noqa: ANN401
        question = replace(QUESTION, **more)
        request = HubRequest(site="site-a", epoch=epoch, agent=agent, question=question)
        return self.hub.sealed("hub", HUB_REQUEST.encode(request))

    def hear(self, **more: Any) -> None:  # noqa: ANN401 - fields of a question
        self.router.handle(*self.message(**more))

    @property
    def waiting(self) -> int:
        return len(self.answerer._waiting)  # noqa: SLF001 - what waits is what counts here


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    one = Agent(tmp_path)
    yield one
    one.journal.close()


def test_a_question_that_is_played_again_is_not_answered_again(agent: Agent) -> None:
    message = agent.message()
    for _ in range(3):
        agent.router.handle(*message)
    assert agent.waiting == 1
    assert agent.counters.bad_messages() == {"stale": 2}


@pytest.mark.parametrize(
    "more",
    [
        {"boot_id": "another-boot"},
        {"site_uid": "uid-of-a-former-site"},
        {"epoch": 2},
        {"token": "no/token/#"},
    ],
)
def test_a_question_for_another_boot_site_or_leader_is_refused(
    agent: Agent, more: dict[str, Any]
) -> None:
    agent.hear(**more)
    assert agent.waiting == 0
    assert sum(agent.counters.bad_messages().values()) == 1


def test_a_question_to_another_agent_is_left_to_it(agent: Agent) -> None:
    agent.hear(agent="second")
    assert (agent.waiting, agent.counters.bad_messages()) == (0, {})


def test_a_question_that_the_hub_has_not_signed_is_refused(agent: Agent) -> None:
    agent.hub.key = SigningKey.generate()
    agent.hear()
    assert agent.waiting == 0
    assert agent.counters.bad_messages() == {"unknown-key": 1}


def test_only_a_few_questions_wait(agent: Agent) -> None:
    for number in range(1, 21):
        agent.hear(number=number)
    assert agent.waiting == 8
    assert agent.counters.bad_messages() == {"too-large": 12}


async def test_an_order_of_another_site_is_not_read(agent: Agent) -> None:
    answer = await agent.answerer.answer(replace(QUESTION, order="hub/police/files/1"))
    assert answer.problem == "the site has no order of it"
    answer = await agent.answerer.answer(QUESTION)
    assert answer.problem == "the agent of this site reaches no cluster"


async def test_the_answer_is_signed_for_the_topic_of_its_question(agent: Agent) -> None:
    await agent.answerer._publish(QUESTION, await agent.answerer.answer(QUESTION))  # noqa: SLF001
    [(topic, payload)] = agent.connection.sent
    assert topic == answer_topic("site-a", TOKEN) == f"kapok/v1/site-a/answer/{TOKEN}"
    data = unseal(payload, topic=topic, trusted=TrustedKeys([KEY.public]))
    assert ANSWER.decode(data).order == QUESTION.order
