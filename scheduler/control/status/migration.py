"""The share of each site of a workload, and how replicas move: the replacement first. Pure.

A share has two parts: replicas that stay, and replicas that are leaving, which run until their
replacement runs. The order of a site asks for the sum, so the leaving part changes nothing there
until it ends. In `Workload.status.placement.groups` the leaving part is a group of its own, in
phase Withdrawing, with the sites that replace it, so that a scheduler that is killed in between
continues from there.

Rules:

- replicas beyond a site's new share end at once only as far as no new replicas are to come up
  elsewhere instead (fewer replicas are requested), or by an eviction, violation or preemption rule;
- leaving replicas end when every site that replaces them runs its whole share by its newest order;
- while nothing replaces them, they stay;
- a site where all replicas are leaving keeps the content that it runs, whatever the spec is now;
- numbered pods (`placement.identity: Whole`) never run at two sites: the old site ends first, and
  the new one gets its order when the old one confirms it; with ranges of ordinals (`Ranges`) the
  same holds for each ordinal (`ordinals.py`);
- while nothing runs anywhere (0 replicas are requested, a taint evicted all, or all ended for other
  work), the sites keep an order of 0 replicas, so that services, settings and claims stay.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from scheduler.control.ports.agents import OrderState
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.kinds.workload import NodePin, PlacementGroup, SiteOrdinals
from scheduler.model.remembered import remembered

MAX_REPLACING = 64
"""A group names at most this many replacing sites; with this many, all staying sites must run."""

BAD_PHASES = frozenset({"Failed", "Conflict", "Refused"})

_TAINT = "taint"

Health = Literal["placing", "running", "finished", "failed", "silent"]


@dataclass(frozen=True, slots=True)
class SiteShare:
    """The share of one site of a workload.

    Attributes:
        replicas: replicas that stay.
        generation: generation of the order that asks for `ordered` replicas.
        leaving: further replicas that run until their replacement runs.
        replaced_by: the sites that must run before `leaving` ends.
        violates: the reason slug of the right that the replicas break; empty: none.
        has_run: all `replicas` have run by the order of this generation before.
        is_parked: nothing runs anywhere, and this site keeps an order of 0 replicas.
        completions: its part of the completions of a Job; None: they are not divided.
        ordinals: its range of ordinals; None: its replicas have none of their own.
        pin: what its pods require of nodes; None: only what the manifests say.
        is_former: it has the content before the one that is being rolled out.
    """

    replicas: int
    generation: int
    leaving: int = 0
    replaced_by: tuple[str, ...] = ()
    violates: str = ""
    has_run: bool = False
    is_parked: bool = False
    completions: int | None = None
    ordinals: SiteOrdinals | None = None
    pin: NodePin | None = None
    is_former: bool = False

    @property
    def ordered(self) -> int:
        """The number of replicas that the site's order asks for."""
        return self.replicas + self.leaving - self.waiting

    @property
    def waiting(self) -> int:
        """Replicas whose ordinals another site may still run, so that they are not ordered yet."""
        ordinals = self.ordinals
        return 0 if ordinals is None else ordinals.waiting_before + ordinals.waiting_after

    @property
    def is_withdrawing(self) -> bool:
        """Whether no replica stays."""
        return not self.replicas and not self.is_parked


@dataclass(frozen=True, slots=True)
class SiteView:
    """What is known of a share.

    Attributes:
        state: the state of the order as the site reports it; None: it reports none.
        is_silent: the site does not report, so `state` is old.
        is_unreachable: its agent reports, and cannot reach its cluster; it is silent too.
        is_current: the site reported while it worked by an index that has the present order. If
            not, `state` may be about another content of the same generation, which a hub that was
            restored from a backup can cause.
    """

    state: OrderState | None
    is_silent: bool
    is_current: bool = True
    is_unreachable: bool = False


UNSEEN = SiteView(state=None, is_silent=True)
"""The view of a site of which nothing is known."""


def shares_in(groups: Iterable[PlacementGroup]) -> Mapping[str, SiteShare]:
    """The share of each site, by site, from the groups of a status.

    Of a tuple, as a status holds them, the answer is remembered, and all get the same one: a
    reconciliation asks fifteen times.
    """
    if type(groups) is tuple:
        return _shares_of_groups(groups)
    return _read_shares(groups)


def replicas_staying(groups: Iterable[PlacementGroup], site: str) -> int:
    """The replicas that stay at a site, from the groups of a status.

    For loops that ask it of all workloads: they would push what reconciliations have remembered
    out of the memory of `shares_in`, and find nothing of their own there the next time.
    """
    return sum(one.replicas for one in groups if site in one.sites and one.phase != "Withdrawing")


def has_leaving(groups: Iterable[PlacementGroup]) -> bool:
    """Whether replicas leave some site, from the groups of a status; for the same loops."""
    return any(one.phase == "Withdrawing" and one.replicas for one in groups)


