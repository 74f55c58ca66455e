"""docs/library.md runs and prints what it shows; arrays that contradict are refused by name."""

import contextlib
import io
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

import scheduler.placement
from scheduler.model.kinds.site import NodeClass
from scheduler.placement import (
    ArraysDoNotFit,
    NodeArrays,
    SiteArrays,
    SiteGrantSpec,
    decide,
    demand_from_spec,
    fleet_from_arrays,
)
from tests.support.up import ROOT

TEXT = (ROOT / "docs" / "library.md").read_text()
NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
GRANT = SiteGrantSpec(sites=("all",), data_class="general-2", protection_level=2)
SPEC = {"dataClass": "general-1", "demand": {"replicas": 2, "requests": {"cpu": "2"}}}


def test_the_example_prints_what_the_page_shows() -> None:
    names: dict[str, Any] = {}
    found = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", TEXT, re.DOTALL)
    assert len(found) == 3
    for code, shown in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)  # noqa: S102 - a page of ours
        assert printed.getvalue() == shown


def test_the_page_names_what_the_package_exports() -> None:
    for name in scheduler.placement.__all__:
        assert getattr(scheduler.placement, name) is not None
        assert f"`{name}`" in TEXT, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scheduler.placement.nothing  # type: ignore[attr-defined]


def test_the_package_loads_no_array_until_a_name_is_asked_for() -> None:
    code = "import sys, scheduler.placement; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False\n"


def test_equal_nodes_are_counted_and_unknown_amounts_are_left_out() -> None:
    nodes = NodeArrays(
        site=[0, 0, 1],
        free={"cpu": [4.0, 4.0, np.nan], "nvidia.com/gpu": [0, 0, 2]},
        architectures=["arm64", "arm64", "amd64"],
    )
    fleet = fleet_from_arrays(SiteArrays(names=["a", "b"]), nodes, grant=GRANT, now=NOW)
    [one] = fleet.facts_of("a").status.node_classes
    assert one == NodeClass(
        architecture="arm64",
        free=({"count": 2, "cpu": 4.0, "nvidia.com/gpu": 0, "pods": 110},),
    )
    [other] = fleet.facts_of("b").status.node_classes
    assert other.free == ({"count": 1, "nvidia.com/gpu": 2, "pods": 110},)
    decision = decide(demand_from_spec("demo/web", SPEC), fleet, now=NOW)
    assert decision.phase != "Placed"  # arm64 was not asked for, and of b's cores nothing is known


def test_a_site_of_unknown_cost_is_the_last_choice() -> None:
    sites = SiteArrays(
        names=["unknown", "known"],
        pue=[1.2, 1.5],
        gco2_per_kwh=[np.nan, 900.0],
        energy_cny_per_kwh=[0.1, 0.9],
        core_cny_per_hour=[0.01, 0.09],
    )
    nodes = NodeArrays(site=[0, 1], free={"cpu": [64.0, 64.0]})
    fleet = fleet_from_arrays(sites, nodes, grant=GRANT, now=NOW)
    decision = decide(demand_from_spec("demo/web", SPEC), fleet, now=NOW)
    assert [one.site for one in decision.assignment] == ["known"]


def test_work_without_a_class_is_refused_as_on_a_hub() -> None:
    nodes = NodeArrays(site=[0], free={"cpu": [64.0]})
    fleet = fleet_from_arrays(SiteArrays(names=["a"]), nodes, grant=GRANT, now=NOW)
    demand = demand_from_spec("demo/web", {"demand": SPEC["demand"]})
    decision = decide(demand, fleet, now=NOW)
    assert (decision.phase, list(decision.reasons)) == ("Refused", ["data-class-missing"])


GOOD_SITES: dict[str, Any] = {"names": ["a", "b"]}
GOOD_NODES: dict[str, Any] = {"site": [0, 1], "free": {"cpu": [1.0, 2.0]}}


@pytest.mark.parametrize(
    ("sites", "nodes", "named"),
    [
        ({"names": ["a", "a"]}, {}, "names"),
        ({"provinces": ["CN-GD"]}, {}, "provinces: 1 elements for 2 sites"),
        ({"pue": [0.5, 1.2]}, {}, "pue: every figure is 1 or more"),
        ({"gco2_per_kwh": [1.0]}, {}, "gco2_per_kwh: shape"),
        ({"gco2_per_kwh": [np.inf, 1.0]}, {}, "gco2_per_kwh"),
        ({}, {"site": [0, 2]}, "site: every number is from 0 to 1"),
        ({}, {"site": [0.0, 1.0]}, "site: expected one whole number"),
        ({}, {"free": {"cpu": [1.0]}}, "free"),
        ({}, {"free": {"cpu": [-1.0, 1.0]}}, "free"),
        ({}, {"free": {"cpu": [np.inf, 1.0]}}, "free"),
        ({}, {"architectures": ["amd64"]}, "architectures: 1 elements for 2 nodes"),
    ],
)
def test_arrays_that_cannot_be_are_refused_by_name(
    sites: dict[str, Any], nodes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ArraysDoNotFit, match=re.escape(named)):
        fleet_from_arrays(
            SiteArrays(**{**GOOD_SITES, **sites}),
            NodeArrays(**{**GOOD_NODES, **nodes}),
            grant=GRANT,
            now=NOW,
        )


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"demand": {"replicas": 1, "requests": {"cpu": "many"}}}, "many"),
        ({"dataClass": "secret"}, "dataClass"),
        ({**SPEC, "policyRef": {"name": "two-sites"}}, "two-sites"),
    ],
)
def test_a_spec_that_is_none_is_refused_by_name(spec: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        demand_from_spec("demo/web", spec)
