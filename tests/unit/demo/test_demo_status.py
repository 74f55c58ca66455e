"""When a demo counts as settled, and how its state is printed."""

import dataclasses
from pathlib import Path

from scheduler.demo.actions import DemoActions, read_actions, write_actions
from scheduler.demo.demo_status import (
    DemoShareStatus,
    DemoSiteStatus,
    DemoStatus,
    DemoWorkloadStatus,
)
from scheduler.demo.view import build_tables, format_summary
from scheduler.model.figures import SiteFigures

SITE = DemoSiteStatus(
    "gz-core",
    is_reporting=True,
    report_age_seconds=1.5,
    figures=SiteFigures(
        free_cores=8.0, watts=2000.0, gco2_per_kwh=400.0, gco2_per_hour=2000 * 0.4 * 1.2
    ),
)
RUNNING = DemoWorkloadStatus(
    "health",
    "a",
    "Running",
    (DemoShareStatus("gz-core", 2, 2),),
    {},
    "placed on gz-core (2)",
    "1-1",
    is_current=True,
)
REFUSED = dataclasses.replace(
    RUNNING,
    name="b",
    phase="Refused",
    sites=(),
    reasons={"data-class": 1},
    line="0/1 sites are feasible",
)


def test_a_workload_that_runs_or_has_a_reason_is_settled() -> None:
    assert DemoStatus((SITE,), (RUNNING, REFUSED)).is_settled


def test_a_refusal_without_a_reason_is_not_settled() -> None:
    assert not dataclasses.replace(REFUSED, reasons={}).is_settled


def test_a_status_of_an_older_spec_is_not_settled() -> None:
    assert not dataclasses.replace(RUNNING, is_current=False).is_settled


def test_placed_and_degraded_are_not_settled() -> None:
    for phase in ("Pending", "Placed", "Degraded"):
        assert not dataclasses.replace(RUNNING, phase=phase).is_settled


def test_a_silent_site_keeps_a_demo_from_settling_but_not_from_being_good() -> None:
    silent = dataclasses.replace(SITE, is_reporting=False)
    status = DemoStatus((silent,), (RUNNING,))
    assert not status.is_settled
    assert status.are_workloads_settled


def test_the_json_is_that_of_the_contract() -> None:
    said = DemoStatus((SITE,), (RUNNING, REFUSED)).as_json(violations=["one"], seconds=3.14159)
    assert said["sites"] == [{"name": "gz-core", "reporting": True, "reportAgeSeconds": 1.5}]
    assert said["workloads"][0]["sites"] == [{"name": "gz-core", "replicas": 2, "ready": 2}]
    assert said["workloads"][1]["reasons"] == {"data-class": 1}
    assert said["summary"] == {
        "sites": 1,
        "reporting": 1,
        "workloads": 2,
        "phases": {"Refused": 1, "Running": 1},
        "watts": 2000.0,
        "gco2PerHour": 960.0,
        "sitesOfUnknownPower": 0,
        "sitesOfUnknownEmission": 0,
        "power": "2.0 kW",
        "carbon": "1.0 kgCO2e/h",
        "violations": 1,
        "seconds": 3.1,
    }


def test_unknown_carbon_is_left_out_and_not_zero() -> None:
    figures = SiteFigures(free_cores=8.0, watts=2000.0)
    unknown = dataclasses.replace(SITE, name="hongkong", figures=figures)
    status = DemoStatus((SITE, unknown), ())
    assert format_summary(status).endswith("; 4.0 kW, 1.0 kgCO2e/h of 1 of 2 sites")


def test_replicas_at_a_silent_site_are_unknown_and_nothing_of_them_is_green() -> None:
    from rich.console import Console  # noqa: PLC0415 - as the view does it

    share = DemoShareStatus("gz-core", 6, None)
    work = dataclasses.replace(RUNNING, phase="Degraded", sites=(share,))
    console = Console(width=120, record=True, file=None, quiet=True)
    with console.capture() as drawn:
        console.quiet = False
        console.print(build_tables(DemoStatus((), (work,))))
    assert "gz-core ?/6" in drawn.get()


def test_the_tables_can_be_drawn() -> None:
    from rich.console import Console  # noqa: PLC0415 - as the view does it

    console = Console(width=120, record=True, file=None, quiet=True)
    with console.capture() as drawn:
        console.quiet = False
        console.print(build_tables(DemoStatus((SITE,), (RUNNING, REFUSED))))
    assert "gz-core 2/2" in drawn.get()
    assert "health/b" in drawn.get()


def test_actions_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "actions.json"
    assert read_actions(path) == DemoActions()
    actions = (
        DemoActions()
        .with_silent("a")
        .with_silent("b")
        .without_silent("a")
        .with_grid("CN-GD", 900.0)
    )
    write_actions(path, actions)
    assert read_actions(path) == actions
    assert actions.with_grid("CN-GD", None).grid_intensities == ()
