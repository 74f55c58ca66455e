"""The day an energy limit tightens: new work is refused by name, old work stays and is reported."""

from datetime import UTC, datetime

import msgspec

from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.kinds import DataClassScheme
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from tests.support.one_site import asking
from tests.support.sites import demand, facts_of, grant, nodes, site, workload

BEFORE = datetime(2026, 11, 23, 8, 1, tzinfo=UTC)
AFTER = datetime(2026, 11, 23, 8, 2, tzinfo=UTC)
SCHEME = msgspec.convert(
    {
        "metadata": {"name": "default"},
        "spec": {
            "energyLimits": [
                {"measure": "pue", "limit": 1.5},
                {"measure": "pue", "limit": 1.3, "from": "2026-11-23T08:02:00Z"},
            ]
        },
    },
    DataClassScheme,
)


def _site(name: str, pue: float | None) -> SiteFacts:
    energy = {} if pue is None else {"pue": pue, "pueOrigin": "measured"}
    return facts_of(site(name, nodes(9), spec={"energy": energy}), grant(name))


def _asked(placed: dict[str, int] | None = None, replicas: int = 2) -> Demand:
    return demand(workload(replicas, placed=placed), scheme=SCHEME)


def test_new_work_goes_elsewhere_from_the_day_on() -> None:
    fleet = Fleet([_site("hot", 1.45), _site("cool", 1.25)])

    before, after = choose(_asked(), fleet, now=BEFORE), choose(_asked(), fleet, now=AFTER)

    assert before.phase == after.phase == "Placed"
    assert [one.site for one in after.assignment] == ["cool"]


def test_new_work_is_refused_by_name_where_no_site_keeps_to_it() -> None:
    fleet = Fleet([_site("hot", 1.45), _site("unknown", None)])

    assert choose(_asked(), fleet, now=BEFORE).phase == "Placed"
    after = choose(_asked(), fleet, now=AFTER)

    assert (after.phase, after.reasons) == ("Refused", {"energy-limit": 2})
    sentences = [
        verdict.sentence
        for one in explain(_asked(), fleet, now=AFTER).sites
        for verdict in one.verdicts
        if verdict.rule == "energy-limit"
    ]
    assert any("hot has a PUE of 1.45" in one and "at most 1.3" in one for one in sentences)
    assert any("the PUE of unknown is unknown" in one for one in sentences)


def test_what_runs_stays_and_is_reported() -> None:
    fleet = Fleet([_site("hot", 1.45), _site("cool", 1.25)])
    running = _asked({"hot": 2})

    before, after = choose(running, fleet, now=BEFORE), choose(running, fleet, now=AFTER)

    assert before.unmet == ()
    assert [(one.site, one.replicas) for one in after.assignment] == [("hot", 2)]
    (unmet,) = after.unmet
    assert unmet.rule == "energy-limit"
    assert "2 replicas run at hot" in unmet.sentence
    assert "at most 1.3" in unmet.sentence


def test_more_replicas_of_old_work_go_to_a_site_that_keeps_to_it() -> None:
    fleet = Fleet([_site("hot", 1.45), _site("cool", 1.25)])

    after = choose(_asked({"hot": 2}, replicas=3), fleet, now=AFTER)

    assert {one.site: one.replicas for one in after.assignment} == {"hot": 2, "cool": 1}


def test_a_site_that_is_measured_again_is_judged_again() -> None:
    fleet = Fleet([_site("hot", 1.45)])
    assert choose(_asked(), fleet, now=AFTER).phase == "Refused"

    fleet.upsert(_site("hot", 1.29))

    assert choose(_asked(), fleet, now=AFTER).phase == "Placed"
    fleet.upsert(_site("hot", 1.31))
    assert choose(_asked(), fleet, now=AFTER).phase == "Refused"


def test_an_operator_cannot_write_away_what_the_authority_measured() -> None:
    figure = {
        "site": "hot",
        "measure": "pue",
        "value": 1.45,
        "measuredBy": "inspector",
        "observedAt": "2026-10-01T00:00:00Z",
    }
    raw = site("hot", nodes(9), spec={"energy": {"pue": 1.1, "pueOrigin": "measured"}})
    fleet = Fleet([facts_of(raw, grant("hot", measurements=[figure]))])

    refused = choose(_asked(), fleet, now=AFTER)

    assert refused.reasons == {"energy-limit": 1}
    (one,) = explain(_asked(), fleet, now=AFTER).sites
    sentences = [each.sentence for each in one.verdicts if each.rule == "energy-limit"]
    assert "1.45 (measured by inspector)" in sentences[0]
    assert suggest_changes(_asked(), fleet, decision_context(AFTER, DEFAULT_TERMS)) == ()


def test_a_demand_without_limits_is_recorded_as_before() -> None:
    text = canonical_json(msgspec.to_builtins(asking())).decode()

    assert "energyLimits" not in text
    assert "budgetHold" not in text
