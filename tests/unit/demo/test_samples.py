"""What the demo runs fits together, and teaches what it is meant to teach."""

import pytest

from scheduler.demo.distance import great_circle_km, modelled_milliseconds, round_trips
from scheduler.demo.samples import load_samples, size_names
from scheduler.model.decode import decode
from scheduler.model.kinds.fields import API_VERSION


def test_the_full_demo_has_twelve_sites_and_twenty_four_workloads() -> None:
    city = load_samples("city")
    assert len(city.sites) >= 12
    assert len(city.workloads) >= 24
    assert list(city.clusters) == list(city.sites)


def test_the_small_demo_has_three_sites_and_eight_workloads() -> None:
    small = load_samples("small")
    assert (len(small.sites), len(small.workloads)) == (3, 8)
    granted = {
        name for o in small.prerequisites if o["kind"] == "SiteGrant" for name in o["spec"]["sites"]
    }
    assert granted == set(small.sites)


@pytest.mark.parametrize("size", ["small", "city"])
def test_every_object_of_ours_can_be_read(size: str) -> None:
    samples = load_samples(size)
    for item in [*samples.prerequisites, *samples.sites.values(), *samples.workloads]:
        if item["apiVersion"] == API_VERSION:
            decode(item)


def test_every_site_has_a_grant_and_every_namespace_a_tenant() -> None:
    city = load_samples("city")
    granted = {
        name for o in city.prerequisites if o["kind"] == "SiteGrant" for name in o["spec"]["sites"]
    }
    owned = {
        n for o in city.prerequisites if o["kind"] == "Tenant" for n in o["spec"]["namespaces"]
    }
    made = {o["metadata"]["name"] for o in city.prerequisites if o["kind"] == "Namespace"}
    assert granted == set(city.sites)
    assert {o["metadata"]["namespace"] for o in city.workloads} <= owned == made


def test_the_demo_has_a_mix_of_sites_and_workloads() -> None:
    city = load_samples("city")
    nodes = {name: cluster.nodes for name, cluster in city.clusters.items()}
    arm = {name for name, rows in nodes.items() if any(r.get("architecture") for r in rows)}
    cards = {
        name
        for name, rows in nodes.items()
        if any("nvidia.com/gpu" in r["allocatable"] for r in rows)
    }
    solar_sites = {n for n, o in city.sites.items() if "pvPeakWatts" in o["spec"]["energy"]}
    assert arm
    assert len(cards) == 2
    assert len(solar_sites) == 3
    assert city.clusters["hongkong"].intensity_gco2_per_kwh is None  # unknown, never 0


def test_there_is_a_size_by_each_name() -> None:
    assert set(size_names()) == {"small", "city"}


@pytest.mark.parametrize(
    ("place", "milliseconds"),
    [
        ((24.82, 113.6), 5.8),
        ((26.43, 106.53), 17.5),
        ((30.57, 104.07), 26.6),
        ((22.55, 114.05), 3.1),
    ],
)
def test_modelled_round_trips_are_those_of_the_public_planning_table(
    place: tuple[float, float], milliseconds: float
) -> None:
    assert modelled_milliseconds(great_circle_km((23.13, 113.27), place)) == milliseconds


def test_round_trips_are_to_all_others() -> None:
    sites = load_samples("small").sites
    trips = round_trips(sites, "gz-core")
    assert set(trips) == set(sites) - {"gz-core"}
    assert all(value > 0 for value in trips.values())
