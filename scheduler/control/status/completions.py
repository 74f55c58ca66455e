"""The part of a Job's completions that each site has. Pure.

A part is fixed when a site first gets it, because no client can change the completions of
a Job that exists. The parts of all sites, and what was completed at sites that were left, always
add up to the completions of the Job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scheduler.control.status.migration import UNSEEN, SiteShare, SiteView, health_of


def divide_completions(
    shares: Mapping[str, SiteShare],
    before: Mapping[str, SiteShare],
    views: Mapping[str, SiteView],
    *,
    total: int | None,
    completed: int,
) -> tuple[dict[str, SiteShare], int]:
    """The shares with their parts, and what was completed at sites that were left.

    Args:
        shares: the new shares, by site.
        before: the shares until now, by site.
        views: what is known of `before`, by site.
        total: the completions of the Job; None: they are not divided.
        completed: what was completed until now at sites that were left.
    """
    staying = sorted(site for site, share in shares.items() if share.replicas > 0)
    after = {site: _with_former_part(share, before.get(site)) for site, share in shares.items()}
    ran_undivided = any(
        before[site].completions is None and not before[site].is_parked
        for site in staying
        if site in before
    )
    if total is None or ran_undivided:
        return {
            site: share if share.completions is None else replace(share, completions=None)
            for site, share in after.items()
        }, 0
    former_total = completed + sum(share.completions or 0 for share in _running(before))
    if former_total != total:  # another Job: nothing of it was completed yet
        parts = share_out(total, [after[site].replicas for site in staying])
        return _with_parts(after, dict(zip(staying, parts, strict=True))), 0
    for site, share in before.items():
        has_left = not share.is_withdrawing and site not in staying
        if has_left and health_of(share, views.get(site, UNSEEN)) == "finished":
            completed += share.completions or 0
    fixed = {site: one for site in staying if (one := after[site].completions) is not None}
    new = [site for site in staying if site not in fixed]
    rest = total - completed - sum(fixed.values())
    takers = new or staying
    parts = share_out(rest, [after[site].replicas for site in takers])
    more = dict(zip(takers, parts, strict=True))
    return _with_parts(after, {s: fixed.get(s, 0) + more.get(s, 0) for s in staying}), completed


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts in proportion to weights, by largest remainders; of equal ones the first."""
    whole = sum(weights)
    if not whole or total <= 0:
        return [0 for _ in weights]
    parts = [total * weight // whole for weight in weights]
    order = sorted(
        range(len(weights)), key=lambda index: (-(total * weights[index] % whole), index)
    )
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts


def _running(shares: Mapping[str, SiteShare]) -> list[SiteShare]:
    return [share for share in shares.values() if not share.is_withdrawing]


def _with_former_part(share: SiteShare, old: SiteShare | None) -> SiteShare:
    return share if old is None else replace(share, completions=old.completions)


def _with_parts(shares: Mapping[str, SiteShare], parts: Mapping[str, int]) -> dict[str, SiteShare]:
    return {
        site: replace(share, completions=parts[site]) if site in parts else share
        for site, share in shares.items()
    }
