"""Quota, borrowing and budget of tenants, through files as `kapok place` reads them."""

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from scheduler.control.state.quotas import Quotas
from scheduler.model.decode import decode_as
from scheduler.model.demand.tenancy import QuotaUsage
from scheduler.model.kinds.kinds import API_VERSION, Tenant
from scheduler.model.kinds.tenant import BudgetLeft, Spend
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from tests.support.sites import NOW, Raw, demand, fleet_of, grant, nodes, site, workload

SPEC = {"prices": {"coreCnyPerHour": 1.0, "energyCnyPerKwh": 0.0}, "energy": {"pue": 1.0}}
LIGHT = {"intensity": {"gco2PerKwh": 0.0, "origin": "measured"}}


def tenant(name: str, **spec: Any) -> Raw:  # noqa: ANN401 - fields
    return {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"namespaces": [f"{name}-ns"], **spec},
    }


def of(name: str, replicas: int, *, app: str = "app", **more: Any) -> Raw:  # noqa: ANN401 - fields
    made = workload(replicas, name=app, **more)
    made["metadata"]["namespace"] = f"{name}-ns"
    return made


def place(
    folder: Path, capsys: pytest.CaptureFixture[str], *objects: Raw
) -> dict[str, dict[str, Any]]:
    """Decisions by workload."""
    there = site("m1", nodes(50, cpu="8", memory="64Gi"), spec=SPEC, **LIGHT)
    listed = [there, grant("m1"), *objects]
    path = folder / "all.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}))
    main(["place", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"])
    rows = json.loads(capsys.readouterr().out)["decisions"]
    return {row["workload"]: row for row in rows}


def test_a_quota_counts_what_runs_and_says_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = place(
        tmp_path,
        capsys,
        tenant("a", quota={"cpu": "10"}),
        of("a", 7, app="old", placed={"m1": 7}),
        of("a", 4, app="new"),
    )
    assert found["a-ns/old"]["phase"] == "Placed"
    assert (found["a-ns/new"]["phase"], found["a-ns/new"]["reasons"]) == ("Waiting", {"quota": 1})
    sentence = "tenant a has 3 of cpu left (its quota is 10); the workload requests 4"
    assert sentence in found["a-ns/new"]["line"]


def test_the_smallest_change_names_the_quota_that_would_suffice() -> None:
    decoded = decode_as(tenant("a", quota={"cpu": "10"}), Tenant)
    asked = demand(of("a", 4), tenants=[decoded], usage=QuotaUsage(used={"cpu": 8000}))
    fleet = fleet_of(site("m1", nodes(50)))
    assert choose(asked, fleet, now=NOW).reasons == {"quota": 1}
    change = smallest(asked, fleet)
    assert change == ("tenant.quota", "Tenant a", "cpu: 10", "cpu: 12", True)


@pytest.mark.parametrize("quota", [3, 4, 7])
def test_the_quota_that_would_suffice_counts_every_site_of_duplicated_work(quota: int) -> None:
    decoded = decode_as(tenant("a", quota={"cpu": str(quota)}), Tenant)
    asked = demand(of("a", 4, placement={"strategy": "Duplicated"}), tenants=[decoded])
    fleet = fleet_of(site("m1", nodes(5)), site("m2", nodes(5)))
    assert choose(asked, fleet, now=NOW).reasons == {"quota": 2}
    change = smallest(asked, fleet)
    assert change == ("tenant.quota", "Tenant a", f"cpu: {quota}", "cpu: 8", True)


def smallest(asked: Any, fleet: Any) -> tuple[str, str, str, str, bool]:  # noqa: ANN401 - as in choose
    from scheduler.model.demand.terms import DEFAULT_TERMS  # noqa: PLC0415 - only here
    from scheduler.placement.explain.suggest import suggest_changes  # noqa: PLC0415 - only here
    from scheduler.placement.fleet.context import decision_context  # noqa: PLC0415 - only here

    first = suggest_changes(asked, fleet, decision_context(NOW, DEFAULT_TERMS))[0]
    return (first.kind, first.target, first.from_, first.to, first.verified)


@pytest.mark.parametrize(
    ("quota", "phase"),
    [
        ({"kapok.dev/gpu-milli": 1200}, "Placed"),
        ({"kapok.dev/gpu-milli": 1199}, "Waiting"),
        ({"kapok.dev/gpu-cards": 4}, "Placed"),
        ({"kapok.dev/gpu-cards": 3}, "Waiting"),
        ({"nvidia.com/gpu": 0}, "Placed"),
    ],
    ids=str,
)
def test_shares_of_gpu_cards_count_in_a_quota(quota: Raw, phase: str) -> None:
    cards = {"kapok.dev/gpu-milli.0": 1000, "kapok.dev/gpu-milli.1": 1000}
    fleet = fleet_of(site("m1", nodes(4, cpu="4", **cards)))
    requests = {"cpu": "1", "kapok.dev/gpu-milli": 300, "kapok.dev/gpu-cards": 2}
    asked = demand(
        of("a", 2, requests=requests), tenants=[decode_as(tenant("a", quota=quota), Tenant)]
    )
    assert choose(asked, fleet, now=NOW).phase == phase


def test_every_copy_of_duplicated_work_counts() -> None:
    fleet = fleet_of(site("m1", nodes(9)), site("m2", nodes(9)))
    raw = of("a", 3, placement={"strategy": "Duplicated"})
    for cpu, phase in (("6", "Placed"), ("5", "Waiting")):
        limited = decode_as(tenant("a", quota={"cpu": cpu}), Tenant)
        assert choose(demand(raw, tenants=[limited]), fleet, now=NOW).phase == phase


@pytest.mark.parametrize(
    ("mine", "theirs", "others_run", "most"),
    [
        ({}, {}, 0, 4),
        ({"borrowing": True}, {}, 0, 10),
        ({"borrowing": True}, {}, 4, 6),
        ({"borrowing": True}, {}, 9, 4),
        ({"borrowing": True, "borrowingLimit": {"cpu": "2"}}, {}, 0, 6),
        ({"borrowing": True, "borrowingLimit": {"cpu": "0"}}, {}, 0, 4),
        ({"borrowing": True, "cohort": "x"}, {}, 0, 4),
        ({"borrowing": True, "cohort": "x"}, {"cohort": "x"}, 0, 10),
        ({}, {"borrowing": True}, 9, 4),
    ],
    ids=str,
)
def test_a_tenant_may_borrow_what_its_cohort_leaves(  # noqa: PLR0917 - a table
    mine: Raw,
    theirs: Raw,
    others_run: int,
    most: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Quotas 4 and 6; the other may have borrowed itself."""
    fitting = 0
    for replicas in (4, 6, 10, 11):
        found = place(
            tmp_path,
            capsys,
            tenant("a", quota={"cpu": "4"}, **mine),
            tenant("b", quota={"cpu": "6"}, **theirs),
            of("b", others_run, placed={"m1": others_run}),
            of("a", replicas),
        )
        if found["a-ns/app"]["phase"] == "Placed":
            fitting = replicas
    assert fitting == most


@pytest.mark.parametrize(
    ("budget", "phase", "words"),
    [
        ({"cnyPerHour": 5.0}, "Placed", "placed on m1"),
        (
            {"cnyPerHour": 4.99},
            "Waiting",
            (
                "tenant a has 1.99 CNY/h left of its budget of 4.99 CNY/h; "
                "the placement would take 2 CNY/h"
            ),
        ),
        ({"kgco2ePerHour": 0.0}, "Placed", "placed on m1"),
        ({}, "Placed", "placed on m1"),
    ],
    ids=str,
)
def test_work_that_costs_more_than_the_budget_leaves_is_not_placed(
    budget: Raw, phase: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = place(
        tmp_path,
        capsys,
        tenant("a", budget=budget),
        of("a", 3, app="old", placed={"m1": 3}),
        of("a", 2, app="new"),
    )
    assert found["a-ns/old"]["phase"] == "Placed"
    assert found["a-ns/new"]["phase"] == phase
    assert words in found["a-ns/new"]["line"]
    assert found["a-ns/new"]["reasons"] == ({} if phase == "Placed" else {"quota": 1})


@pytest.mark.parametrize(
    ("strategy", "budget", "expected"),
    [
        ("Balanced", 9.0, {"m1": 2, "m2": 2}),
        ("Balanced", 5.0, {"m1": 4}),
        ("Weighted", 5.0, {"m1": 4}),
        ("Balanced", 3.0, {}),
        ("Duplicated", 9.0, {}),
    ],
)
def test_a_division_over_the_budget_is_replaced_by_the_cheapest(
    strategy: str, budget: float, expected: dict[str, int]
) -> None:
    raw = [
        site(
            name, nodes(9), spec={**SPEC, "prices": {"energyCnyPerKwh": 0, "coreCnyPerHour": each}}
        )
        for name, each in (("m1", 1), ("m2", 3))
    ]
    limited = decode_as(tenant("a", budget={"cnyPerHour": budget}), Tenant)
    asked = of("a", 4, placement={"strategy": strategy, "prices": {"carbonCnyPerKg": 0}})
    decision = choose(demand(asked, tenants=[limited]), fleet_of(*raw), now=NOW)
    assert {each.site: each.replicas for each in decision.assignment} == expected
    said = any("divided by cost" in each for each in decision.notes)
    assert said == (expected == {"m1": 4})
    assert decision.reasons == ({} if expected else {"quota": 2})


@pytest.mark.parametrize("limit", ["Exists", "", "9E"])
@pytest.mark.parametrize("field", ["quota", "borrowingLimit"])
def test_an_unreadable_quota_is_reported_and_still_limits(
    field: str, limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong: Raw = {"quota": {"cpu": "3"}, "borrowing": True, field: {"cpu": limit}}
    found = place(
        tmp_path,
        capsys,
        tenant("a", **wrong),
        tenant("b", quota={"cpu": "2"}, borrowing=True),
        of("a", 1),
        of("b", 2),
        of("b", 6, app="more"),
    )
    assert (found["a-ns/app"]["phase"], found["a-ns/app"]["reasons"]) == ("Refused", {"quota": 1})
    assert "Tenant a: spec.quota or spec.borrowingLimit: cpu" in found["a-ns/app"]["line"]
    assert found["b-ns/app"]["phase"] == "Placed"
    assert found["b-ns/more"]["phase"] == "Waiting"


def test_unknown_carbon_is_expensive_and_never_free_in_a_budget() -> None:
    fleet = fleet_of(site("m1", nodes(9), spec=SPEC))
    limited = decode_as(tenant("a", budget={"kgco2ePerHour": 0.001}), Tenant)
    decision = choose(demand(of("a", 1), tenants=[limited]), fleet, now=NOW)
    assert decision.reasons == {"quota": 1}
    assert "gCO2e/h left of its budget of 1 gCO2e/h" in decision.line


def test_the_smallest_change_names_the_budget_that_would_suffice() -> None:
    fleet = fleet_of(site("m1", nodes(9), spec=SPEC, **LIGHT))
    limited = decode_as(tenant("a", budget={"cnyPerHour": 3}), Tenant)
    asked = demand(of("a", 4), tenants=[limited], usage=QuotaUsage(spent=Spend(cny_per_hour=1.5)))
    assert asked.budget_left == BudgetLeft(cny_per_hour=1.5)
    change = smallest(asked, fleet)
    assert change == ("tenant.budget", "Tenant a", "cnyPerHour: 3", "cnyPerHour: 5.5", True)


def test_running_replicas_stay_and_may_shrink_when_the_budget_is_used_up() -> None:
    fleet = fleet_of(site("m1", nodes(9), spec=SPEC, **LIGHT))
    limited = decode_as(tenant("a", budget={"cnyPerHour": 1}), Tenant)
    for replicas, phase in ((4, "Placed"), (2, "Placed"), (5, "Waiting")):
        asked = demand(of("a", replicas, placed={"m1": 4}), tenants=[limited])
        decision = choose(asked, fleet, now=NOW)
        assert decision.phase == phase
        assert sum(each.replicas for each in decision.assignment) == min(4, replicas)


def test_the_explanation_counts_the_sites_that_pass_and_names_no_other_reason() -> None:
    limited = decode_as(tenant("a", quota={"cpu": "1"}), Tenant)
    asked = demand(of("a", 2), tenants=[limited])
    explanation = explain(asked, fleet_of(site("m1", nodes(9))), now=NOW)
    assert explanation.decision.reasons == {"quota": 1}
    assert explanation.sites[0].admitted


def test_the_running_scheduler_sums_what_the_others_use_and_spend() -> None:
    limited = decode_as(tenant("a", budget={"cnyPerHour": 9}, quota={"cpu": "9"}), Tenant)
    quotas = Quotas(cost_of=lambda _, shares: Spend(cny_per_hour=1.5 * sum(shares.values())))
    keys = [("a-ns", name) for name in ("one", "two", "three")]
    for key in keys:
        quotas.set_usage(key, demand(of("a", 2, app=key[1]), tenants=[limited]), {"m1": 1, "m2": 1})
    assert quotas.used_by({"a-ns"}, excluding=keys[0])["cpu"] == 4000
    assert quotas.spent_by({"a-ns"}, excluding=keys[0]) == Spend(cny_per_hour=6.0)
    freed = [quotas.take_freed()]
    quotas.set_usage(keys[1], demand(of("a", 2, app="two"), tenants=[limited]), {"m1": 1})
    assert [*freed, quotas.take_freed()] == [False, True]
    quotas.release(keys[2])
    assert quotas.spent_by({"a-ns"}, excluding=keys[0]) == Spend(cny_per_hour=1.5)
