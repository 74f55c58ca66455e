"""What the page asks of the engine, the ledger and the hub, which the web server does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from scheduler.model.kinds.workload import Workload
from scheduler.web.snapshot import StateSnapshot

Answer = dict[str, Any]
"""JSON."""


class QuestionRefused(Exception):
    """A question is not answered; the message says why, and what to write or do instead."""


class NothingThere(Exception):
    """What is asked about is not there; the message names it."""


class LedgerUnreadable(Exception):
    """The ledger cannot be read; the message says why."""


class TooManyQuestions(Exception):
    """So many questions are being answered that this one is not taken; the message says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyQuestion:
    """Which part of an explanation is asked.

    Attributes:
        workload: "namespace/name".
        decision: the id of the record; "": the newest.
        offset: sites before the page; those that run it and those that admit it come first.
        limit: sites of the page.
        search: a part of the names of sites; "": all.
        versus: two sites to compare; (): none; one: it is compared with what was chosen.
        sees_all: whether who asks may see the workloads of all namespaces.
    """

    workload: str
    decision: str = ""
    offset: int = 0
    limit: int = 50
    search: str = ""
    versus: tuple[str, ...] = ()
    sees_all: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FitQuestion:
    """A shape of pods that is looked for room for.

    Attributes:
        requests: of one replica, by resource, as written.
        replicas: how many there are to be.
        data_class: the class of the data; "": the first that any grant allows is not guessed, so
            only room counts.
        limit: the most sites that are listed.
    """

    requests: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1
    data_class: str = ""
    limit: int = 50


class AnswerSource(Protocol):
    """Answers what needs the engine, the ledger or the hub.

    All may raise `TooManyQuestions`, `LedgerUnreadable`, `QuestionRefused` and `NothingThere`.
    """

    async def explain(self, question: WhyQuestion) -> Answer:
        """The verdicts and costs of a recorded decision, site by site."""
        ...

    async def changes(self, workload: str) -> Answer:
        """The smallest changes after which a workload that waits would be placed."""
        ...

    async def history(self, workload: str, before: int, limit: int) -> Answer:
        """What was decided about a workload, the newest first; `before` is a sequence, 0: all."""
        ...

    async def events(self, workload: Workload) -> Answer:
        """The Kubernetes Events about a workload."""
        ...

    async def fits(self, question: FitQuestion) -> Answer:
        """Where pods of a shape fit now."""
        ...

    async def lost_with(self, site: str) -> Answer:
        """What becomes of the workloads at a site if it is lost now."""
        ...

    async def spend(self, snapshot: StateSnapshot) -> Answer:
        """Power, carbon and cost now and today, by tenant and site."""
        ...
