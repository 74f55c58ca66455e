"""Asks the agent of a site about one order, and waits for its answer.

A question is open for some seconds. Its token is random, so an answer on the topic of that token,
signed by a key of the site, was made after the question; the first one counts, and one to a
question that is not open is dropped before it is verified. Answers pass through and are kept
nowhere.
"""

import asyncio
import secrets
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import msgspec

from agents.protocol.diagnosis.answer import OrderAnswer
from agents.protocol.diagnosis.question import MAX_CURSORS, LogCursor, Question
from agents.protocol.errors import WireError
from agents.protocol.status import SiteStatusMessage
from scheduler.control.ports.diagnosis import DiagnosisQuery, SiteDiagnosis
from scheduler.mqtt.token_bucket import Rate, TokenBucket
from scheduler.runtime.clock import Clock

ANSWER_SECONDS = 10.0
"""An agent reads logs for at most six seconds, and a request to its cluster takes ten at most."""

_SITE_RATE = Rate(2.0, 12.0)
_MAX_OPEN_PER_SITE = 4
_MAX_OPEN = 256
_MAX_AGENTS_PER_SITE = 16


@dataclass(frozen=True, slots=True)
class _KnownAgent:
    """An agent by its last status."""

    name: str
    boot_id: str
    answers: bool
    is_executing: bool


@dataclass(frozen=True, slots=True)
class _OpenQuestion:
    """A question that waits for its answer."""

    site: str
    agent: _KnownAgent
    order_id: str
    answered: "asyncio.Future[OrderAnswer]"


@dataclass(slots=True, kw_only=True)
class SiteQuestions:
    """The questions that are open.

    Attributes:
        clock: for rates and time-outs.
        send: publishes a question: site, name of the agent, question.
        take_back: drops a question that was not sent yet: site, token.
        is_leading: whether this scheduler may ask; agents refuse the questions of others.
        asker: identity of this process in questions.
    """

    clock: Clock
    send: Callable[[str, str, Question], None]
    take_back: Callable[[str, str], None]
    is_leading: Callable[[], bool]
    asker: str = field(default_factory=lambda: uuid.uuid4().hex)
    _agents: dict[str, dict[str, _KnownAgent]] = field(default_factory=dict, init=False)
    _open: dict[str, _OpenQuestion] = field(default_factory=dict, init=False)
    _rates: dict[str, TokenBucket] = field(default_factory=dict, init=False)
    _number: int = field(default=0, init=False)

    # ------------------------------------------------------------ what arrives

    def on_status(self, site: str, message: SiteStatusMessage) -> None:
        """Learns from an accepted status which agents a site has."""
        known = self._agents.setdefault(site, {})
        known.pop(message.agent, None)
        known[message.agent] = _KnownAgent(
            message.agent, message.boot_id, bool(message.answers_questions), message.is_executing
        )
        while len(known) > _MAX_AGENTS_PER_SITE:
            del known[next(iter(known))]

    def forget(self, site: str) -> None:
        """Drops what is known of a site that is gone or has new keys."""
        self._agents.pop(site, None)
        self._rates.pop(site, None)

    def is_open(self, site: str, token: str | None) -> bool:
        """Whether an answer of this site to this question is waited for."""
        one = self._open.get(token or "")
        return one is not None and one.site == site and not one.answered.done()

    def on_answer(self, site: str, token: str | None, answer: OrderAnswer) -> None:
        """Takes an answer that a key of the site has signed.

        Raises:
            WireError: it answers no open question, or another agent answers than was asked.
        """
        one = self._open.get(token or "")
        if one is None or one.answered.done():
            raise WireError("stale", "the answer comes too late, or twice")
        if one.site != site or answer.site != site:
            raise WireError("wrong-site", f"{answer.site!r} answers for {one.site!r}")
        if (answer.agent, answer.boot_id) != (one.agent.name, one.agent.boot_id):
            raise WireError("stale", f"agent {answer.agent!r} was not asked")
        if answer.order != one.order_id:
            raise WireError("malformed", "the answer is about another order")
        one.answered.set_result(answer)

    # ------------------------------------------------------------ asking

    async def ask(
        self, site: str, site_uid: str, order_id: str, query: DiagnosisQuery
    ) -> SiteDiagnosis:
        """The site's answer, or why there is none."""
        agent, problem = self._agent_to_ask(site)
        if agent is None:
            return SiteDiagnosis(site=site, problem=problem)
        self._rates[site].charge(1.0)
        token = secrets.token_hex(16)
        one = _OpenQuestion(site, agent, order_id, asyncio.get_running_loop().create_future())
        self._open[token] = one
        try:
            self.send(site, agent.name, self._question(token, one, site_uid, query))
            return await self._wait(one)
        finally:
            del self._open[token]
            self.take_back(site, token)

    async def _wait(self, one: _OpenQuestion) -> SiteDiagnosis:
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self.clock.sleep(ANSWER_SECONDS))
            one.answered.add_done_callback(lambda _: timer.cancel())
            await asyncio.wait([timer])
        if not one.answered.done():
            problem = f"its agent has not answered within {ANSWER_SECONDS:g} s"
            return SiteDiagnosis(site=one.site, problem=problem)
        return msgspec.convert(asdict(one.answered.result()), SiteDiagnosis)

    def _agent_to_ask(self, site: str) -> tuple[_KnownAgent | None, str]:
        """The agent to ask now, or why none is asked."""
        if not self.is_leading():
            return None, "this scheduler stands by; the one that leads asks the sites"
        known = list(self._agents.get(site, {}).values())
        if not known:
            return None, "no agent of it has sent a status since the scheduler started"
        able = [one for one in known if one.answers]
        if not able:
            names = ", ".join(sorted(one.name for one in known)[:4])
            return None, f"its agent ({names}) is of a version that answers no questions; update it"
        bucket = self._rates.setdefault(site, TokenBucket(_SITE_RATE, self.clock))
        waiting = sum(one.site == site for one in self._open.values())
        if bucket.is_empty() or waiting >= _MAX_OPEN_PER_SITE or len(self._open) >= _MAX_OPEN:
            return None, "it is asked too often just now; try again in some seconds"
        # The agent that applies the orders, by the status that came last.
        return max(able, key=lambda one: (one.is_executing, known.index(one))), ""

    def _question(
        self, token: str, one: _OpenQuestion, site_uid: str, query: DiagnosisQuery
    ) -> Question:
        self._number += 1
        cursors = [
            LogCursor(pod=each.pod, container=each.container, after=each.after)
            for each in query.positions
            if each.site == one.site
        ]
        return Question(
            token=token,
            asker=self.asker,
            number=self._number,
            site_uid=site_uid,
            boot_id=one.agent.boot_id,
            order=one.order_id,
            about=query.about,
            pod=query.pod,
            container=query.container,
            tail_lines=query.tail_lines,
            cursors=tuple(cursors[:MAX_CURSORS]),
        )
