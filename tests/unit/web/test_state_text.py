"""What a scrape shows of sites and workloads."""

from dataclasses import replace

import msgspec

from benchmarks._web_state import ROWS_PER_SITE, WebState, name_of
from scheduler.energy.budgets import MonthUse, TenantMonth
from scheduler.model.kinds.kinds import Site, Tenant, Workload
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import Location, SiteSpec
from scheduler.model.kinds.tenant import Budget, TenantSpec
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus, WorkloadStatus
from scheduler.web.metric_definitions.all_metrics import ALL_METRICS
from scheduler.web.metrics import Metrics
from scheduler.web.state_text import format_state
from scheduler.web.tenant_series import MAX_TENANTS
from tests.support.fake_clock import FakeClock


def lines(scene: WebState) -> list[str]:
    return format_state(scene.take_snapshot()).splitlines()


def test_an_unknown_figure_has_no_series() -> None:
    scene = WebState(FakeClock())
    scene.admit(1)
    shown = lines(scene)
    assert 'kapok_site_ready{site="site-00000"} 0' in shown
    assert not [line for line in shown if line.startswith("kapok_site_report_age_seconds{")]
    assert not [line for line in shown if line.startswith("kapok_site_free{")]
    assert not [line for line in shown if line.startswith("kapok_site_power_watts{")]
    assert not [line for line in shown if line.startswith("kapok_site_emission")]


def test_a_site_that_reports_shows_cores_bytes_power_and_emission() -> None:
    scene = WebState(FakeClock())
    scene.admit(1)
    scene.report_all()
    shown = dict(line.rsplit(" ", 1) for line in lines(scene) if not line.startswith("#"))
    site = name_of(0)
    cores = 2 * sum(1001 + row for row in range(ROWS_PER_SITE)) / 1000
    assert float(shown[f'kapok_site_free{{site="{site}",resource="cpu"}}']) == cores
    assert f'kapok_site_free{{site="{site}",resource="nvidia.com/gpu"}}' not in shown
    assert float(shown[f'kapok_site_report_age_seconds{{site="{site}"}}']) == 3
    assert shown['kapok_sites{condition="Ready",status="true"}'] == "1"
    assert float(shown[f'kapok_site_power_watts{{site="{site}",origin="measured"}}']) == 4001
    emitted = float(shown[f'kapok_site_emission_gco2_per_hour{{site="{site}"}}'])
    assert abs(emitted - 4001 * 1.4 * 401 / 1000) < 1e-6
    assert shown['kapok_orders{phase="Ready"}'] == "50"


def test_unplaced_work_is_counted_by_reason_and_by_site() -> None:
    scene = WebState(FakeClock())
    scene.admit(3)
    scene.report_all()
    scene.refuse(5)
    shown = lines(scene)
    assert 'kapok_unplaced_workloads{reason="not-allowed"} 5' in shown
    assert f'kapok_site_unplaced_workloads{{site="{name_of(2)}",reason="not-allowed"}} 5' in shown
    scene.sources.workload_stats.forget(("default", "large-00000"))
    assert f'kapok_site_unplaced_workloads{{site="{name_of(2)}",reason="not-allowed"}} 4' in lines(
        scene
    )


def test_used_is_what_placed_replicas_ask_for_and_nothing_is_left_behind() -> None:
    scene = WebState(FakeClock())
    scene.admit(1)
    scene.place(2)
    used = f'kapok_site_used{{site="{name_of(0)}",resource="cpu"}} '
    assert used + "0.6" in lines(scene)
    for number in range(2):
        scene.sources.workload_stats.forget(("default", f"work-{number:05}"))
    assert used + "0.0" in lines(scene)


def test_a_tenant_shows_its_workloads_its_use_and_its_quota() -> None:
    scene = WebState(FakeClock())
    scene.admit(1)
    scene.place(2)
    spec = TenantSpec(namespaces=("default",), quota={"cpu": "4", "memory": 0})
    scene.sources.registry.tenants["bureau"] = Tenant(metadata=Metadata(name="bureau"), spec=spec)
    used = {"default": {"cpu": 600, "pods": 6}, "stray": {"cpu": 100}}
    shown = format_state(replace(scene.take_snapshot(), quota_used=used)).splitlines()
    assert 'kapok_tenant_workloads{tenant="bureau",phase="Running"} 2' in shown
    assert 'kapok_tenant_used{tenant="bureau",resource="cpu"} 0.6' in shown
    assert 'kapok_tenant_used{tenant="bureau",resource="pods"} 6' in shown
    assert 'kapok_tenant_used{tenant="<none>",resource="cpu"} 0.1' in shown
    assert [one for one in shown if one.startswith("kapok_tenant_quota{")] == [
        'kapok_tenant_quota{tenant="bureau",resource="cpu"} 4.0',
        'kapok_tenant_quota{tenant="bureau",resource="memory"} 0',
    ]


