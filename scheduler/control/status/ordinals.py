"""The range of ordinals of each site's share, so that no ordinal runs at two sites. Pure.

A site keeps what it runs of its range; ordinals that it did not run until now wait until no other
site can run them: every site whose range became smaller has confirmed the smaller order, and every
site that was left has confirmed that nothing is there. All of that is in the status, so that a kill
between two steps changes nothing.
"""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from scheduler.control.status.conditions import MAX_SITES_LISTED
from scheduler.control.status.migration import UNSEEN, SiteShare, SiteView, health_of
from scheduler.model.demand.ordinals import OrdinalRange, format_ordinals, lay_out
from scheduler.model.formatters import format_list
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.policy import Identity
from scheduler.model.kinds.workload import SiteOrdinals


def has_ordinals(identity: Identity | None, before: Mapping[str, SiteShare]) -> bool:
    """Whether shares have ranges: asked for, or left over in a set that is to be whole again."""
    if identity == "Whole":
        return any(one.ordinals is not None for one in before.values())
    return identity == "Ranges"


def ordered_ordinals(share: SiteShare) -> OrdinalRange | None:
    """The ordinals that the order of a share asks for; None: it has no range."""
    if share.ordinals is None:
        return None
    return OrdinalRange(share.ordinals.first + share.ordinals.waiting_before, share.ordered)


def assign_ordinals(
    shares: Mapping[str, SiteShare],
    before: Mapping[str, SiteShare],
    *,
    generation: int,
    is_new_content: bool,
) -> dict[str, SiteShare]:
    """The shares with their ranges; ordinals that a site does not run yet wait.

    Args:
        shares: the new shares, by site.
        before: the shares until now, by site.
        generation: the generation of orders that change.
        is_new_content: every order changes.
    """
    held = _known_ranges(before, is_ordered=False)
    running = _known_ranges(before, is_ordered=True)
    counts = {site: one.replicas for site, one in shares.items() if one.replicas}
    first_by_site = lay_out({site: one for site, one in held.items() if site in counts}, counts)
    after: dict[str, SiteShare] = {}
    for site, share in shares.items():
        old = before.get(site)
        wanted = OrdinalRange(first_by_site.get(site, 0), share.replicas)
        runs = running.get(site)
        kept = runs.common(wanted) if runs else None
        ended = (old.ordered if old else 0) - (kept.length if kept else 0)
        if old and old.ordinals:
            ended += old.ordinals.releasing
        ordinals = SiteOrdinals(
            first=wanted.first,
            waiting_before=kept.first - wanted.first if kept else 0,
            waiting_after=wanted.end - (kept.end if kept else wanted.first),
            releasing=ended,
        )
        is_same = old is not None and not (old.is_parked or is_new_content) and kept == runs
        newest = old.generation if old and is_same else generation
        newest = share.generation if share.is_parked else newest
        after[site] = replace(share, ordinals=ordinals, generation=newest)
    return after


def _known_ranges(shares: Mapping[str, SiteShare], *, is_ordered: bool) -> dict[str, OrdinalRange]:
    """The ranges that sites hold, or that are ordered; a set at one site alone has all ordinals."""
    having = {site: one for site, one in shares.items() if not one.is_parked}
    ranges: dict[str, OrdinalRange] = {}
    for site, share in having.items():
        if share.ordinals is not None:
            whole = OrdinalRange(share.ordinals.first, share.replicas)
            ordered = ordered_ordinals(share) if is_ordered else whole
        else:
            ordered = OrdinalRange(0, share.ordered) if len(having) == 1 else None
        if ordered is not None and ordered.length > 0:
            ranges[site] = ordered
    return ranges


def release_ordinals(
    shares: Mapping[str, SiteShare],
    views: Mapping[str, SiteView],
    *,
    generation: int,
    are_left_sites_gone: bool,
) -> dict[str, SiteShare]:
    """The shares after what sites confirmed; nothing waits any more once all of it is confirmed.

    Args:
        shares: the shares until now, by site.
        views: what is known of them, by site.
        generation: the generation of orders that become larger.
        are_left_sites_gone: see `with_started_ordinals`.
    """
    after = {site: _with_released(share, views.get(site, UNSEEN)) for site, share in shares.items()}
    releasing = any(one.ordinals and one.ordinals.releasing for one in after.values())
    if releasing or not are_left_sites_gone:
        return after
    return {site: _with_nothing_waiting(one, generation) for site, one in after.items()}


def _with_released(share: SiteShare, view: SiteView) -> SiteShare:
    ordinals = share.ordinals
    if ordinals is None or not ordinals.releasing or not _is_confirmed(share, view):
        return share
    return replace(share, ordinals=msgspec.structs.replace(ordinals, releasing=0))


def _is_confirmed(share: SiteShare, view: SiteView) -> bool:
    """Whether a site runs nothing but what its order asks for.

    A report counts pods without their ordinals: as many as are asked for, and all of them ready.
    """
    state = view.state
    if view.is_silent or not view.is_current or state is None or state.bound is None:
        return False
    if state.bound > share.ordered:
        return False
    is_applied = (state.applied_generation or 0) >= share.generation <= state.generation
    return is_applied and (not share.ordered or health_of(share, view) == "running")


def _with_nothing_waiting(share: SiteShare, generation: int) -> SiteShare:
    if share.ordinals is None or not share.waiting:
        return share
    ordinals = msgspec.structs.replace(share.ordinals, waiting_before=0, waiting_after=0)
    return replace(share, ordinals=ordinals, generation=generation, has_run=False)


def waiting_ordinals_condition(shares: Mapping[str, SiteShare]) -> Condition | None:
    """`Moving` while ordinals wait until another site does not run them any more."""
    texts: list[str] = []
    for site, share in sorted(shares.items()):
        if share.ordinals is None or not share.waiting:
            continue
        first, before = share.ordinals.first, share.ordinals.waiting_before
        parts = (
            format_ordinals(first, before),
            format_ordinals(first + before + share.ordered, share.ordinals.waiting_after),
        )
        texts.append(f"{site} ({', '.join(part for part in parts if part)})")
    if not texts:
        return None
    return Condition(
        type="Moving",
        status="True",
        reason="WaitsForOrdinals",
        message="ordinals start when no other site can run them: "
        + format_list(texts, MAX_SITES_LISTED),
    )
