"""What a rollout adds to decisions about single workloads: what is asked, and when one is due.

A step of a rollout is an ordinary decision about an ordinary demand, so it is recorded, explained
and replayed as every other. Nothing but the status says how far a rollout is: a kill between two
steps changes nothing, and a step whose status could not be written is decided again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from scheduler.control.orders.sync import OrderSync
from scheduler.control.ports.ledger import AcceptedSpec
from scheduler.control.rollout.status import (
    is_under_way,
    with_observed,
    with_step,
    without_rollout,
)
from scheduler.control.rollout.words import read_word
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.status.conditions import is_spec_changed
from scheduler.control.status.migration import Health, SiteShare, health_of, shares_in
from scheduler.model.decision import Decision, RolloutStep
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.site import Site, labels_of_site
from scheduler.model.kinds.workload import Workload, WorkloadSpec, WorkloadStatus
from scheduler.model.manifests.manifests import with_replicas
from scheduler.model.overrides.recorded import recorded_spec
from scheduler.model.rollout.question import RolloutQuestion, RolloutSite, SiteProgress
from scheduler.model.rollout.surge import surge_of
from scheduler.placement.choose import rollout_step
from scheduler.placement.rollout.advance import fails_at, soaked_at
from scheduler.placement.rollout.groups import find_overlap

_ROOM_SECONDS = 15.0
"""A group that waits for room is looked at again after this time."""
_PROGRESS: dict[Health, SiteProgress] = {
    "running": "ready",
    "finished": "ready",
    "failed": "failed",
    "silent": "silent",
    "placing": "placing",
}

ReadAccepted = Callable[[Workload], AcceptedSpec | None]


@dataclass(slots=True, kw_only=True)
class RolloutDecisions:
    """Asks decisions about rollouts, and writes what they say into the status.

    Attributes:
        inputs: the fleet, the time and the terms.
        order_sync: what sites report of the workload's orders.
        last_accepted: what was accepted last.
        former_accepted: what was accepted before it, while a rollout is under way.
    """

    inputs: DecisionInputs
    order_sync: OrderSync
    last_accepted: ReadAccepted
    former_accepted: ReadAccepted

    def question_of(self, workload: Workload) -> RolloutQuestion | None:
        """What a decision about an accepted workload is asked; None: nothing is rolled out."""
        rules, status = workload.spec.rollout, workload.status
        if rules is None or not rules.groups or not status.placement.groups:
            return None
        goes_on, starts, is_back = is_under_way(status), False, False
        accepted = self._accepted(workload) if is_spec_changed(workload) else None
        former = self.former_accepted(workload) if goes_on else None
        if accepted is not None and _is_other_content(accepted.spec, workload.spec):
            is_back = former is not None and not _is_other_content(former.spec, workload.spec)
            starts = not is_back and status.accepted is not None
        if not (starts or goes_on):
            return None
        kept = former if goes_on else accepted
        question = self._question(workload, status, starts=starts and not goes_on)
        word = read_word(workload.metadata.annotations)
        is_followed = not goes_on or (status.rollout and word.id == status.rollout.word)
        return msgspec.structs.replace(
            question,
            starts=starts,
            is_back=is_back,
            word="" if is_followed else word.word,
            former_is_complete=kept is not None and kept.is_complete,
        )

    def is_due(self, workload: Workload, demand: Demand, question: RolloutQuestion) -> bool:
        """Whether the rollout of a workload takes a step now."""
        if question.word or question.starts or question.is_back:
            return True
        known, shares = workload.status.rollout, shares_in(workload.status.placement.groups)
        step = self._step(demand, question, shares)
        if known is None or step is None:
            return False
        former = {site for site, one in shares.items() if one.replicas and one.is_former}
        return (step.phase, step.released) != (known.phase, known.released) or former != set(
            step.former
        )

    def _step(
        self, demand: Demand, question: RolloutQuestion, shares: Mapping[str, SiteShare]
    ) -> RolloutStep | None:
        sites = [site for site, one in shares.items() if one.replicas]
        asked = msgspec.structs.replace(demand, rollout=question)
        now, terms = self.inputs.now(), self.inputs.terms
        return rollout_step(asked, sites, self.inputs.fleet, now=now, terms=terms)

    def with_decision(
        self,
        workload: Workload,
        status: WorkloadStatus,
        question: RolloutQuestion | None,
        decision: Decision,
        now: datetime,
    ) -> WorkloadStatus:
        """The status after a decision about the present spec.

        Args:
            workload: as the hub holds it.
            status: with the placement that was decided.
            question: what was asked; None: nothing is rolled out.
            decision: the decision.
            now: when it was made.
        """
        if question is None or decision.rollout is None:
            return without_rollout(status, now)
        return with_step(
            status,
            question,
            decision.rollout,
            before=workload.status.accepted,
            generation=workload.metadata.generation,
            word=read_word(workload.metadata.annotations).id,
            now=now,
        )

    def with_observed(
        self, workload: Workload, status: WorkloadStatus, now: datetime
    ) -> WorkloadStatus:
        """The status with what sites report of a rollout that goes on."""
        if not is_under_way(status) or workload.spec.rollout is None:
            return status
        return with_observed(status, self._question(workload, status, starts=False), now)

    def retry_after_seconds(self, workload: Workload, status: WorkloadStatus) -> float | None:
        """When a rollout may take a step without any report; None: never."""
        known = status.rollout
        if not is_under_way(status) or known is None or known.phase != "Progressing":
            return None
        if workload.spec.rollout is None:
            return None
        now = self.inputs.now()
        question = self._question(workload, status, starts=False)
        if known.ready_since is not None:
            left = (soaked_at(question, now) - now).total_seconds()
            return left if left > 0 else _ROOM_SECONDS
        if not known.released:
            return _ROOM_SECONDS
        return max(1.0, (fails_at(question, now) - now).total_seconds())

    def _accepted(self, workload: Workload) -> AcceptedSpec | None:
        try:
            return self.last_accepted(workload)
        except ValueError:
            return None  # the record in the ledger cannot be read, which reconciling says

    def _question(
        self, workload: Workload, status: WorkloadStatus, *, starts: bool
    ) -> RolloutQuestion:
        """How far a rollout is, by a status and by what sites report."""
        views, known = self.order_sync.site_views(workload, status), status.rollout
        sites = [
            RolloutSite(
                site=site,
                replicas=share.replicas,
                former=share.is_former or starts,
                progress=_PROGRESS[health_of(share, views[site])],
                surge=surge_of(workload.spec.manifests, share.replicas),
            )
            for site, share in sorted(shares_in(status.placement.groups).items())
            if share.replicas
        ]
        rules = workload.spec.rollout
        assert rules is not None  # noqa: S101 - callers have looked
        question = RolloutQuestion(rules=rules, sites=tuple(sites))
        if known is None:
            return question
        return msgspec.structs.replace(
            question,
            phase=known.phase or "Progressing",
            released=known.released,
            since=known.since,
            ready_since=known.ready_since,
        )


def _is_other_content(one: WorkloadSpec, other: WorkloadSpec) -> bool:
    """Whether sites would run something else: other manifests, overrides or requests.

    What only says where and how many, such as replicas and placement, is no content.
    """
    return _content_of(one) != _content_of(other)


def _content_of(spec: WorkloadSpec) -> tuple[object, ...]:
    recorded = recorded_spec(spec)
    requests = spec.demand and msgspec.structs.replace(spec.demand, replicas=1)
    return with_replicas(recorded.manifests, 1), recorded.overrides, requests


def overlap_refusal(workload: Workload, objects: HubObjects) -> NotAccepted | None:
    """Why the groups of a rollout are refused; None: each site is in one of them.

    Only the sites show that two groups select the same one. It is looked at with every decision, so
    a label that is written later is found as well; what runs then stays as it is.

    Args:
        workload: the object.
        objects: the hub's objects, which have the labels of all sites.
    """
    rollout = workload.spec.rollout
    if rollout is None or sum(one.site_selector is not None for one in rollout.groups) < 2:  # noqa: PLR2004 - two overlap
        return None
    labels = {name: _labels_of(site) for name, site in objects.sites.items()}
    found = find_overlap(rollout.groups, labels)
    if not found:
        return None
    return NotAccepted(
        reason="invalid",
        condition="InvalidRollout",
        message=f"spec.rollout: {found}; each site is in one group",
    )


def _labels_of(site: Site) -> dict[str, str]:
    return labels_of_site(site.metadata.name, site.metadata.labels, site.spec)