def _read_shares(groups: Iterable[PlacementGroup]) -> dict[str, SiteShare]:
    shares: dict[str, SiteShare] = {}
    for group in groups:
        leaves = group.phase == "Withdrawing"
        for site in group.sites:
            known = shares.get(site, _NO_SHARE)
            shares[site] = SiteShare(
                replicas=known.replicas + (0 if leaves else group.replicas),
                leaving=known.leaving + (group.replicas if leaves else 0),
                generation=max(known.generation, group.generation),
                replaced_by=group.replaced_by if leaves else known.replaced_by,
                violates=group.violates or known.violates,
                has_run=known.has_run or group.phase == "Running",
                is_parked=known.is_parked or (not leaves and not group.replicas),
                completions=known.completions if group.completions is None else group.completions,
                ordinals=group.ordinals or known.ordinals,
                pin=group.pin or known.pin,
                is_former=known.is_former or group.former,
            )
    return shares


_NO_SHARE = SiteShare(0, 0)
_shares_of_groups = remembered(_read_shares)


def health_of(share: SiteShare, view: SiteView) -> Health:
    """The health of a share by what its site reports."""
    if view.is_silent:
        return "silent"
    state = view.state
    if state is None or state.generation < share.generation:
        return "placing"
    if not (view.is_current or share.has_run):
        return "placing"
    if is_finished(state):
        return "failed" if state.finished == "Failed" or state.not_run else "finished"
    if state.phase in BAD_PHASES or state.recreated:
        return "failed"
    applied = (state.applied_generation or 0) >= share.generation
    return "running" if applied and state.phase == "Ready" else "placing"


def is_finished(state: OrderState) -> bool:
    """Whether every job of an order has ended; the result may be unknown."""
    return bool(state.finished) or state.phase == "Finished"


def next_shares(
    before: Mapping[str, SiteShare],
    decision: Decision,
    views: Mapping[str, SiteView],
    *,
    generation: int,
    is_new_content: bool,
    known_sites: set[str],
    may_overlap: bool = True,
    unready_sites: Collection[str] = (),
    former_sites: Collection[str] = (),
) -> dict[str, SiteShare]:
    """The shares after a decision.

    Args:
        before: the shares until now, by site.
        decision: says where replicas stay.
        views: what is known of `before`, by site; of a missing site nothing is known.
        generation: the generation of orders that change.
        is_new_content: every order changes, except those of sites where all replicas are leaving.
        known_sites: sites that exist; a share at another site is dropped.
        may_overlap: replicas may run at their old and at their new site at the same time. False
            for numbered pods: none of them is to run twice, so none waits for its replacement.
        unready_sites: sites with replicas that are replaced because they are not ready. All of
            these stay ordered, so that they can stay if the replacement is not ready either.
        former_sites: sites that have the content before the one that is being rolled out; where
            they have it already, new content changes nothing.
    """
    targets = {one.site: one.replicas for one in decision.assignment if one.replicas > 0}
    held = {
        site: share
        for site, share in before.items()
        if site in known_sites and site not in decision.ended
    }
    for site, count in decision.preempted.items():  # these end whatever replaces them
        if site in held:
            held[site] = replace(held[site], replicas=max(0, held[site].replicas - count))
    awaited = {site for share in before.values() for site in share.replaced_by}
    leaving, replacing = _replicas_leaving(held, targets, views, awaited, unready_sites)
    if not may_overlap:
        leaving = {}
    shares: dict[str, SiteShare] = {}
    for site in sorted(targets.keys() | leaving.keys()):
        old = before.get(site)
        fresh = SiteShare(
            replicas=targets.get(site, 0),
            generation=generation,
            leaving=leaving.get(site, 0),
            replaced_by=replacing if site in leaving else (),
            violates=decision.violations.get(site, ""),
            is_former=site in former_sites if site in targets else bool(old and old.is_former),
        )
        is_same = fresh.is_withdrawing or has_same_content(old, fresh, is_new=is_new_content)
        if old and old.ordered == fresh.ordered and is_same:
            fresh = replace(fresh, generation=old.generation)
        shares[site] = fresh
    return shares or _parked(before, decision, generation, is_new_content, known_sites)


def has_same_content(old: SiteShare | None, fresh: SiteShare, *, is_new: bool) -> bool:
    """Whether a share keeps its content; `is_new` says that the one of the spec has changed."""
    if old is not None and old.is_former != fresh.is_former:
        return False
    return fresh.is_former or not is_new


