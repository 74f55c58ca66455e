"""One word, one figure: page, metrics, the hub's columns and the demo show the same state alike."""

import json
from pathlib import Path
from typing import Any

from benchmarks._web_state import WebState, name_of
from scheduler.apiserver.kinds.jsonpath import parse_json_path
from scheduler.control.ports.agents import SiteReport
from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.control.site_status_writer import SiteStatusWriter
from scheduler.control.status.migration import SiteView
from scheduler.control.status.workload import with_health
from scheduler.demo.demo_status import DemoStatus, StatusObserver
from scheduler.demo.view import format_summary
from scheduler.hub.crds.validation_rules import PRINTER_COLUMNS
from scheduler.model.canonical import to_plain_json
from scheduler.model.kinds.kinds import Workload
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.site import NodeClass, SiteStatus
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus, WorkloadStatus
from scheduler.web.state_text import format_state
from scheduler.web.views import DashboardRenderer, site_rows
from tests.support.fake_clock import FakeClock
from tests.support.fake_hub import FakeHub
from tests.support.faults import make_faults

NO_POWER, SILENT = name_of(1), name_of(2)


def degraded_workload() -> Workload:
    """Six replicas that ran at a site which is silent now."""
    group = PlacementGroup(sites=(SILENT,), replicas=6, generation=1, phase="Running")
    placement = PlacementStatus(generation=1, groups=(group,))
    ran = WorkloadStatus(phase="Running", replicas=6, ready=6, placement=placement)
    views = {SILENT: SiteView(None, is_silent=True)}
    status = with_health(ran, views, FakeClock().now(), wanted=6)
    return Workload(metadata=Metadata(namespace="health", name="portal"), status=status)


def make_scene() -> WebState:
    """Four sites: one is silent, and one reports no power."""
    scene = WebState(FakeClock())
    scene.admit(4)
    scene.report_all()
    rows = NodeClass(architecture="amd64", free=({"cpu": "7900m", "count": 1},))
    figures = SiteStatus(node_classes=(rows,))
    now_seconds = scene.clock.monotonic()
    scene.sources.sites.on_report(
        SiteReport(site=NO_POWER, observed_seconds=now_seconds, figures=figures, has_executor=True)
    )
    scene.sources.sites.mark_silent(SILENT)
    workload = degraded_workload()
    scene.sources.registry.workloads["health", "portal"] = workload
    return scene


async def written_hub(scene: WebState) -> FakeHub:
    """The hub with what the scheduler writes of this state."""
    hub = FakeHub()
    for name, site in scene.sources.registry.sites.items():
        await hub.create(SITES, to_plain_json(site) | {"metadata": {"name": name}})
    for workload in scene.sources.registry.workloads.values():
        await hub.create(WORKLOADS, to_plain_json(workload))
    writer = SiteStatusWriter(
        hub=hub,
        sites=scene.sources.sites,
        clock=scene.clock,
        interval_seconds=1.0,
        faults=make_faults(scene.clock),
    )
    await writer.write_due()
    return hub


def cell(kind: str, column: str, body: dict[str, Any]) -> str:
    [path] = [one["jsonPath"] for one in PRINTER_COLUMNS[kind] if one["name"] == column]
    found = parse_json_path(path).find(body)
    return str(found[0]) if found else ""


async def observe(hub: FakeHub, folder: Path, scene: WebState) -> DemoStatus:
    return await StatusObserver(hub, folder).observe(scene.clock.now())


def series(text: str, metric: str) -> dict[str, float]:
    found = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(metric + "{"))
    return {labels.split('site="')[1].split('"')[0]: float(value) for labels, value in found}


async def test_power_and_carbon_agree_on_page_metrics_and_demo(tmp_path: Path) -> None:
    scene = make_scene()
    snapshot = scene.take_snapshot()
    page = DashboardRenderer().render(snapshot).summary
    demo = await observe(await written_hub(scene), tmp_path, scene)
    said = demo.as_json(violations=[], seconds=1)["summary"]
    names = ("watts", "gco2PerHour", "sitesOfUnknownPower", "sitesOfUnknownEmission", "power")
    assert {name: page[name] for name in (*names, "carbon")} == {
        name: said[name] for name in (*names, "carbon")
    }
    text = format_state(snapshot)
    watts = series(text, "kapok_site_power_watts")
    assert watts.keys() == {name_of(0), name_of(3)}, "a silent or unknown site has no series"
    assert sum(watts.values()) == page["watts"]
    assert sum(series(text, "kapok_site_emission_gco2_per_hour").values()) == page["gco2PerHour"]
    assert page["power"] == f"{page['watts'] / 1000:.1f} kW of 2 of 4 sites"
    assert format_summary(demo).endswith(f"; {page['power']}, {page['carbon']}")


async def test_free_cpu_agrees_on_page_metrics_column_and_demo(tmp_path: Path) -> None:
    scene = make_scene()
    hub = await written_hub(scene)
    snapshot = scene.take_snapshot()
    column = {
        one["metadata"]["name"]: cell("Site", "Free-CPU", one)
        for one in (await hub.list(SITES)).items
    }
    assert (column[NO_POWER], column[SILENT]) == ("7.9", "?")
    column = {name: text.replace("?", "") for name, text in column.items()}
    page = {row["name"]: row.get("freeCpu", "") for row in site_rows(snapshot)}
    demo = {s.name: s.figures.free_cpu for s in (await observe(hub, tmp_path, scene)).sites}
    assert page == demo == column
    cpu = "\n".join(line for line in format_state(snapshot).splitlines() if '"cpu"' in line)
    free = series(cpu, "kapok_site_free")
    assert {name: f"{cores:g}" for name, cores in free.items()} == {
        name: text for name, text in column.items() if text
    }


async def test_intensity_agrees_on_page_metrics_column_and_demo(tmp_path: Path) -> None:
    scene = make_scene()
    hub = await written_hub(scene)
    snapshot = scene.take_snapshot()
    bodies = (await hub.list(SITES)).items
    column = {one["metadata"]["name"]: cell("Site", "Intensity", one) for one in bodies}
    assert column[SILENT] == "?", "a silent site's grid is not known, whatever it said last"
    known = {name: float(text) for name, text in column.items() if text != "?"}
    assert known
    page = {one["name"]: one["gco2PerKwh"] for one in site_rows(snapshot) if "gco2PerKwh" in one}
    demo = {s.name: s.figures.gco2_per_kwh for s in (await observe(hub, tmp_path, scene)).sites}
    assert page == known == {name: one for name, one in demo.items() if one is not None}
    assert series(format_state(snapshot), "kapok_site_intensity_gco2_per_kwh") == known


async def test_replicas_at_a_silent_site_are_unknown_on_page_column_and_demo(
    tmp_path: Path,
) -> None:
    scene = make_scene()
    hub = await written_hub(scene)
    [body] = (await hub.list(WORKLOADS)).items
    assert cell("Workload", "Ready", body) == "?/6"
    assert cell("Workload", "Phase", body) == "Degraded"
    view = DashboardRenderer().render(scene.take_snapshot())
    row = json.loads(view.workloads["health/portal"])
    assert (row["readiness"], row["phase"]) == ("?/6", "Degraded")
    assert "ready" not in row["sites"][0]
    demo = await observe(hub, tmp_path, scene)
    [work] = demo.workloads
    assert (work.phase, work.sites[0].ready) == ("Degraded", None)
    assert view.summary["phases"] == demo.phases == {"Degraded": 1}
    assert 'kapok_workloads{phase="Degraded"} 1' in format_state(scene.take_snapshot())
