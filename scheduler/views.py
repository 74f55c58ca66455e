"""What the page, the HTTP API, Prometheus and what-ifs see of a running scheduler.

`app.py` makes one `Views` beside the loops. It reads what these keep and changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from scheduler.control.orders.identity import format_order_id
from scheduler.control.ports.access import AccessQuestion, AccessReviewer
from scheduler.control.ports.hub import EVENTS, WORKLOADS, Object
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.hub.health import HubHealth
from scheduler.inquiry.answers import AnswerInputs, RunningAnswers
from scheduler.knowledge import Knowledge
from scheduler.ledger.pages import read_blob, read_blob_of, read_page
from scheduler.ledger.reader import decision_json
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.questions.site_questions import SiteQuestions
from scheduler.services import Services
from scheduler.term.term import Term
from scheduler.web.diagnosis import DiagnosisSource
from scheduler.web.metrics import Metrics
from scheduler.web.records import LedgerSource
from scheduler.web.server import WebSources
from scheduler.web.snapshot import SnapshotSources, StateSnapshot, take_snapshot
from scheduler.web.whatif import WhatIfSource
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif_process.asker import WhatIfAsker, take_fleet_copy
from scheduler.whatif_process.survival_watch import SurvivalWatch

_MAX_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What others see of a running scheduler.

    Attributes:
        known: what the scheduler knows, whether it leads or stands by.
        term: gives the term that it leads or will lead next.
        services: the hub, the broker and the ledger.
        metrics: the counters.
        health: what the hub answers.
        questions: asks sites about their orders.
        survival: which losses of a site can be survived.
        outbox: messages that wait for the broker.
        is_connected: whether there is a session with the broker now.
        lease_holder: the identity that holds the lease; empty: unknown.
        ledger_problem: why nothing can be recorded; empty: it can.
    """

    known: Knowledge
    term: Callable[[], Term]
    services: Services
    metrics: Metrics
    health: HubHealth
    questions: SiteQuestions
    survival: SurvivalWatch
    outbox: Outbox
    is_connected: Callable[[], bool]
    lease_holder: Callable[[], str]
    ledger_problem: Callable[[], str]

    def take_snapshot(self) -> StateSnapshot:
        """The state of fleet, queue and workloads at this moment."""
        sources = SnapshotSources(
            registry=self.known.objects,
            sites=self.known.sites,
            fleet=self.known.fleet,
            queue=self.term().queue,
            unadmitted_sites=self.term().unadmitted_sites,
            workload_stats=self.term().stats,
            clock=self.known.clock,
            stale_after_seconds=self.known.settings.freshness.stale_after_seconds,
            agents_without_nonce=self.known.asker.agents_without_nonce,
            storm=lambda: self.term().gate.state,
            evictions=self.term().gate.shown,
            quota_totals=lambda: self.term().quotas.totals,
            months=lambda: self.term().quotas.months,
            losses=lambda: self.survival.conditions,
        )
        return take_snapshot(
            sources,
            epoch=self.known.leadership.epoch,
            hub_problem=self.health.problem,
            is_broker_connected=self.is_connected(),
            outbox_messages=len(self.outbox),
            unknown_orders=sum(map(len, self._unknown_orders().values())),
        )

    def sources(self, review: AccessReviewer, answers: RunningAnswers) -> WebSources:
        """What the page, the HTTP API and /metrics ask.

        Args:
            review: checks the rights of tokens.
            answers: answers questions to the engine, the ledger and the hub.
        """
        return WebSources(
            take_snapshot=self.take_snapshot,
            render_metrics=self.metrics.render,
            ledger=LedgerSource(
                find_decision=partial(decision_json, self.services.ledger.place),
                read_page=partial(read_page, self.services.ledger.place),
                read_blob=partial(read_blob, self.services.ledger.place),
                read_blob_of=partial(read_blob_of, self.services.ledger.place),
            ),
            readiness_problem=self._why_not_ready,
            readiness_note=self._readiness_note,
            review_token=review,
            clock=self.known.clock,
            faults=self.known.faults,
            diagnosis=DiagnosisSource(
                find_workload=lambda namespace, name: self.known.objects.workloads.get(
                    (namespace, name)
                ),
                order_id=lambda one: format_order_id(
                    self.known.settings.hub_id,
                    (one.metadata.namespace, one.metadata.name),
                    one.status.incarnation,
                ),
                site_uid=self._site_uid,
                sites=self.questions,
                may_read=partial(_may_read_logs, review),
            ),
            answers=answers,
            whatif=WhatIfSource(ask=WhatIfAsker(self.fleet_copy).ask),
        )

    def fleet_version(self) -> tuple[int, ...] | None:
        """What changes when sites do; None while this replica does not decide."""
        fleet = self.known.fleet
        if not self.known.leadership.epoch or not self.term().startup.has_started:
            return None
        columns = (fleet.description_columns.version, fleet.report_columns.version)
        return (*columns, int(fleet.row_version.sum()))

    def fleet_copy(self) -> FleetCopy:
        """A copy of fleet and workloads on which what-ifs and proofs of survival run."""
        failover, freeze = self.known.settings.failover, self.term().gate.state.freeze
        return take_fleet_copy(
            self.known.objects,
            self.term().inputs,
            max_silent_ratio=failover.storm.max_silent_ratio,
            is_failover_enabled=failover.enabled,
            freeze=freeze.why if freeze else "",
            silent_after_seconds=self.known.settings.freshness.silent_after_seconds,
            failover_after_seconds=failover.after_seconds,
            evictions_per_second=failover.storm.full_per_second,
        )

    def build_answers(self) -> RunningAnswers:
        """What answers the page's questions to the engine, the ledger and the hub."""
        return RunningAnswers(
            AnswerInputs(
                place=self.services.ledger.place,
                take_snapshot=self.take_snapshot,
                terms=lambda: self.term().inputs.terms,
                demands_at=self._demands_at,
                read_events=self._read_events,
                clock=self.known.clock,
            )
        )

    def _demands_at(self, site: str) -> Iterator[Demand]:
        """The demands of the workloads at a site, resolved one by one."""
        for key in self.known.objects.workloads_at(site):
            workload = self.known.objects.workloads.get(key)
            if workload is None:
                continue
            demand = resolve_demand(workload, self.known.objects, self.term().quotas)
            if isinstance(demand, Demand):
                yield demand

    async def _read_events(self, namespace: str, name: str, limit: int) -> list[Object]:
        selector = f"involvedObject.name={name},involvedObject.kind={WORKLOADS.kind}"
        query = {"fieldSelector": selector, "limit": str(limit)}
        found = await self.services.client.raw("GET", EVENTS.path(namespace), query=query)
        return list(found.get("items") or ())

    def _site_uid(self, name: str) -> str | None:
        site = self.known.objects.sites.get(name)
        return site.metadata.uid if site else None

    def _why_not_ready(self) -> str:
        process = self.services.hub_process
        if process is not None and process.problem:
            return process.problem
        if self.health.sentence:
            return f"{self._decides_or_waits()}{self.health.sentence}"
        if not self.known.leadership.epoch:
            return f"waiting for the lease{self._held_by()}"
        if not self.is_connected():
            return "no session with the broker"
        if problem := self.ledger_problem():
            return f"nothing is decided: {problem}"
        return "" if self.term().startup.has_started else "waiting for the sites to report"

    def _readiness_note(self) -> str:
        if not self.known.leadership.epoch:
            return ""
        freeze, notes = self.term().gate.state.freeze, []
        if freeze:
            notes.append(f"evictions are frozen: {freeze.why}")
        if unknown := self._unknown_orders():
            named = (f"{site} ({format_list(one, _MAX_NAMED)})" for site, one in unknown.items())
            notes.append(
                f"orders that the hub does not know run on at {', '.join(named)}; apply their"
                " workloads again, or have them withdrawn by `kapok hub adopt --unknown-orders"
                " withdraw`"
            )
        return "\n".join(notes)

    def _unknown_orders(self) -> dict[str, tuple[str, ...]]:
        """Orders that the hub does not know and that are left running, by site."""
        dispatcher = self.term().dispatcher
        found = {site: dispatcher.unknown_orders_at(site) for site in sorted(dispatcher.plans)}
        return {site: orders for site, orders in found.items() if orders}

    def _decides_or_waits(self) -> str:
        return "" if self.known.leadership.epoch else "nothing is decided without the lease: "

    def _held_by(self) -> str:
        holder = self.lease_holder()
        return f", held by {holder}" if holder else ""


async def _may_read_logs(review: AccessReviewer, token: str, namespace: str) -> bool:
    return await review(token, AccessQuestion(namespace=namespace, subresource="log")) == "allowed"
