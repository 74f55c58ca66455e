"""Divisions by strategy, groups and spread, through `kapok place`."""

import json
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.placement.choose import choose
from tests.support.sites import NOW, Raw, demand, fleet_of, grant, site_with_capacity, workload


def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], *objects: Raw) -> tuple[int, Raw]:
    """Runs the command on objects in one file, in this order."""
    path = tmp_path / "all.yaml"
    path.write_text("\n---\n".join(json.dumps(each) for each in objects), encoding="utf-8")
    code = main(["place", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"])
    answer: Raw = json.loads(capsys.readouterr().out)
    return code, answer["decisions"][0]


def weighted(*weights: int) -> Raw:
    return {
        "strategy": "Weighted",
        "weights": [{"site": f"m{place}", "weight": each} for place, each in enumerate(weights, 1)],
    }


SITE_A = "kind: Site\napiVersion: kapok.dev/v1alpha1\nmetadata: {name: a}\n"
MANY = {"m1": 100, "m2": 100, "m3": 100}
BALANCED = {"strategy": "Balanced"}
AGGREGATED = {"strategy": "Aggregated"}


@pytest.mark.parametrize(
    "case",
    [
        (12, MANY, weighted(3, 2, 1), {}, {"m1": 6, "m2": 4, "m3": 2}),
        (13, MANY, weighted(3, 2, 1), {}, {"m1": 7, "m2": 4, "m3": 2}),
        (14, MANY, weighted(3, 2, 1), {}, {"m1": 7, "m2": 5, "m3": 2}),
        (12, MANY, {"strategy": "Weighted"}, {}, {"m1": 4, "m2": 4, "m3": 4}),
        (12, {"m1": 18, "m2": 12, "m3": 6}, BALANCED, {}, {"m1": 6, "m2": 4, "m3": 2}),
        (12, {"m1": 20, "m2": 12, "m3": 6}, BALANCED, {}, {"m1": 6, "m2": 4, "m3": 2}),
        (12, {"m1": 6, "m2": 12, "m3": 6}, BALANCED, {}, {"m1": 3, "m2": 6, "m3": 3}),
        (6, MANY, BALANCED, {"m1": 2, "m2": 4, "m3": 6}, {"m1": 1, "m2": 2, "m3": 3}),
        (
            24,
            {"m1": 10, "m2": 10, "m3": 10},
            BALANCED,
            {"m1": 2, "m2": 4, "m3": 6},
            {"m1": 6, "m2": 8, "m3": 10},
        ),
        (12, {"m1": 3, "m2": 3}, BALANCED, {"m1": 6, "m3": 6}, {"m1": 9, "m2": 3}),
        (12, {"m1": 3, "m2": 3}, {}, {"m1": 6, "m3": 6}, {"m1": 9, "m2": 3}),
        (12, {"m1": 6, "m2": 8, "m3": 10}, AGGREGATED, {}, {"m2": 5, "m3": 7}),
        (12, {"m1": 12, "m2": 8, "m3": 10}, AGGREGATED, {}, {"m1": 12}),
        (6, MANY, AGGREGATED, {"m1": 4, "m2": 8}, {"m2": 6}),
        (6, {"m1": 3, "m2": 8}, AGGREGATED, {"m1": 3}, {"m1": 6}),
        (4, {"m1": 0, "m2": 3}, {"mode": "Fresh"}, {"m1": 4}, {"m1": 4}),
        (2, {"m1": 2, "m2": 1, "m3": 5}, {"strategy": "Duplicated"}, {}, {"m1": 2, "m3": 2}),
        (0, MANY, {}, {"m1": 3}, {}),
        (
            12,  # starts over: what it runs itself counts as free
            {"m1": 14, "m2": 8, "m3": 2},
            {"strategy": "Balanced", "mode": "Fresh"},
            {"m1": 4, "m2": 4, "m3": 4},
            {"m1": 6, "m2": 4, "m3": 2},
        ),
    ],
    ids=str,
)
def test_each_strategy_divides_replicas_as_documented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: tuple[int, Raw, Raw, Raw, Raw]
) -> None:
    replicas, rooms, placement, placed, expected = case
    asked = workload(replicas, placement=placement, placed=placed)
    sites = [site_with_capacity(name, count) for name, count in rooms.items()]
    code, decision = place(tmp_path, capsys, asked, grant("m1", "m2", "m3"), *sites)
    assert {each["name"]: each["replicas"] for each in decision["sites"]} == expected
    assert (code, decision["phase"], decision["reasons"]) == (0, "Placed", {})


@pytest.mark.parametrize("spread", [[], [{"by": "provider", "maxGroups": 2}]], ids=str)
@pytest.mark.parametrize("strategy", ["Weighted", "Balanced", "Aggregated", "CostOptimal"])
def test_of_equal_sites_it_is_the_workload_and_not_their_order_that_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], strategy: str, spread: list[Raw]
) -> None:
    names = ["m3", "b", "zz", "a"]
    for replicas, runs in ((5, {}), (7, dict.fromkeys(names, 3)), (14, dict.fromkeys(names, 3))):
        placement = {"strategy": strategy, "spread": spread}
        asked = workload(replicas, placement=placement, placed=runs)
        answers = [
            place(
                tmp_path,
                capsys,
                asked,
                grant(*names),
                *(site_with_capacity(name, 9, spec={"provider": f"of-{name}"}) for name in order),
            )
            for order in (names, names[::-1], sorted(names))
        ]
        assert answers[0] == answers[1] == answers[2]


