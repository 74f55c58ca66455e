"""The decision as a library: over arrays of one's own, without a hub, a broker or files.

docs/library.md explains it by an example. The names are exported by `scheduler.placement`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite, isnan
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scheduler.model.decision import Decision, Explanation, SuggestedChange
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import site_facts_of
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.fields import Condition, Origin
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.rights import SiteGrant, SiteGrantSpec
from scheduler.model.kinds.site import (
    Intensity,
    Location,
    NodeClass,
    Site,
    SiteEnergy,
    SitePrices,
    SiteSpec,
    SiteStatus,
)
from scheduler.model.kinds.workload import Workload, WorkloadSpec
from scheduler.model.quantities import CPU
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]
_DEFAULT_PODS: Final = 110
"""The pods of a node that no array names, as kubelets have it."""


class ArraysDoNotFit(ValueError):
    """The arrays contradict each other or hold a figure that cannot be; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteArrays:
    """What is known of sites; every array has one element for each of `names`. NaN: not known.

    Attributes:
        names: the sites.
        provinces: where each is, such as "CN-GD"; empty: not known of any.
        pue: total power over IT power.
        gco2_per_kwh: carbon intensity of the grid, in grams of CO2 per kWh.
        energy_cny_per_kwh: price of electricity.
        core_cny_per_hour: price of a core-hour.
        origin: where `pue` and `gco2_per_kwh` come from.
    """

    names: Sequence[str]
    provinces: Sequence[str] = ()
    pue: ArrayLike | None = None
    gco2_per_kwh: ArrayLike | None = None
    energy_cny_per_kwh: ArrayLike | None = None
    core_cny_per_hour: ArrayLike | None = None
    origin: Origin = "assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeArrays:
    """What nodes have free; every array has one element for each node.

    Attributes:
        site: the position of its site in `SiteArrays.names`.
        free: by resource: cores for cpu, bytes for memory, cards for nvidia.com/gpu, pods; NaN: the
            node has not said, so it takes no pod that requests it. Without `pods`: 110 each.
        architectures: of each node; empty: amd64.
    """

    site: ArrayLike
    free: Mapping[str, ArrayLike]
    architectures: Sequence[str] = ()


@dataclass(slots=True)
class _NodeRows:
    """The nodes of one site: how many have which free amounts, by architecture."""

    counts: dict[str, Counter[tuple[tuple[str, float], ...]]] = field(default_factory=dict)

    def classes(self) -> tuple[NodeClass, ...]:
        """The nodes as a report has them."""
        return tuple(
            NodeClass(
                architecture=architecture,
                free=tuple({"count": count, **dict(row)} for row, count in rows.items()),
            )
            for architecture, rows in self.counts.items()
        )


def fleet_from_arrays(
    sites: SiteArrays, nodes: NodeArrays, *, grant: SiteGrantSpec, now: datetime
) -> Fleet:
    """A fleet of sites that report now, and that all have the same grant.

    Args:
        sites: what is known of the sites.
        nodes: what their nodes have free.
        grant: what the authority lets the sites hold; its `sites` are replaced by all of them. A
            field that is left out grants the least.
        now: the time of the figures; aware.

    Raises:
        ArraysDoNotFit: arrays are of different lengths, or hold what cannot be.
    """
    if len(set(sites.names)) != len(sites.names) or not all(sites.names):
        raise ArraysDoNotFit("names: each site needs a name of its own")
    rows = _rows_by_site(nodes, len(sites.names))
    rights = SiteGrant(
        metadata=Metadata(name="library"),
        spec=msgspec.structs.replace(grant, sites=tuple(sites.names)),
    )
    fleet = Fleet()
    for site in _sites(sites, rows, now):
        fleet.upsert(site_facts_of(site, [rights]))
    return fleet


def demand_from_spec(key: str, spec: Mapping[str, Any]) -> Demand:
    """What a workload asks, from `spec` as a Workload has it.

    Args:
        key: its namespace and name, as `health/web`.
        spec: such as {"dataClass": "general-2", "demand": {"replicas": 3, "requests": {"cpu": 1}}}.

    Raises:
        ValueError: it cannot be read or contradicts itself; the message says what to write.
    """
    namespace, _, name = key.rpartition("/")
    try:
        read = msgspec.convert(dict(spec), WorkloadSpec)
    except msgspec.ValidationError as error:
        raise ValueError(f"{key}: {error}") from error
    found = demand_of(Workload(metadata=Metadata(name=name, namespace=namespace), spec=read))
    if isinstance(found, NotAccepted):
        raise ValueError(f"{key}: {found.reason}: {found.message}")  # noqa: TRY004 - the spec is wrong
    return found


