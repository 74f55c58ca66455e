"""Every field of every kind at its bounds, one beyond, and absurd: refused by name, or decided.

What the schema of a definition accepts is decoded and decided on; no value of it may end the code
behind. The messages of agents have the same test in tests/hostile/test_mqtt.py, over real MQTT.
"""

import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from scheduler.hub.crds.generate import make_crds
from scheduler.hub.schema.structural import apply_defaults, compile_schema, prune, validate
from scheduler.model.decode import NotReadable
from scheduler.model.demand.demand import Demand
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet
from tests.support.field_values import VALUES
from tests.support.policy_values import PLACEMENT
from tests.support.sites import (
    NOW,
    Raw,
    demand_or_refusal,
    facts_of,
    grant,
    nodes,
    site,
    workload,
)
from tests.unit.control.status.test_not_enforced_kinds import effect_on_demand, object_of

ABSURD: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63 - 1, 2**64, -(2**63), 1e308, -1e308, 1e-308, 0.5, "", " ",
    "x" * 5000, "\x00", "\u202e\n", "-1", "NaN", "1e400", "8Ei", "0.0000001n", "9" * 40,
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "CN-XX",
    "../..", [], {}, [None], [[]], {"": ""}, [{}] * 3,
]  # fmt: skip
SAMPLED = 12
"""Values of each field that the gate tries; the soak tries all."""
FLEET_SITES = [site("m1", nodes(9, cpu="4", memory="8Gi")), site("m2", nodes(1, cpu="1"))]

WORKLOAD: Raw = workload(
    4,
    dataClass="general-2",
    protectionLevel=2,
    networkZones=["public-network"],
    jurisdictions=["CN-GD"],
    imagePlatforms=["linux/amd64"],
    priority=5,
    schedule={
        "earliest": "2026-11-23T08:00:00Z",
        "deadline": "2026-11-24T08:00:00Z",
        "durationSeconds": 3600,
        "interruptible": False,
    },
    failover={"mode": "Manual", "afterSeconds": 60},
    demand={
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
        "antiAffinity": "hostname",
    },
    placement={
        name: value
        for name, value in PLACEMENT[0].items()
        if name not in ("preset", "presetOptions", "weights")
    },
)["spec"]
BASES: dict[str, Raw] = {"Workload": WORKLOAD, **{kind: two[0] for kind, two in VALUES.items()}}
SCHEMAS: dict[str, Raw] = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for crd in make_crds()
}


def places(schema: Raw, value: Any, steps: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - any JSON
    """The path of every value of an example that has a schema, the containers too."""
    yield steps
    if isinstance(value, dict):
        for key, inner in value.items():
            below = (schema.get("properties") or {}).get(key) or schema.get("additionalProperties")
            if isinstance(below, dict):
                yield from places(below, inner, (*steps, key))
    elif isinstance(value, list) and value and isinstance(schema.get("items"), dict):
        yield from places(schema["items"], value[0], (*steps, 0))


def schema_at(schema: Raw, steps: tuple[Any, ...]) -> Raw:
    for step in steps:
        if step == 0:
            schema = schema["items"]
        else:
            schema = (schema.get("properties") or {}).get(step) or schema["additionalProperties"]
    return schema


def values_for(schema: Raw, now: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    """Values at the bounds of a schema, one beyond them, and absurd ones."""
    found: list[Any] = list(ABSURD)
    for bound in ("minimum", "maximum"):
        if bound in schema:
            found += [schema[bound] + step for step in (-1, 0, 1)]
    if "maxLength" in schema and schema["maxLength"] <= 10_000:
        found += [letter * (schema["maxLength"] + n) for n in (-1, 0, 1) for letter in "a木"]
    found += [*schema.get("enum", ()), "no-such-value"] if "enum" in schema else []
    if isinstance(now, list) and now and schema.get("maxItems", 1_000) <= 300:
        found += [[now[0]] * (schema.get("maxItems", 8) + n) for n in (0, 1)]
    return found


def with_value(spec: Raw, steps: tuple[Any, ...], value: Any) -> Raw:  # noqa: ANN401 - any JSON
    changed = deepcopy(spec)
    holder: Any = changed
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value
    return changed


def follow(kind: str, spec: Raw) -> None:
    """Does with an accepted object what the scheduler does; only `NotReadable` may come out."""
    raw = object_of(kind, spec)
    if kind == "Workload":
        found = demand_or_refusal({**raw, "status": {"placement": {"groups": []}}})
        if isinstance(found, Demand):
            choose(found, Fleet(facts_of(one, grant("m1", "m2")) for one in FLEET_SITES), now=NOW)
    elif kind in ("Site", "SiteGrant"):
        asked = demand_or_refusal(workload(2))
        assert isinstance(asked, Demand)
        one = site("m1", nodes(9, cpu="4"), spec=spec if kind == "Site" else None)
        rights = [raw] if kind == "SiteGrant" else [grant("m1")]
        choose(asked, Fleet([facts_of(one, *rights)]), now=NOW)
    else:
        effect_on_demand(raw)


def attack(kind: str, *, sampled: int | None) -> tuple[int, int]:
    """Tries the values at every place of a kind; returns how many were accepted and refused."""
    schema = SCHEMAS[kind]
    compiled, spec_schema, base = compile_schema(schema), schema["properties"]["spec"], BASES[kind]
    chance = random.Random(7)  # noqa: S311 - a test, seeded
    accepted = refused = 0
    for steps in places(spec_schema, base, ()):
        if not steps:
            continue
        holder: Any = base
        for step in steps:
            holder = holder[step]
        values = values_for(schema_at(spec_schema, steps), holder)
        for value in chance.sample(values, min(sampled or len(values), len(values))):
            raw = object_of(kind, with_value(base, steps, value))
            prune(compiled, raw, root=True)
            apply_defaults(compiled, raw)
            if validate(compiled, raw):
                refused += 1
                continue
            try:
                follow(kind, raw["spec"])
            except NotReadable:
                refused += 1
            except Exception as error:  # noqa: BLE001 - what the test looks for
                where = ".".join(map(str, steps))
                pytest.fail(
                    f"{kind} {where} = {str(value)[:80]!r}: {type(error).__name__}: {error}"
                )
            else:
                accepted += 1
    return accepted, refused


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", BASES)
def test_no_value_of_a_field_ends_what_decides(kind: str) -> None:
    accepted, refused = attack(kind, sampled=SAMPLED)
    assert accepted > 10
    assert refused > 10


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", BASES)
def test_no_value_at_all_of_a_field_ends_what_decides(kind: str) -> None:
    accepted, refused = attack(kind, sampled=None)
    assert accepted > 10
    assert refused > 10