def test_changed_weights_move_running_replicas_only_in_fresh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sites = [site_with_capacity(f"m{place}", 20) for place in (1, 2, 3)]
    runs = {"m1": 6, "m2": 4, "m3": 2}
    for mode, expected in (("Steady", runs), ("Fresh", {"m1": 2, "m2": 4, "m3": 6})):
        asked = workload(12, placement={**weighted(1, 2, 3), "mode": mode}, placed=runs)
        _, decision = place(tmp_path, capsys, asked, grant("m1", "m2", "m3"), *sites)
        assert {each["name"]: each["replicas"] for each in decision["sites"]} == expected


def test_a_refusal_never_ends_running_replicas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = workload(12, placed={"m1": 6})
    code, decision = place(tmp_path, capsys, asked, grant("m1"), site_with_capacity("m1", 3))
    assert decision["sites"] == [{"name": "m1", "replicas": 6}]
    assert (code, decision["phase"], decision["reasons"]) == (1, "Waiting", {"full": 1})


def test_groups_are_used_in_order_and_overflow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [{"name": "near", "sites": ["m1", "m2"]}, {"name": "far", "sites": ["m3"]}]
    sites = [site_with_capacity(f"m{place}", 4) for place in (1, 2, 3)]
    for replicas, far in ((8, 0), (10, 2)):
        asked = workload(replicas, placement={"siteGroups": groups})
        _, decision = place(tmp_path, capsys, asked, grant("m1", "m2", "m3"), *sites)
        shares = {each["name"]: each["replicas"] for each in decision["sites"]}
        assert shares.get("m3", 0) == far
        assert sum(shares.values()) == replicas


