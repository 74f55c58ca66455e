"""Only losses that a change touches are proved again, and a kept plan is still a plan."""

import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import Workload
from scheduler.whatif.demands import no_progress
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.questions import SurvivalQuestion, answer_question
from scheduler.whatif.survival.answer import ask_survival, targets_of
from scheduler.whatif.survival.touched import KnownLoss
from tests.support.sites import Raw, facts_of, grant, nodes, site, tenant_of_ns, workload
from tests.support.whatifs import copy_of

CHEAP = {"prices": {"energyCnyPerKwh": 0.1}}
GRANT = grant("m1", "m2", "m3", "m4")


def known_of(rows: list[dict[str, Any]]) -> tuple[KnownLoss, ...]:
    return tuple(
        KnownLoss(of=one["of"], digest=one["digest"], targets=tuple(targets_of(one)))
        for one in rows
        if one["survives"]
    )


def judged(copy: FleetCopy, known: tuple[KnownLoss, ...] = ()) -> dict[str, dict[str, Any]]:
    before = msgspec.json.encode(copy)
    answer = ask_survival(copy, with_plans=True, known=known)
    assert msgspec.json.encode(copy) == before
    return {one["of"]: one for one in answer["losses"]}


def unchanged(copy: FleetCopy, known: tuple[KnownLoss, ...]) -> set[str]:
    return {name for name, one in judged(copy, known).items() if one.get("unchanged")}


@pytest.fixture
def copy() -> FleetCopy:
    """m1's work would go to m2, which is cheap; m3's fits nowhere; m4 has none."""
    return copy_of(
        GRANT,
        site("m1", nodes(2)),
        site("m2", nodes(4), spec=CHEAP),
        site("m3", nodes(2)),
        site("m4", nodes(3)),
        workload(1, name="a", placed={"m1": 1}),
        workload(90, name="b", placed={"m3": 90}),
    )


def with_site(copy: FleetCopy, raw: Raw) -> FleetCopy:
    return copy.with_facts([facts_of(raw, GRANT)])


def with_work(copy: FleetCopy, raw: Raw) -> FleetCopy:
    one = decode_as(raw, Workload)
    others = tuple(each for each in copy.workloads if each.metadata.key != one.metadata.key)
    return msgspec.structs.replace(copy, workloads=(*others, one))


def test_nothing_is_proved_again_while_nothing_has_changed(copy: FleetCopy) -> None:
    rows = judged(copy)
    assert [rows[name]["survives"] for name in ("m1", "m2", "m3", "m4")] == [
        True,
        True,
        False,
        True,
    ]
    known = known_of(list(rows.values()))
    assert {one.of: one.targets for one in known} == {"m1": ("m2",), "m2": (), "m4": ()}
    assert unchanged(copy, known) == {"m1", "m2", "m4"}
    assert judged(copy, known)["m1"] == {"of": "m1", "unchanged": True, "workloads": 1}
    later = copy.with_objects(now=copy.objects.now + timedelta(seconds=60))
    assert unchanged(later, known) == {"m1", "m2", "m4"}, "time alone is no change"


def test_a_change_touches_the_losses_that_it_could_break(copy: FleetCopy) -> None:
    known = known_of(list(judged(copy).values()))
    full = site("m2", nodes(1, cpu="0"), spec=CHEAP)
    assert unchanged(with_site(copy, full), known) == {"m4"}, "the plan of m1 uses m2"
    assert unchanged(with_site(copy, site("m4", nodes(1))), known) == {"m1", "m2"}
    moved = with_work(copy, workload(1, name="a", placed={"m4": 1}))
    assert unchanged(moved, known) == {"m2"}
    stricter = with_work(copy, workload(1, name="a", placed={"m1": 1}, dataClass="general-1"))
    assert unchanged(stricter, known) == {"m2", "m4"}
    terms = msgspec.structs.replace(copy.objects.terms, report_stale_seconds=30)
    assert unchanged(copy.with_objects(terms=terms), known) == set()


def test_what_only_dates_a_report_or_prices_touches_nothing(copy: FleetCopy) -> None:
    known = known_of(list(judged(copy).values()))
    fresh = site("m2", nodes(4), spec=CHEAP)
    fresh["status"]["observedAt"] = "2026-11-24T07:59:59Z"
    fresh["status"]["intensity"] = {"gco2PerKwh": 123.0}
    assert unchanged(with_site(copy, fresh), known) == {"m1", "m2", "m4"}
    old = copy.with_objects(now=copy.objects.now + timedelta(days=1))
    assert unchanged(old, known) == set(), "stale reports admit no new work"


def test_what_others_spend_touches_the_work_of_a_tenant_with_a_budget() -> None:
    rich = tenant_of_ns()
    rich["spec"]["budget"] = {"cnyPerMonth": 1e6}
    for tenant, kept in ((tenant_of_ns(), {"m1", "m2", "m4"}), (rich, {"m2", "m4"})):
        mine = copy_of(
            GRANT,
            tenant,
            *(site(name, nodes(9)) for name in ("m1", "m2", "m3", "m4")),
            workload(1, name="a", placed={"m1": 1}),
            workload(1, name="b", placed={"m3": 1}),
        )
        known = known_of([one for one in judged(mine).values() if one["of"] != "m3"])
        assert unchanged(with_work(mine, workload(2, name="b", placed={"m3": 2})), known) == kept


def test_the_question_carries_what_is_known(copy: FleetCopy) -> None:
    known = known_of(list(judged(copy).values()))
    question = SurvivalQuestion(with_plans=True, known=known)
    sent = msgspec.json.decode(msgspec.json.encode(question), type=SurvivalQuestion)
    answer = answer_question(sent, copy, no_progress)
    assert sum(bool(one.get("unchanged")) for one in answer["losses"]) == 3
    for wrong in ({"of": "m1"}, {"of": "m1", "digest": "x" * 65}, {"of": "m1", "digest": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"type": "survive", "known": [wrong]}, type=SurvivalQuestion)


@pytest.mark.parametrize("seed", range(12))
def test_a_loss_that_is_not_proved_again_would_be_survived_all_the_same(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test, seeded
    names = ["m1", "m2", "m3", "m4"]
    room = {name: rng.randint(1, 6) for name in names}
    works = {f"w{n}": (rng.choice(names), rng.randint(1, 2)) for n in range(6)}
    known: tuple[KnownLoss, ...] = ()
    skipped = 0
    for _ in range(8):
        if rng.random() < 0.5:
            room[rng.choice(names)] = rng.randint(0, 6)
        else:
            works[rng.choice(list(works))] = (rng.choice(names), rng.randint(1, 2))
        now = copy_of(
            GRANT,
            *(site(n, nodes(r) if r else nodes(1, cpu="0")) for n, r in room.items()),
            *(workload(n, name=key, placed={at: n}) for key, (at, n) in works.items()),
        )
        again, whole = judged(now, known), judged(now)
        for name in names:
            if again[name].get("unchanged"):
                skipped += 1
                assert whole[name]["survives"] is True, name
            else:
                assert again[name]["survives"] == whole[name]["survives"]
        known = known_of(list(whole.values()))
    assert skipped > 3
