"""A search that ends at its limit reports that it has no proof, and the remaining gap."""

from random import Random

import pytest

from scheduler.model.decision import Decision
from scheduler.placement.choose import choose
from scheduler.placement.divide.spread import search as spread_search
from tests.support.sites import NOW, Raw, demand, fleet_of, nodes, site, workload

SITES, PLACES, REPLICAS = 70, 10, 27


def crossed(random: Random) -> list[Raw]:
    """Sites of ten provinces and ten providers that cross each other."""
    found = []
    for number in range(SITES):
        province, provider = "ABCDEFGHIJ"[random.randrange(PLACES)], random.randrange(PLACES)
        spec = {
            "location": {"province": f"CN-{province}A"},
            "provider": f"p{provider}",
            "energy": {"pue": 1.0},
            "prices": {"energyCnyPerKwh": 0.1, "coreCnyPerHour": random.randrange(1, 99) / 100},
        }
        grams = {"gco2PerKwh": 100, "origin": "yearly"}
        found.append(site(f"m{number}", nodes(random.randrange(1, 5)), spec=spec, intensity=grams))
    return found


def spread(seed: int) -> Decision:
    bounds = {"maxPerGroup": 5, "minGroups": 5, "maxGroups": 6}
    rules = [{"by": by, **bounds} for by in ("province", "provider")]
    sites = crossed(Random(seed))  # noqa: S311 - the same sites every time
    return choose(
        demand(workload(REPLICAS, placement={"spread": rules})), fleet_of(*sites), now=NOW
    )


@pytest.mark.parametrize("seed", [7, 11])
def test_an_unproven_division_is_not_called_optimal_and_the_gap_is_true(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    proven = spread(seed)
    assert (proven.phase, proven.optimal, proven.gap) == ("Placed", True, 0.0)
    monkeypatch.setattr(spread_search, "_MAX_NODES", 1)
    bounded = spread(seed)
    assert (bounded.phase, bounded.replicas, bounded.optimal) == ("Placed", REPLICAS, False)
    assert bounded.gap is not None
    assert bounded.gap > 0
    least, most = proven.cost.cny_per_hour, bounded.cost.cny_per_hour
    assert least is not None
    assert most is not None
    assert most * (1 - bounded.gap) - 1e-9 <= least <= most + 1e-9
