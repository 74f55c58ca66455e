"""Which sites refuse unplaced workloads: the counts are those of the decisions."""

from collections import Counter
from random import Random

from benchmarks._city import NOW, MachineType, demands, site
from scheduler.control.stats.refusals import Refusals, count_refusals
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet

FORMS = (
    MachineType("amd64", "intel", 8, 32768, 0, ""),
    MachineType("arm64", "hisilicon", 16, 65536, 2, "T4"),
)
SHAPES = [
    PodShape(requests={"cpu": cpu, "memory": 2**31, "pods": 1}) for cpu in (700, 3000, 15000, 30000)
]


def test_the_first_reasons_of_sites_add_up_to_those_of_the_decision() -> None:
    random = Random(11)  # noqa: S311 - a test, seeded
    fleet = Fleet(site(number, 3, FORMS, random) for number in range(60))
    fleet.remove(fleet.name_at(7))
    seen: Counter[str] = Counter()
    for asked in demands(SHAPES, 150, random):
        decision = choose(asked, fleet, now=NOW)
        refusals = Refusals()
        refusals.record(("ns", "w"), decision, asked, fleet, DEFAULT_TERMS)
        counted = Counter[str]()
        for _, reason, count in count_refusals(refusals.answer_counts()):
            counted[reason] += count
        assert counted == Counter(dict(decision.reasons))
        seen += counted
        fleet.assume(asked, decision)
    assert {"full", "fragmented", "architecture"} <= seen.keys(), seen
