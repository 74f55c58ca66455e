"""What each site holds of a workload, and how work moves: the replacement first. Pure.

A share has two parts: replicas that are to stay, and replicas that are leaving, which run on until
what replaces them runs. A site is ordered their sum, so the leaving part changes nothing there
until it ends. In `Workload.status.placement.groups` the leaving part is an entry of its own, in
phase Withdrawing, with the sites that replace it: a scheduler that is killed in between goes on
from there.

Rules:

- what a site holds beyond its new share leaves at once only as far as nothing new is to come up
  elsewhere for it (fewer replicas were asked), or by an eviction or violation rule;
- it ends when every site that replaces it runs its whole share by its newest order;
- while nothing replaces it, it stays;
- a site that is only to be left keeps the content that it runs, whatever is asked meanwhile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from scheduler.control.ports.agents import OrderState
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.kinds.workload import PlacementGroup

MAX_REPLACING = 64
"""Sites that an entry names as its replacement; with so many, all that stay must run."""

BAD_PHASES = frozenset({"Failed", "Conflict", "Refused"})

Health = Literal["placing", "running", "finished", "failed", "silent"]


@dataclass(frozen=True, slots=True)
class SiteShare:
    """What one site holds of a workload.

    Attributes:
        replicas: that are to stay.
        generation: of the order that asks for `ordered` replicas.
        leaving: replicas beside these that run on until their replacement runs.
        replaced_by: the sites that must run before `leaving` ends.
        violates: the right that is broken by what runs there, as a reason; empty: none.
        has_run: `replicas` ran by this generation's order before.
    """

    replicas: int
    generation: int
    leaving: int = 0
    replaced_by: tuple[str, ...] = ()
    violates: str = ""
    has_run: bool = False

    @property
    def ordered(self) -> int:
        """What the site is told to run."""
        return self.replicas + self.leaving

    @property
    def is_withdrawing(self) -> bool:
        """Nothing of it is to stay."""
        return not self.replicas


@dataclass(frozen=True, slots=True)
class SiteView:
    """What is known of a share.

    Attributes:
        state: the site's word; None when it said nothing about the order.
        is_silent: the site does not report, so whatever it said is old.
        is_current: it spoke while it worked by an index that has the order as it is now. Else its
            word may be about another content of the same generation: of a hub that was restored.
    """

    state: OrderState | None
    is_silent: bool
    is_current: bool = True


UNSEEN = SiteView(state=None, is_silent=True)
"""Nothing is known."""


def shares_in(groups: Iterable[PlacementGroup]) -> dict[str, SiteShare]:
    """Site → share, out of the groups of a status."""
    shares: dict[str, SiteShare] = {}
    for group in groups:
        leaves = group.phase == "Withdrawing"
        for site in group.sites:
            known = shares.get(site, SiteShare(0, 0))
            shares[site] = replace(
                known,
                replicas=known.replicas + (0 if leaves else group.replicas),
                leaving=known.leaving + (group.replicas if leaves else 0),
                generation=max(known.generation, group.generation),
                replaced_by=group.replaced_by if leaves else known.replaced_by,
                violates=group.violates or known.violates,
                has_run=known.has_run or group.phase == "Running",
            )
    return shares


def health_of(share: SiteShare, view: SiteView) -> Health:
    """How a share stands, by the site's word."""
    if view.is_silent:
        return "silent"
    state = view.state
    if state is None or state.generation < share.generation:
        return "placing"
    if not (view.is_current or share.has_run):
        return "placing"
    if is_finished(state):
        return "failed" if state.finished == "Failed" else "finished"
    if state.phase in BAD_PHASES:
        return "failed"
    applied = (state.applied_generation or 0) >= share.generation
    return "running" if applied and state.phase == "Ready" else "placing"


def is_finished(state: OrderState) -> bool:
    """Whether every job of an order has ended; how, may be unknown."""
    return bool(state.finished) or state.phase == "Finished"


def next_shares(
    before: Mapping[str, SiteShare],
    decision: Decision,
    views: Mapping[str, SiteView],
    *,
    generation: int,
    is_new_content: bool,
    known_sites: set[str],
) -> dict[str, SiteShare]:
    """The shares after a decision.

    Args:
        before: the shares until now.
        decision: where replicas are to stay.
        views: what sites say of `before`; of a site that is missing, nothing is known.
        generation: of orders that change.
        is_new_content: every order changes, but those of sites that are only to be left.
        known_sites: sites that exist; what was at another one is no longer there.
    """
    targets = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    held = {
        site: share
        for site, share in before.items()
        if site in known_sites and site not in decision.ended
    }
    awaited = {site for share in before.values() for site in share.replaced_by}
    leaving, replacing = _replicas_leaving(held, targets, views, awaited)
    shares: dict[str, SiteShare] = {}
    for site in sorted(targets.keys() | leaving.keys()):
        old = before.get(site)
        fresh = SiteShare(
            replicas=targets.get(site, 0),
            generation=generation,
            leaving=leaving.get(site, 0),
            replaced_by=replacing if site in leaving else (),
            violates=decision.violations.get(site, ""),
        )
        is_same = not is_new_content or fresh.is_withdrawing
        if old and old.ordered == fresh.ordered and is_same:
            fresh = replace(fresh, generation=old.generation)
        shares[site] = fresh
    return shares


