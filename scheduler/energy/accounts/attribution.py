"""Divides a site's energy among those that used it, so that the parts add up to the meter.

Each workload counts with the power that its bound pods add by the model. What the meter says beyond
that is idle power and work that is not Kapok's: it is its own part, `SITE_ITSELF`, and no tenant
pays for it unasked. Where the model says more than the meter, all are scaled down. Parts are whole
joules by the largest remainder, so their sum is the meter's to the last one.
"""

from collections.abc import Mapping
from math import isfinite

SITE_ITSELF = ""
"""Idle power and what is not Kapok's."""


def attribute_joules(metered_joules: int, modelled_joules: Mapping[str, float]) -> dict[str, int]:
    """The parts of a meter's energy by user; they add up to it exactly.

    Args:
        metered_joules: what the meter says, 0 or more.
        modelled_joules: what each user drew by the model; figures that are no number count as 0.

    Raises:
        ValueError: the meter's figure is negative.
    """
    if metered_joules < 0:
        raise ValueError(f"a meter cannot say {metered_joules} J")
    drawn = {
        user: joules
        for user, joules in modelled_joules.items()
        if isfinite(joules) and joules > 0 and user != SITE_ITSELF
    }
    modelled = sum(drawn.values())
    scale = 1.0 if modelled <= metered_joules else metered_joules / modelled
    exact = {user: joules * scale for user, joules in drawn.items()}
    parts = {user: int(joules) for user, joules in exact.items()}
    if modelled >= metered_joules:
        # Nothing is left for the site itself; the joules that rounding took go by remainder.
        short = metered_joules - sum(parts.values())
        by_remainder = sorted(exact, key=lambda user: (parts[user] - exact[user], user))
        for user in by_remainder[: max(0, short)]:
            parts[user] += 1
    parts[SITE_ITSELF] = metered_joules - sum(parts.values())
    if parts[SITE_ITSELF] < 0:  # floats of very large sums may round up
        largest = max(exact, key=lambda user: (parts[user], user))
        parts[largest] += parts[SITE_ITSELF]
        parts[SITE_ITSELF] = 0
    return {user: joules for user, joules in sorted(parts.items()) if joules}


def sum_by_tenant(parts: Mapping[str, int], tenant_of: Mapping[str, str]) -> dict[str, int]:
    """Parts of workloads summed by tenant; a workload of no tenant belongs to the site itself.

    Args:
        parts: joules by workload.
        tenant_of: the tenant of each workload.
    """
    found: dict[str, int] = {}
    for workload, joules in parts.items():
        tenant = tenant_of.get(workload, SITE_ITSELF)
        found[tenant] = found.get(tenant, 0) + joules
    return found
