"""The figures that several surfaces show."""

import msgspec

from scheduler.model.figures import (
    UNKNOWN_SITE,
    SiteFigures,
    fleet_totals,
    format_readiness,
    readiness_of,
    share_figures,
    site_figures,
)
from scheduler.model.kinds.site import (
    Headroom,
    Intensity,
    NodeClass,
    Power,
    SiteEnergy,
    SiteSpec,
    SiteStatus,
)
from scheduler.model.kinds.workload import (
    MAX_EXCEPTIONS,
    PlacementGroup,
    PlacementStatus,
    SiteHealth,
    WorkloadStatus,
)

SPEC = SiteSpec(energy=SiteEnergy(pue=1.5))
STATUS = SiteStatus(
    power=Power(watts=2000.0, origin="measured"),
    intensity=Intensity(gco2_per_kwh=400.0, origin="yearly"),
    node_classes=(NodeClass(free=({"cpu": "1500m", "count": 3}, {"cpu": 2})),),
)


def status_with(sites: int, exceptions: tuple[SiteHealth, ...]) -> WorkloadStatus:
    names = tuple(f"site-{number:03}" for number in range(sites))
    group = PlacementGroup(sites=names, replicas=6, generation=1, phase="Running")
    return WorkloadStatus(
        replicas=6 * sites,
        ready=6,
        placement=PlacementStatus(groups=(group,)),
        exceptions=exceptions,
    )


def test_emission_is_power_times_pue_times_intensity() -> None:
    figures = site_figures(SPEC, STATUS, is_reporting=True)
    assert figures == SiteFigures(6.5, 2000.0, 400.0, 1200.0)
    assert figures.free_cpu == "6.5"


def test_a_silent_site_has_no_figure() -> None:
    assert site_figures(SPEC, STATUS, is_reporting=False) == UNKNOWN_SITE
    assert UNKNOWN_SITE.free_cpu == ""


def test_what_a_report_lacks_is_unknown_and_not_zero() -> None:
    assert site_figures(SPEC, SiteStatus(), is_reporting=True) == UNKNOWN_SITE
    no_pue = site_figures(SiteSpec(), STATUS, is_reporting=True)
    assert (no_pue.watts, no_pue.gco2_per_hour) == (2000.0, None)
    no_cpu = SiteStatus(node_classes=(NodeClass(free=({"memory": 5},)),))
    assert site_figures(SPEC, no_cpu, is_reporting=True).free_cores is None


def test_free_cpu_is_less_the_headroom_rounded_down_for_each_node() -> None:
    spec = msgspec.structs.replace(SPEC, headroom=Headroom(ratio=0.5))
    odd = SiteStatus(node_classes=(NodeClass(free=({"cpu": "1001m", "count": 2},)),))
    assert site_figures(spec, odd, is_reporting=True).free_cpu == "1"


def test_totals_say_of_how_many_sites_they_are() -> None:
    known = SiteFigures(watts=2000.0, gco2_per_hour=1200.0)
    no_grid = SiteFigures(watts=500.0)
    assert fleet_totals([known, known]).power_text == "4.0 kW"
    some = fleet_totals([known, no_grid, UNKNOWN_SITE])
    assert some.power_text == "2.5 kW of 2 of 3 sites"
    assert some.carbon_text == "1.2 kgCO2e/h of 1 of 3 sites"
    assert (some.as_json()["sitesOfUnknownPower"], some.as_json()["sitesOfUnknownEmission"]) == (
        1,
        2,
    )
    none = fleet_totals([UNKNOWN_SITE])
    assert (none.watts, none.power_text) == (None, "unknown kW")


def test_a_measured_zero_is_a_figure() -> None:
    assert fleet_totals([SiteFigures(watts=0.0, gco2_per_hour=0.0)]).power_text == "0.0 kW"


def test_replicas_at_a_silent_site_are_unknown() -> None:
    exceptions = (SiteHealth(site="site-000", silent=True), SiteHealth(site="site-001", ready=9))
    ready = [share.ready for share in share_figures(status_with(3, exceptions))]
    assert ready == [None, 6, 6]


def test_nothing_is_known_of_the_sites_after_a_full_list() -> None:
    exceptions = tuple(
        SiteHealth(site=f"site-{number:03}", silent=True) for number in range(1, MAX_EXCEPTIONS + 1)
    )
    ready = [share.ready for share in share_figures(status_with(MAX_EXCEPTIONS + 3, exceptions))]
    assert ready == [6, *[None] * (MAX_EXCEPTIONS + 2)]


def test_readiness_is_that_of_the_status_also_of_one_written_before_there_was_the_field() -> None:
    assert format_readiness(None, 6) == "?/6"
    assert readiness_of(WorkloadStatus(readiness="?/6", replicas=6, ready=0)) == "?/6"
    assert readiness_of(WorkloadStatus(replicas=6, ready=4)) == "4/6"
    assert readiness_of(WorkloadStatus()) == ""