def _replicas_leaving(
    held: Mapping[str, SiteShare],
    targets: Mapping[str, int],
    views: Mapping[str, SiteView],
    awaited_sites: set[str],
) -> tuple[dict[str, int], tuple[str, ...]]:
    """What runs on beyond its site's new share, and the sites that are to replace it.

    Sites that a move has waited for are waited for on, whatever became of what they replace.
    """
    awaited = set(targets) if len(awaited_sites) >= MAX_REPLACING else awaited_sites
    pending: dict[str, int] = {}
    for site, target in targets.items():
        old = held.get(site, SiteShare(0, 0))
        if target > old.ordered or site in awaited:
            runs = health_of(old, views.get(site, UNSEEN)) in ("running", "finished")
            missing = target - (old.ordered if runs else 0)
            if missing > 0:
                pending[site] = missing
    leaving = _replicas_kept_for(sum(pending.values()), held, targets, views)
    return leaving, tuple(sorted(pending))[:MAX_REPLACING]


def _replicas_kept_for(
    missing: int,
    held: Mapping[str, SiteShare],
    targets: Mapping[str, int],
    views: Mapping[str, SiteView],
) -> dict[str, int]:
    """What runs on for so many replicas that do not run yet; what surely runs is taken first."""
    beyond: list[tuple[int, str, int]] = []
    for site, share in held.items():
        view, target = views.get(site, UNSEEN), targets.get(site, 0)
        surplus = _max_running(share, view) - target
        if surplus > 0:
            sure = max(0, min(_min_running(share, view) - target, surplus))
            beyond.append((-sure, site, surplus))
    leaving: dict[str, int] = {}
    for sure, site, surplus in sorted(beyond):
        if missing > 0:
            leaving[site] = min(surplus, missing)
            missing -= min(-sure, missing)
    return leaving


def _max_running(share: SiteShare, view: SiteView) -> int:
    """What may be running of a share; all of it unless the site says otherwise.

    Pods on nodes count, ready or not: a probe that fails for a moment must not end a service.
    """
    state = view.state
    if view.is_silent or state is None or state.generation < share.generation:
        return share.ordered
    if state.bound is None and state.ready is None:
        return share.ordered
    return min(share.ordered, max(state.bound or 0, state.ready or 0))


def _min_running(share: SiteShare, view: SiteView) -> int:
    """What the site says is ready."""
    if view.is_silent or view.state is None:
        return 0
    return min(share.ordered, view.state.ready or 0)


def without_replaced(
    shares: Mapping[str, SiteShare], healths: Mapping[str, Health], generation: int
) -> dict[str, SiteShare]:
    """The shares once every replacement that runs has taken over.

    Args:
        shares: until now.
        healths: of every site that is to stay.
        generation: of orders that become smaller.
    """
    runs = {site for site, one in healths.items() if one in ("running", "finished")}
    stay = {site for site, share in shares.items() if not share.is_withdrawing}
    after: dict[str, SiteShare] = {}
    for site, share in shares.items():
        awaited = set(share.replaced_by) & stay
        if len(share.replaced_by) >= MAX_REPLACING:
            awaited = stay
        if not share.leaving or not awaited or not awaited <= runs:
            after[site] = share
        elif not share.is_withdrawing:
            after[site] = replace(share, generation=generation, leaving=0, replaced_by=())
    return after


def revert_migration(demand: Demand, decision: Decision) -> Demand | None:
    """The demand as it is if what was leaving stays after all; None when nothing was.

    A move whose replacement was lost, or that cannot be carried on, is turned back: what still
    runs counts as placed again, up to what is missing.

    Args:
        demand: on which nothing could be decided that places all.
        decision: the one that could not.
    """
    missing = demand.replicas - decision.replicas
    if demand.strategy == "Duplicated":
        missing = demand.replicas * len(demand.placed)
    placed: list[PlacedReplicas] = []
    for one in demand.placed:
        back = 0
        if one.phase == "Withdrawing" and one.site not in decision.ended:
            back = min(one.replicas, max(missing, 0))
        missing -= back
        if back:
            placed.append(msgspec.structs.replace(one, replicas=back, phase="Running"))
        if one.replicas > back:
            placed.append(msgspec.structs.replace(one, replicas=one.replicas - back))
    after = tuple(placed)
    return None if after == demand.placed else msgspec.structs.replace(demand, placed=after)