def decide(
    demand: Demand, fleet: Fleet, *, now: datetime, terms: Terms = DEFAULT_TERMS
) -> Decision:
    """Decides where a workload runs, and changes nothing: `choose`, without batches."""
    return choose(demand, fleet, now=now, terms=terms)


def explain_decision(
    demand: Demand,
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    decision: Decision | None = None,
) -> Explanation:
    """Every verdict and every cost of a decision, site by site."""
    return explain(demand, fleet, now=now, terms=terms, decision=decision)


def smallest_changes(
    demand: Demand, fleet: Fleet, *, now: datetime, terms: Terms = DEFAULT_TERMS
) -> tuple[SuggestedChange, ...]:
    """The smallest changes with which a demand that is not placed would be, each tried."""
    return suggest_changes(demand, fleet, decision_context(now, terms))


def _sites(sites: SiteArrays, rows: list[_NodeRows], now: datetime) -> Iterator[Site]:
    size = len(sites.names)
    provinces = sites.provinces or [""] * size
    if len(provinces) != size:
        raise ArraysDoNotFit(f"provinces: {len(provinces)} elements for {size} sites")
    pue = _column("pue", sites.pue, size, least=1.0)
    intensity = _column("gco2_per_kwh", sites.gco2_per_kwh, size)
    price = _column("energy_cny_per_kwh", sites.energy_cny_per_kwh, size, least=-1e6)
    core = _column("core_cny_per_hour", sites.core_cny_per_hour, size, least=-1e6)
    ready = Condition(type="Ready", status="True", reason="Reporting")
    for at, name in enumerate(sites.names):
        energy = SiteEnergy(pue=pue[at], pue_origin=sites.origin if pue[at] else "unknown")
        grams = intensity[at]
        yield Site(
            metadata=Metadata(name=name),
            spec=SiteSpec(
                location=Location(province=provinces[at]),
                energy=energy,
                prices=SitePrices(energy_cny_per_kwh=price[at], core_cny_per_hour=core[at]),
            ),
            status=SiteStatus(
                observed_at=now,
                conditions=(ready,),
                intensity=None
                if grams is None
                else Intensity(gco2_per_kwh=grams, origin=sites.origin, observed_at=now),
                node_classes=rows[at].classes(),
            ),
        )


def _column(
    name: str, written: ArrayLike | None, size: int, *, least: float = 0.0
) -> list[float | None]:
    """The figures of an array; None: not known."""
    if written is None:
        return [None] * size
    values = _floats(name, written, size)
    if np.any(np.isinf(values)) or np.any(values < least):
        raise ArraysDoNotFit(f"{name}: every figure is {least:g} or more, or NaN for unknown")
    return [None if isnan(value) else value for value in values.tolist()]


def _floats(name: str, written: ArrayLike, size: int) -> Floats:
    values = np.asarray(written, dtype=np.float64)
    if values.shape != (size,):
        raise ArraysDoNotFit(f"{name}: shape {values.shape}, expected ({size},)")
    return values


def _rows_by_site(nodes: NodeArrays, sites: int) -> list[_NodeRows]:
    at_site = np.asarray(nodes.site)
    size = at_site.shape[0] if at_site.ndim == 1 else -1
    if size < 0 or not np.issubdtype(at_site.dtype, np.integer):
        raise ArraysDoNotFit("site: expected one whole number for each node")
    if size and not 0 <= int(at_site.min()) <= int(at_site.max()) < sites:
        raise ArraysDoNotFit(f"site: every number is from 0 to {sites - 1}")
    architectures = nodes.architectures or ["amd64"] * size
    if len(architectures) != size:
        raise ArraysDoNotFit(f"architectures: {len(architectures)} elements for {size} nodes")
    free = {name: _floats(f"free[{name!r}]", one, size) for name, one in nodes.free.items()}
    free.setdefault("pods", np.full(size, _DEFAULT_PODS, np.float64))
    found = [_NodeRows() for _ in range(sites)]
    for node, (at, architecture) in enumerate(zip(at_site.tolist(), architectures, strict=True)):
        row = tuple(_amounts(free, node))
        found[at].counts.setdefault(architecture, Counter())[row] += 1
    return found


def _amounts(free: Mapping[str, Floats], node: int) -> Iterator[tuple[str, float]]:
    """What one node has free; parts of a byte or card are left out."""
    for name, column in free.items():
        value = float(column[node])
        if isnan(value):
            continue
        if not isfinite(value) or value < 0:
            raise ArraysDoNotFit(f"free[{name!r}]: every figure is 0 or more, or NaN for unknown")
        yield name, value if name == CPU else int(value)