def test_a_tenant_with_a_budget_of_the_month_shows_what_it_used_and_will_have_used() -> None:
    month = TenantMonth(MonthUse(40.0, 9.0), MonthUse(80.0, 18.0), Budget(kgco2e_per_month=70.0))
    snapshot = replace(WebState(FakeClock()).take_snapshot(), months={"bureau": month})

    shown = [one for one in format_state(snapshot).splitlines() if "kapok_tenant_month" in one]

    assert [one for one in shown if not one.startswith("#")] == [
        'kapok_tenant_month_used{tenant="bureau",unit="kgco2e"} 40.0',
        'kapok_tenant_month_expected{tenant="bureau",unit="kgco2e"} 80.0',
        'kapok_tenant_month_budget{tenant="bureau",unit="kgco2e"} 70.0',
    ]


def test_the_series_of_tenants_are_bounded() -> None:
    scene = WebState(FakeClock())
    for number in range(MAX_TENANTS + 20):
        name = f"t{number:04}"
        spec = TenantSpec(namespaces=(name,), quota={"cpu": "many" if number == 0 else "1"})
        scene.sources.registry.tenants[name] = Tenant(metadata=Metadata(name=name), spec=spec)
    amounts = {name: {"cpu": 1000} for name in scene.sources.registry.tenants}
    shown = format_state(replace(scene.take_snapshot(), quota_used=amounts)).splitlines()
    used = [one for one in shown if one.startswith("kapok_tenant_used{") and "cpu" in one]
    assert len(used) == MAX_TENANTS + 1
    assert 'kapok_tenant_used{tenant="<other>",resource="cpu"} 20.0' in used
    quotas = [one for one in shown if one.startswith("kapok_tenant_quota{")]
    assert len(quotas) == MAX_TENANTS - 1  # one cannot be read


def test_the_name_of_a_place_is_text_in_a_label() -> None:
    scene = WebState(FakeClock())
    place = Location(province='广东"} 1\nkapok_leader', city="a\\b\x1b[2J")
    site = Site(metadata=Metadata(name="m1"), spec=SiteSpec(tier="edge", location=place))
    scene.sources.registry.sites["m1"] = site
    scene.sources.sites.admit("m1")
    [found] = [one for one in lines(scene) if one.startswith("kapok_site_info{")]
    assert found == (
        'kapok_site_info{site="m1",province="广东\\"} 1\\nkapok_leader",'
        'city="a\\\\b\\\\x1b[2J",tier="edge"} 1'
    )


def test_every_series_is_of_a_defined_metric() -> None:
    scene = WebState(FakeClock())
    scene.admit(2)
    scene.report_all()
    text = Metrics().render(scene.take_snapshot()).decode()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert names == set(ALL_METRICS)


def test_a_scrape_has_the_newest_figures_of_every_site() -> None:
    """How long a scrape of 1,000 sites takes is measured by `benchmarks/scrape.py`."""
    scene, metrics = WebState(FakeClock()), Metrics()
    scene.admit(100)
    scene.place(200)
    scrapes = []
    for _ in range(2):
        scene.report_all()
        text = metrics.render(scene.take_snapshot()).decode()
        scrapes.append({line for line in text.splitlines() if 'resource="cpu"' in line})
    free = [{line for line in one if line.startswith("kapok_site_free")} for one in scrapes]
    assert len(free[0]) == len(free[1]) == 100
    assert not free[0] & free[1]


def test_a_text_that_a_status_holds_is_no_label() -> None:
    scene = WebState(FakeClock())
    texts = ("jurisdiction", 'x"} 1\nkapok_leader{a="', *(f"made-up-{n}" for n in range(1000)))
    groups = tuple(PlacementGroup(sites=("a",), replicas=1, violates=text) for text in texts)
    status = WorkloadStatus(placement=PlacementStatus(groups=groups))
    snapshot = msgspec.structs.replace(Workload(), status=status)
    shown = format_state(replace(scene.take_snapshot(), workloads=[snapshot])).splitlines()
    found = [line for line in shown if line.startswith("kapok_violating_workloads{")]
    assert found == [
        'kapok_violating_workloads{reason="jurisdiction"} 1',
        'kapok_violating_workloads{reason="other"} 1001',
    ]


def test_the_series_of_a_counter_are_bounded() -> None:
    metrics, scene = Metrics(), WebState(FakeClock())
    for number in range(1000):
        metrics.count_api_request("GET", f"code-{number}")
    text = metrics.render(scene.take_snapshot()).decode()
    found = [line for line in text.splitlines() if line.startswith("kapok_api_requests_total{")]
    assert len(found) == 257
    assert 'kapok_api_requests_total{code="other",verb="other"} 744.0' in found