def with_pins(
    shares: Mapping[str, SiteShare],
    before: Mapping[str, SiteShare],
    pin_at: Callable[[str, Mapping[str, SiteShare]], NodePin | None],
    generation: int,
) -> dict[str, SiteShare]:
    """The shares with what pods require of nodes; an order for which that changes is a new one.

    Args:
        shares: the new shares, by site.
        before: the shares until now, by site.
        pin_at: the pin of a site where some replicas stay, by site and the shares until now.
        generation: the generation of orders that change.
    """
    after: dict[str, SiteShare] = {}
    for site, share in shares.items():
        old = before.get(site)
        keeps_former = share.is_former and old is not None and old.is_former
        is_held = share.is_withdrawing or share.is_parked or keeps_former
        pin = (old.pin if old else None) if is_held else pin_at(site, before)
        is_other = old is not None and not is_held and pin != old.pin
        newest = generation if is_other else share.generation
        is_same = pin == share.pin and newest == share.generation
        after[site] = share if is_same else replace(share, pin=pin, generation=newest)
    return after


def _parked(
    before: Mapping[str, SiteShare],
    decision: Decision,
    generation: int,
    is_new_content: bool,  # noqa: FBT001 - private
    known_sites: set[str],
) -> dict[str, SiteShare]:
    """Orders of 0 replicas, where something ran until now and may come back.

    A site that lost its right, or that is gone, gets none: its order is withdrawn.
    """
    parked: dict[str, SiteShare] = {}
    for site, share in sorted(before.items()):
        may_stay = (
            site not in decision.ended
            or decision.ended_by.get(site) == _TAINT
            or site in decision.preempted
        )
        if site not in known_sites or share.is_withdrawing or not may_stay:
            continue
        is_same = share.is_parked and not (is_new_content or share.is_former)
        kept = share.generation if is_same else generation
        parked[site] = SiteShare(replicas=0, generation=kept, is_parked=True)
    return parked


def _replicas_leaving(
    held: Mapping[str, SiteShare],
    targets: Mapping[str, int],
    views: Mapping[str, SiteView],
    awaited_sites: set[str],
    unready_sites: Collection[str],
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Replicas that keep running beyond the new share, by site, and the sites that replace them.

    Sites that a former move waits for are waited for further, whatever the new shares are.
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
    leaving = _replicas_kept_for(sum(pending.values()), held, targets, views, unready_sites)
    return leaving, tuple(sorted(pending))[:MAX_REPLACING]


def _replicas_kept_for(
    missing: int,
    held: Mapping[str, SiteShare],
    targets: Mapping[str, int],
    views: Mapping[str, SiteView],
    unready_sites: Collection[str],
) -> dict[str, int]:
    """Surplus replicas that cover `missing` ones, by site; those known to run are taken first."""
    beyond: list[tuple[int, str, int]] = []  # (minus replicas known to run, site, surplus)
    for site, share in held.items():
        view, target = views.get(site, UNSEEN), targets.get(site, 0)
        most = share.ordered if site in unready_sites else _max_running(share, view)
        surplus = most - target
        if surplus > 0:
            sure = max(0, min(_min_running(share, view) - target, surplus))
            beyond.append((-sure, site, surplus))
    leaving: dict[str, int] = {}
    for sure, site, surplus in sorted(beyond):  # most known to run first, then by name
        if missing > 0:
            leaving[site] = min(surplus, missing)
            missing -= min(-sure, missing)
    return leaving


def _max_running(share: SiteShare, view: SiteView) -> int:
    """The most replicas of a share that may be running; all unless the site reports fewer.

    Pods on nodes count, ready or not: a probe that fails for a moment must not end a service.
    """
    state = view.state
    if view.is_silent or state is None or state.generation < share.generation:
        return share.ordered
    if state.bound is None and state.ready is None:
        return share.ordered
    return min(share.ordered, max(state.bound or 0, state.ready or 0))


def _min_running(share: SiteShare, view: SiteView) -> int:
    """The replicas of a share that are known to be ready."""
    if view.is_silent or view.state is None:
        return 0
    return min(share.ordered, view.state.ready or 0)


def without_replaced(
    shares: Mapping[str, SiteShare], healths: Mapping[str, Health], generation: int
) -> dict[str, SiteShare]:
    """The shares without the leaving replicas whose replacement runs.

    Args:
        shares: the shares until now, by site.
        healths: health by site, for every site with replicas that stay.
        generation: the generation of orders that become smaller.
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


def has_unreplaced(shares: Mapping[str, SiteShare]) -> bool:
    """Whether replicas are leaving and no site that stays replaces them.

    No decision leaves that behind. A Site that is gone does, and someone who writes `/status`.
    """
    stay = {site for site, one in shares.items() if one.replicas}
    return any(one.leaving and stay.isdisjoint(one.replaced_by) for one in shares.values())


def revert_migration(demand: Demand, decision: Decision) -> Demand | None:
    """The demand with leaving replicas counted as staying again; None when nothing is leaving.

    A move that lost its replacement, or that cannot be carried on, is reverted: what still runs
    counts as placed again, up to the number of replicas that are missing.

    Args:
        demand: the demand on which not all replicas could be placed.
        decision: that decision.
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