def test_groups_resume_at_the_last_that_worked_and_come_back_to_the_first_before_they_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [{"name": "near", "sites": ["m1"]}, {"name": "far", "sites": ["m2", "m3"]}]
    sites = [site_with_capacity("m1", 20), site_with_capacity("m2", 2), site_with_capacity("m3", 2)]
    for replicas, expected in ((4, 1), (9, 5)):
        asked = workload(replicas, placement={"siteGroups": groups}, placed={"m1": 1})
        asked["status"]["lastGroup"] = "far"
        code, decision = place(tmp_path, capsys, asked, grant("m1", "m2", "m3"), *sites)
        shares = {each["name"]: each["replicas"] for each in decision["sites"]}
        assert (code, shares["m1"], sum(shares.values())) == (0, expected, replicas)


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        ({"by": "site", "minGroups": 2}, {"m3": 5, "m1": 1}),
        ({"by": "site", "maxPerGroup": 3}, {"m3": 3, "m1": 3}),
    ],
)
def test_spread_touches_later_groups_only_as_far_as_it_must(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spread: Raw, expected: Raw
) -> None:
    groups = [{"name": "first", "sites": ["m3"]}, {"name": "next", "sites": ["m1", "m2"]}]
    cheap, dear = (
        {
            "energy": {"pue": 1.0},
            "prices": {"energyCnyPerKwh": 0.0, "coreCnyPerHour": price},
        }
        for price in (0.1, 0.3)
    )
    sites = [
        site_with_capacity("m1", 4, spec=cheap),
        site_with_capacity("m2", 4, spec=dear),
        site_with_capacity("m3", 9, spec=dear),
    ]
    asked = workload(6, placement={"siteGroups": groups, "spread": [spread]})
    _, decision = place(tmp_path, capsys, asked, grant("m1", "m2", "m3"), *sites)
    assert {each["name"]: each["replicas"] for each in decision["sites"]} == expected


@pytest.mark.parametrize("strategy", ["CostOptimal", "Balanced", "Weighted", "Aggregated"])
@pytest.mark.parametrize(
    ("replicas", "spread", "expected"),
    [
        (4, {"by": "site", "minGroups": 2}, {"first": 4, "next": 0}),
        (9, {"by": "site", "minGroups": 3}, {"first": 8, "next": 1}),
        (8, {"by": "site", "maxPerGroup": 3}, {"first": 6, "next": 2}),
    ],
)
def test_the_first_group_is_filled_first_by_every_strategy(
    strategy: str, replicas: int, spread: Raw, expected: Raw
) -> None:
    groups = [{"name": "first", "sites": ["m1", "m2"]}, {"name": "next", "sites": ["m3", "m4"]}]
    placement = {"strategy": strategy, "siteGroups": groups, "spread": [spread]}
    fleet = fleet_of(
        *(site_with_capacity(f"m{at}", size) for at, size in enumerate((4, 4, 20, 20), 1))
    )
    found = choose(demand(workload(replicas, placement=placement)), fleet, now=NOW)
    shares = {each.site: each.replicas for each in found.assignment}
    first = shares.get("m1", 0) + shares.get("m2", 0)
    assert {"first": first, "next": found.replicas - first} == expected


def test_a_workload_sees_what_those_before_it_were_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.yaml"
    low, high = workload(3, name="low"), workload(2, name="urgent", priority=5)
    objects = {"kind": "List", "items": [low, high, site_with_capacity("m1", 4), grant("m1")]}
    path.write_text(json.dumps(objects), encoding="utf-8")
    assert main(["place", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"]) == 1
    answers = json.loads(capsys.readouterr().out)["decisions"]
    assert [(each["workload"], each["phase"]) for each in answers] == [
        ("ns/urgent", "Placed"),
        ("ns/low", "Waiting"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{SITE_A}spec: {{tir: edge}}",
            "did you mean tier",
        ),
        ("a: 1\na: 2", "given twice"),
        ("{}", "apiVersion is missing"),
        ("a: [", "not YAML"),
        ("", "hold no Workload"),
        (
            f"{SITE_A}spec: {{prices: {{energyCnyPerKwh: .nan}}}}",
            "json: unsupported value: .nan",
        ),
        (
            f"{SITE_A}status: {{nodeClasses: [{{free: [{{cpu: 1.5.2}}]}}]}}",
            r"status.nodeClasses[0].free[0]: cpu: '1.5.2' is not a quantity",
        ),
    ],
    ids=str,
)
def test_wrong_files_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["place", "-f", str(path), "-o", "json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
