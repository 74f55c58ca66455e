"""Sites that a scenario adds: empty ones like one that exists, or ones that a file describes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice
from math import floor

import msgspec

from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, Grant, SiteFacts
from scheduler.model.kinds.rights import SiteGrant
from scheduler.model.kinds.site import NodeClass
from scheduler.model.quantities import CPU, GPU_MILLI, MILLI_PER_UNIT, parse_quantity
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.scenario.changes import ScenarioError

_COUNT = "count"


def copies_of(
    copy: FleetCopy, facts: SiteFacts, copies: int, used: Mapping[str, int]
) -> list[SiteFacts]:
    """Empty sites like one, named after it, with its grants and prices.

    A report says what is free on the nodes, not what they have. What Kapok placed there is added,
    spread evenly and rounded down, so a copy has no more than the site.

    Args:
        copy: the fleet; the names of its sites are not given again.
        facts: the site.
        copies: how many.
        used: what placed workloads request at the site.
    """
    names = {one.name for one in copy.facts}
    free = (name for name in (f"{facts.name}-{n}" for n in count(2)) if name not in names)
    emptied = _emptied(facts, used)
    return [_named(emptied, name) for name in islice(free, copies)]


def _named(facts: SiteFacts, name: str) -> SiteFacts:
    grants = tuple(
        msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, sites=(name,)))
        for one in facts.grants
    )
    return msgspec.structs.replace(facts, name=name, grants=grants)


def _emptied(facts: SiteFacts, used: Mapping[str, int]) -> SiteFacts:
    """The facts as if nothing that Kapok placed were there."""
    bound = Counter(used)
    for each in facts.in_flight:
        if not each.workload.startswith(RESERVED_FOR_PREFIX):
            bound.subtract({name: n * each.replicas for name, n in each.requests.items()})
    classes = facts.status.node_classes
    nodes = sum(_count_of(row) for one in classes for row in one.free)
    share = {name: amount // nodes for name, amount in bound.items() if nodes and amount > 0}
    status = msgspec.structs.replace(
        facts.status, node_classes=tuple(_with_more(one, share) for one in classes)
    )
    spec = msgspec.structs.replace(facts.spec, cordon=False, drain=None, maintenance=())
    return msgspec.structs.replace(facts, status=status, spec=spec, in_flight=())


def _count_of(row: Mapping[str, object]) -> int:
    return int(parse_quantity(row.get(_COUNT, 1)))  # type: ignore[arg-type]


def _with_more(one: NodeClass, share: Mapping[str, int]) -> NodeClass:
    return msgspec.structs.replace(one, free=tuple(_row_with_more(row, share) for row in one.free))


def _row_with_more(
    row: Mapping[str, int | float | str], share: Mapping[str, int]
) -> dict[str, int | float | str]:
    """A row of free capacity with more of the resources that it has; cards stay as they are."""
    found = dict(row)
    for name, amount in share.items():
        if name not in row or name.startswith(GPU_MILLI):
            continue
        before = parse_quantity(row[name])
        if name == CPU:
            found[name] = f"{floor(before * MILLI_PER_UNIT) + amount}m"
        else:
            found[name] = floor(before) + amount
    return found


def new_sites(copy: FleetCopy, facts: Sequence[SiteFacts], notes: list[str]) -> list[SiteFacts]:
    """Sites of a file, with the grants of the file and those of the copy that name them.

    A site that says nothing of its last report counts as one that reports now.

    Raises:
        ScenarioError: a site exists already.
    """
    names, now = {one.name for one in copy.facts}, copy.objects.now
    known = grants_by_site(copy.objects.grants, {one.name for one in facts})
    found = []
    for one in facts:
        if one.name in names:
            raise ScenarioError(
                f"add: site {one.name} exists; write add {one.name}*1 for another one like it"
            )
        status = msgspec.structs.replace(one.status, observed_at=now)
        by_name = {each.name: each for each in (*known[one.name], *one.grants)}
        grants = tuple(by_name[name] for name in sorted(by_name))
        found.append(msgspec.structs.replace(one, status=status, grants=grants))
        if not one.status.node_classes:
            notes.append(f"{one.name} has no status.nodeClasses, so it takes nothing")
        if not grants:
            notes.append(f"no SiteGrant names {one.name}, so it may hold nothing")
    return found


def grants_by_site(
    grants: Iterable[SiteGrant], sites: Iterable[str]
) -> dict[str, tuple[Grant, ...]]:
    """The grants of these sites as they apply to each, by the names of the grants."""
    found: dict[str, list[Grant]] = {site: [] for site in sites}
    for one in sorted(grants, key=lambda each: each.metadata.name):
        for site in one.spec.sites:
            if site in found:
                spec = msgspec.structs.replace(one.spec, sites=(site,))
                found[site].append(Grant(name=one.metadata.name, spec=spec))
    return {site: tuple(some) for site, some in found.items()}
