"""Copies of small fleets, and what a scenario does to them, for tests of what-ifs."""

from typing import Any

import msgspec

from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import (
    ClusterPlacementPolicy,
    PlacementPolicy,
    SiteGrant,
    Tenant,
    Workload,
)
from scheduler.whatif.answer import ask
from scheduler.whatif.fleet_copy import CopyObjects, FleetCopy
from scheduler.whatif.scenario.changes import Change, ScenarioError
from scheduler.whatif.scenario.words import read_scenario
from tests.support.sites import NOW, Raw, facts_of, grant

Answer = dict[str, Any]


def copy_of(*raw: Raw, **objects: object) -> FleetCopy:
    """A copy of the fleet that objects describe; without a grant, every site has `grant()`."""
    of_kind: dict[str, list[Raw]] = {}
    for one in raw:
        of_kind.setdefault(one["kind"], []).append(one)
    sites = of_kind.get("Site", [])
    usual = [grant(*(one["metadata"]["name"] for one in sites))]
    grants = of_kind.get("SiteGrant", usual)
    tenants = tuple(decode_as(one, Tenant) for one in of_kind.get("Tenant", ()))
    return FleetCopy(
        objects=CopyObjects(
            now=NOW,
            tenants=tenants or None,
            grants=tuple(decode_as(one, SiteGrant) for one in grants),
            policies=tuple(
                decode_as(one, PlacementPolicy) for one in of_kind.get("PlacementPolicy", ())
            ),
            cluster_policies=tuple(
                decode_as(one, ClusterPlacementPolicy)
                for one in of_kind.get("ClusterPlacementPolicy", ())
            ),
        ),
        facts=tuple(facts_of(one, *grants) for one in sites),
        workloads=tuple(decode_as(one, Workload) for one in of_kind.get("Workload", ())),
    ).with_objects(**objects)


def changes_of(words: str) -> tuple[Change, ...]:
    """The changes of words that name no file."""
    return read_scenario(words.split(), no_file)


def no_file(verb: str, name: str) -> Change:
    """Refuses the files of a scenario."""
    raise ScenarioError(f"{verb} -f {name}: no file here")


def what_if(copy: FleetCopy, words: str, *more: Change) -> Answer:
    """The answer to a scenario; the copy must be as before afterwards."""
    before = msgspec.json.encode(copy)
    answer = ask(copy, (*changes_of(words), *more) if words else more)
    assert msgspec.json.encode(copy) == before
    msgspec.json.encode(answer)  # it can be sent
    return answer


def unplaced(answer: Answer) -> list[str]:
    """The names of the workloads that are left without a place."""
    return [one["workload"] for one in answer["unplaced"]]
