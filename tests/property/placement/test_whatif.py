"""What holds for every what-if, over any small fleet: it breaks no rule and overcommits no site."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.whatif.fleet_copy import FleetCopy
from tests.support.counts import examples
from tests.support.sites import Raw, grant, nodes, site, tenant_of_ns, workload
from tests.support.whatifs import copy_of, what_if

SITES = ("m0", "m1", "m2", "m3", "m4")
STRATEGIES = ("CostOptimal", "Aggregated", "Balanced")


@st.composite
def fleets(draw: st.DrawFn) -> tuple[FleetCopy, dict[str, int], frozenset[str]]:
    """A copy, the free cores of its sites, and the sites that take nothing new."""
    free = {name: draw(st.integers(0, 6)) for name in SITES}
    cordoned = frozenset(draw(st.sets(st.sampled_from(SITES), max_size=2)))
    ungranted = frozenset(draw(st.sets(st.sampled_from(SITES), max_size=1)))
    raw: list[Raw] = [
        site(
            name,
            nodes(count, cpu="1", memory="8Gi"),
            spec={
                "cordon": name in cordoned,
                "location": {"province": draw(st.sampled_from(["CN-GD", "CN-GX"]))},
                "prices": {"coreCnyPerHour": draw(st.sampled_from([0.01, 0.02, 0.05]))},
            },
        )
        for name, count in free.items()
    ]
    raw.append(grant(*(name for name in SITES if name not in ungranted)))
    if draw(st.booleans()):
        raw.append(tenant_of_ns(quota={"cpu": str(draw(st.integers(1, 30)))}))
    for number in range(draw(st.integers(0, 5))):
        placed = draw(st.dictionaries(st.sampled_from(SITES), st.integers(1, 3), max_size=3))
        raw.append(
            workload(
                draw(st.integers(1, 6)),
                name=f"w{number}",
                placed=placed,
                priority=draw(st.sampled_from([0, 0, 10])),
                failover={"mode": draw(st.sampled_from(["Automatic", "Automatic", "Manual"]))},
                placement={
                    "strategy": draw(st.sampled_from(STRATEGIES)),
                    "mode": draw(st.sampled_from(["Steady", "Fresh"])),
                    "gang": draw(st.booleans()),
                },
            )
        )
    return copy_of(*raw), free, cordoned | ungranted


SCENARIOS = st.sampled_from(
    (
        "lose m0",
        "lose m0 m1",
        "lose m0 m1 m2 thaw",
        "lose m0 drain m1",
        "drain m0",
        "drain m0 m1 m2 m3",
        "load 1.5",
        "load 0.4",
        "lose m2 load 2",
        "price coreCnyPerHour=1",
        "grid m0=50%/2h",
        "grid m0=100% m1=0.01kW",
    )
)


def arrivals(answer: dict[str, Any]) -> Counter[str]:
    """How many replicas each site gets."""
    found: Counter[str] = Counter()
    for one in (*answer["moves"], *answer["starts"]):
        found[one["to"]] += one["replicas"]
    return found


@given(known=fleets(), words=SCENARIOS)
@settings(max_examples=examples(60), deadline=None)
def test_no_site_gets_more_than_it_has_and_none_that_takes_nothing(
    known: tuple[FleetCopy, dict[str, int], frozenset[str]], words: str
) -> None:
    copy, free, closed = known
    answer = what_if(copy, words)
    left = {word.partition("=")[0] for word in words.split()} & {*SITES}
    for name, count in arrivals(answer).items():
        assert count <= free[name]
        assert name not in closed
        assert name not in left
    short = {one["workload"] for one in (*answer["unplaced"], *answer["waiting"])}
    assert answer["after"]["notPlaced"] == len(short)
    assert answer["after"]["placed"] + len(short) == len(copy.workloads)


@given(known=fleets(), request=st.sampled_from(("25%", "100%", "0.01kW/2h", "500kW")))
@settings(max_examples=examples(60), deadline=None)
def test_a_promise_is_what_leaves_and_never_more_than_is_asked(
    known: tuple[FleetCopy, dict[str, int], frozenset[str]], request: str
) -> None:
    copy, *_ = known
    answer = what_if(copy, f"grid m0={request}")
    (found,) = answer["grid"]
    assert 0 <= found["promisedKilowatts"] <= found["askedKilowatts"]
    assert found["met"] == (0 < found["askedKilowatts"] == found["promisedKilowatts"])
    left: Counter[str] = Counter()
    for one in (*answer["moves"], *answer["ends"]):
        left[one["workload"]] += one["replicas"] if one["from"] == "m0" else 0
    gives = {one["workload"]: one["replicas"] for one in found["moves"]}
    assert all(left[key] >= count for key, count in gives.items())
    assert sum(one["kilowatts"] for one in found["moves"]) >= found["promisedKilowatts"] - 1e-5
    short = {one["workload"] for one in (*answer["unplaced"], *answer["waiting"])}
    assert not short & gives.keys()


@given(known=fleets())
@settings(max_examples=examples(60), deadline=None)
def test_the_scenario_of_nothing_changes_nothing(
    known: tuple[FleetCopy, dict[str, int], frozenset[str]],
) -> None:
    copy, *_ = known
    for words in ("load 1", "thaw"):
        answer = what_if(copy, words)
        assert answer["before"] == answer["after"]
        assert not any(answer[key] for key in ("unplaced", "moves", "starts", "ends"))


@given(known=fleets(), words=SCENARIOS)
@settings(max_examples=examples(25), deadline=None)
def test_what_is_left_over_is_counted_once_and_the_answer_is_always_the_same(
    known: tuple[FleetCopy, dict[str, int], frozenset[str]], words: str
) -> None:
    copy, *_ = known
    answer = what_if(copy, words)
    assert answer == what_if(copy, words)
    counted = answer["unplacedBy"]
    assert sum(counted["reason"].values()) == len(answer["unplaced"])
    assert sum(counted["priority"].values()) == len(answer["unplaced"])
    for change in answer["smallestChange"]:
        if change["kind"] == "site.add":
            like = change["target"].removeprefix("a site like ")
            again = what_if(copy, f"{words} add {like}*{change['to']}")
            assert not {one["workload"] for one in again["unplaced"]} & set(change["workloads"])
