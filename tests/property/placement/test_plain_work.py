"""The quick ways of a decision give what the general ones give, byte for byte.

Plain work (`plain.py`) and nested levels among the cheapest sites of each group.
"""

from random import Random

import pytest
from msgspec.structs import replace

from benchmarks._city import NOW, MachineType, demands, next_report, site
from scheduler.model.decision import decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.policy import Spread
from scheduler.model.kinds.site import SitePrices
from scheduler.model.manifests.pods import PodShape
from scheduler.placement import plain
from scheduler.placement.choose import choose
from scheduler.placement.divide.spread import spread as spread_module
from scheduler.placement.fleet.fleet import Fleet
from tests.support.tools import require_kernel

FORMS = (
    MachineType("amd64", "intel", 16, 65536, 0, ""),
    MachineType("amd64", "intel", 32, 131072, 2, "T4"),
    MachineType("arm64", "kunpeng", 48, 131072, 0, ""),
)
SHAPES = [
    PodShape(
        requests={"cpu": cpu, "memory": gibibytes * 2**30, "pods": 1},
        gpu_cards=cards,
        gpu_milli=1000 if cards else 0,
    )
    for cpu, gibibytes in ((1000, 2), (4000, 16), (11300, 48))
    for cards in (0, 0, 1)
]
READ_IN_EVERY_WAY = {
    *("key", "uid", "replicas", "unit"),
    # Filter, fit and costs read these, which are the same in every way.
    *("api_kinds", "data_class", "protection_level", "network_zones", "jurisdictions"),
    *("same_province", "home", "allow_list_only", "class_not_allowed", "cpu_vendors"),
    *("architectures", "site_selectors", "tenant_sites", "site_tolerations", "latency"),
    *("prices", "data", "tenant", "immovable", "moves_back_to", "energy_limits"),
    # These say nothing without a field that plain work has not: replicas that run, the strategy
    # Weighted, a preset, groups, a quota or a budget, ranges of ordinals.
    *("mode", "last_group", "evicted", "on_violation", "on_unmet_rules", "failover_mode"),
    *("failover_after_seconds", "weights", "preset_options", "quota", "budget", "first_ordinals"),
    *("evicted_keep", "unready", "preempted"),
    # What ends for work that waits, and what follows of a rollout, is chosen after either way.
    *("preemption", "victims", "reclaim", "rollout"),
    # Two decisions without this field are compared, before either way is taken.
    "rebalance",
    # One decision reads none of these: queue, gangs, quota usage and identities do.
    *("priority", "gang", "claims", "numbered_set"),
}
"""The fields of a demand that plain work may have."""


def test_every_field_of_a_demand_is_plain_or_read_in_every_way() -> None:
    assert set(Demand.__struct_fields__) == READ_IN_EVERY_WAY | set(plain.PLAIN_FIELDS)
    assert not READ_IN_EVERY_WAY & set(plain.PLAIN_FIELDS)


def fleet_of(count: int, random: Random) -> Fleet:
    """Sites of which many cost the same, and some an unknown amount."""
    return Fleet([_priced(site(number, 3, FORMS, random), random) for number in range(count)])


def _priced(facts: SiteFacts, random: Random) -> SiteFacts:
    alike = SitePrices(energy_cny_per_kwh=0.5, core_cny_per_hour=0.05)
    prices = random.choice((facts.spec.prices, facts.spec.prices, alike, SitePrices()))
    return replace(facts, spec=replace(facts.spec, prices=prices))


def both_ways(
    fleet: Fleet, asked: list[Demand], monkeypatch: pytest.MonkeyPatch, target: str, random: Random
) -> list[str]:
    """Decides in the quick way and without it; returns the phases of the decisions."""
    phases: list[str] = []
    for number, demand in enumerate(asked):
        quick = choose(demand, fleet, now=NOW)
        with monkeypatch.context() as patch:
            patch.setattr(target, lambda *_: None)
            general = choose(demand, fleet, now=NOW)
        assert decision_bytes(quick) == decision_bytes(general)
        fleet.assume(demand, quick)
        phases.append(quick.phase)
        if number % 10 == 9:
            name = random.choice(sorted(fleet.slot_of))
            fleet.upsert(next_report(fleet.facts_of(name), random))
    return phases


@pytest.mark.parametrize("least", [16, 256])
def test_plain_work_gets_the_decision_of_the_general_way(
    least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_kernel()
    monkeypatch.setattr("scheduler.placement.divide.divide.MIN_SITES_TO_CACHE_FULL", least)
    random = Random(least)  # noqa: S311 - a test, seeded
    fleet = fleet_of(60, random)
    asked = [replace(each, spread=()) for each in demands(SHAPES, 150, random)]
    phases = both_ways(
        fleet, asked, monkeypatch, "scheduler.placement.choose.choose_plainly", random
    )
    assert set(phases) == {"Placed", "Waiting", "Refused"}


@pytest.mark.parametrize("seed", range(2))
def test_the_cheapest_sites_of_each_group_give_the_division_over_all(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_kernel()
    random = Random(seed)  # noqa: S311 - a test, seeded
    fleet = fleet_of(120, random)
    found = []
    by_groups = spread_module.divide_cheapest_of_groups
    target = "scheduler.placement.divide.spread.spread.divide_cheapest_of_groups"

    def counted(*arguments: object) -> object:
        division = by_groups(*arguments)  # type: ignore[arg-type] # passed on as they are
        found.append(division is not None)
        return division

    monkeypatch.setattr(target, counted)
    asked = [
        replace(
            each,
            replicas=min(each.replicas, 12),
            spread=random.choice(
                (
                    (
                        Spread(by="province", min_groups=2, max_per_group=random.randrange(2, 9)),
                        Spread(by="city", min_groups=random.randrange(2, 4)),
                    ),
                    (Spread(by="province", max_groups=2), Spread(by="city", max_per_group=2)),
                    (Spread(by="city", min_groups=2), Spread(by="site", max_per_group=2)),
                    (Spread(by="province", min_groups=3, max_groups=4),),
                )
            ),
        )
        for each in demands(SHAPES, 120, random)
    ]
    assert "Placed" in both_ways(fleet, asked, monkeypatch, target, random)
    assert any(found), "the quick way found nothing"
