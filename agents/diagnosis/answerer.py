"""Answers questions of the hub, one after the other.

A question counts if the hub has signed it for this site, this agent and this boot, in the epoch of
the index that the site works by or a later one, about an order of that index, and if its number is
new: a broker that plays one again gets nothing. Nothing of an answer is kept or logged.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import aiomqtt

from agents.metrics.counters import Counters
from agents.mqtt.publisher import ReportBuilder
from agents.mqtt.session import AgentSession
from agents.orders.intake import Intake
from agents.orders.journal import JournalError
from agents.protocol.bounds import MAX_ASKERS
from agents.protocol.diagnosis.answer import OrderAnswer
from agents.protocol.diagnosis.question import Question
from agents.protocol.errors import WireError
from agents.protocol.topics import answer_topic, is_question_token
from agents.runtime.clock import AgentClock
from agents.runtime.faults import AgentFaults

if TYPE_CHECKING:  # an agent without a cluster does not load it
    from agents.diagnosis.order_reader import OrderReader

_log = logging.getLogger(__name__)

_MAX_WAITING: Final = 8
_PAUSE_SECONDS: Final = 0.1
"""After each answer, so that questions leave room for reports and orders."""

_EXPIRY_SECONDS: Final = 15.0
_WINDOW: Final = 64
"""Numbers of a scheduler may arrive in another order, but not one that is so much older."""


@dataclass(slots=True)
class SeenNumbers:
    """Which numbers of each scheduler were received; an older or a seen one is refused."""

    _seen: "OrderedDict[str, set[int]]" = field(default_factory=OrderedDict, init=False)

    def take(self, asker: str, number: int) -> bool:
        """Keeps a number; False if it was received before, or may have been."""
        seen = self._seen.setdefault(asker, set())
        newest = max(seen, default=number)
        if number in seen or number <= newest - _WINDOW:
            return False
        seen.add(number)
        for old in [one for one in seen if one <= max(newest, number) - _WINDOW]:
            seen.discard(old)
        self._seen.move_to_end(asker)
        while len(self._seen) > MAX_ASKERS:
            self._seen.popitem(last=False)
        return True


@dataclass(slots=True, kw_only=True)
class QuestionAnswerer:
    """Answers questions about orders.

    Attributes:
        builder: knows site, agent, boot and key.
        intake: the index that the site works by.
        session: publishes the answers.
        reader: reads what is asked for; None for a site without a cluster.
        clock: for pauses.
        counters: counts messages sent.
        faults: the barrier around each question.
    """

    builder: ReportBuilder
    intake: Intake
    session: AgentSession
    reader: "OrderReader | None"
    clock: AgentClock
    counters: Counters
    faults: AgentFaults = field(default_factory=AgentFaults)
    _numbers: SeenNumbers = field(default_factory=SeenNumbers, init=False)
    _waiting: deque[Question] = field(default_factory=deque, init=False)
    _asked: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def ask(self, epoch: int, question: Question) -> None:
        """Takes a question that the hub has signed for this site and this agent.

        Args:
            epoch: epoch of the leader that asks.
            question: the question.

        Raises:
            WireError: it is not for this boot or this Site, was received before, or too many wait.
        """
        index = self.intake.index
        if not is_question_token(question.token):
            raise WireError("malformed", "the token of the question is not 32 hex digits")
        if question.boot_id != self.builder.boot.id or index is None:
            raise WireError("stale", "the question is for another boot of the agent")
        if question.site_uid != index.site_uid or epoch < index.epoch:
            raise WireError("stale", "the question is for another Site, or of a former leader")
        if not self._numbers.take(question.asker, question.number):
            raise WireError("stale", f"question {question.number} was received before")
        if len(self._waiting) >= _MAX_WAITING:
            raise WireError("too-large", f"{_MAX_WAITING} questions wait already")
        self._waiting.append(question)
        self._asked.set()

    async def run(self) -> None:
        """Answers until cancelled."""
        while True:
            while not self._waiting:
                self._asked.clear()
                await self._asked.wait()
            question = self._waiting.popleft()
            with self.faults.guard("question"):
                await self._publish(question, await self.answer(question))
            pause = max(_PAUSE_SECONDS, self.faults.quarantine_seconds("question"))
            await self.clock.sleep(pause)

    async def answer(self, question: Question) -> OrderAnswer:
        """The answer to a question; what cannot be read is said in it."""
        empty = OrderAnswer(
            site=self.builder.site,
            agent=self.builder.agent,
            boot_id=self.builder.boot.id,
            order=question.order,
        )
        index = self.intake.index
        if index is None or all(one.id != question.order for one in index.orders):
            return replace(empty, problem="the site has no order of it")
        if self.reader is None:
            return replace(empty, problem="the agent of this site reaches no cluster")
        try:
            return await asyncio.to_thread(self.reader.read, question, empty)
        except JournalError as error:
            self.faults.record("journal", error)
            return replace(empty, problem="the agent's journal cannot be read")

    async def _publish(self, question: Question, answer: OrderAnswer) -> None:
        connection = self.session.connection
        if connection is None:
            return
        topic = answer_topic(self.builder.site, question.token)
        try:
            data = self.builder.build_answer_message(topic, answer)
            await connection.publish(topic, data, expiry_seconds=_EXPIRY_SECONDS)
            self.counters.add("messages_total", kind="answer")
        except (aiomqtt.MqttError, WireError) as error:
            _log.warning("answer not sent: %s", type(error).__name__)
