"""Exact fit: random sites against brute force, and what one site's report costs a large fleet.

Times are CPU seconds of the one thread, so that neighbours on the machine do not count. Its timer
does: it interrupts a virtual machine some 400 times a second for 20 to 50 us, as long as a report
takes, and that is counted as the thread's own time. So several equal fleets receive the same
reports, one after the other, each as cold as the first, and the least time of each
report counts, and of reading its rows. What a fleet itself does at a report, as packing its rows,
it does at that report in every one of them; an interrupt comes at another report each time.

Reading the rows of a report is timed after the update, so the cost of first access to its data
counts as part of the update.
"""

import argparse
from collections.abc import Sequence
from itertools import product
from random import Random
from statistics import quantiles
from time import thread_time

from benchmarks._city import MachineType, next_report, read_machines, site
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.site import NodeClass, SiteStatus
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.fleet import Fleet

_MICROSECONDS = 1_000_000
_EQUAL_FLEETS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this benchmark."""
    parser.add_argument(
        "--cases", type=int, default=10_000, metavar="N", help="random cases (default: %(default)s)"
    )
    parser.add_argument(
        "--sites",
        type=int,
        default=10_000,
        metavar="N",
        help="sites of the fleet (default: %(default)s)",
    )
    parser.add_argument(
        "--reports",
        type=int,
        default=500,
        metavar="N",
        help="reports to time (default: %(default)s)",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row.

    Raises:
        FileNotFoundError: the public trace is missing.
    """
    random = Random(arguments.seed)  # noqa: S311 - a benchmark, seeded
    wrong = sum(not is_exact(random) for _ in range(arguments.cases))
    forms = read_machines(arguments.data)
    beyond, whole = _measure_updates(arguments.sites, arguments.reports, forms, random)
    return [
        {
            "cases": arguments.cases,
            "mismatches": wrong,
            "sites": arguments.sites,
            "update_us_p99": round(beyond, 1),
            "update_with_rows_us_p99": round(whole, 1),
        }
    ]


def _one_in(random: Random, count: int) -> bool:
    return random.randrange(count) == 0


def is_exact(random: Random) -> bool:
    """Whether placement code and brute force agree on one random site and pod."""
    shape = PodShape(
        requests={"cpu": random.randrange(1, 900), "memory": random.randrange(1, 900), "pods": 1},
        gpu_cards=random.choice((0, 0, 1, 1, 2)),
        one_per_node=_one_in(random, 10),
    )
    if shape.gpu_cards:
        share = random.choice((1000, 500, 300)) if shape.gpu_cards == 1 else 1000
        shape = PodShape(
            requests=shape.requests,
            gpu_cards=shape.gpu_cards,
            gpu_milli=share,
            one_per_node=shape.one_per_node,
        )
    facts = _random_site(random, shape)
    # Asked for more than fits, the engine gives what fits exactly.
    demand = Demand(key="a/b", replicas=10**6, unit=(Pods(shape=shape, count=1),))
    fleet = Fleet([facts])
    found = SiteCapacity(fleet, demand).replicas_at_slot(0)
    return found == _brute_force(facts, shape)


def _random_site(random: Random, shape: PodShape) -> SiteFacts:
    rows: list[dict[str, int | float | str]] = []
    for _ in range(random.randrange(5)):
        row: dict[str, int | float | str] = {
            "count": random.randrange(1, 4),
            "cpu": f"{random.randrange(3000)}m",
            "memory": random.randrange(3000),
            "pods": random.randrange(6),
        }
        for card in range(random.randrange(4)):
            row[f"kapok.dev/gpu-milli.{card}"] = random.choice((0, 250, 600, 1000))
        rows.append(row)
    flights = tuple(
        InFlight(workload="a/c", replicas=1, requests=_some_requests(random, shape))
        for _ in range(random.randrange(1, 4))
    )
    return SiteFacts(
        name="site",
        status=SiteStatus(node_classes=(NodeClass(architecture="amd64", free=tuple(rows)),)),
        in_flight=flights if _one_in(random, 3) else (),
    )


def _some_requests(random: Random, shape: PodShape) -> dict[str, int]:
    if _one_in(random, 2):
        return shape.requests
    return {"cpu": random.randrange(3000), "memory": random.randrange(1500), "pods": 1}


def _brute_force(facts: SiteFacts, shape: PodShape) -> int:
    """The least that remains over all assignments of what is in flight, each pod on one node."""
    nodes = [row for row in facts.status.node_classes[0].free for _ in range(int(row["count"]))]
    pods = [each.requests for each in facts.in_flight]
    anywhere = [not any(_left_beside(row, [pod], ()) for row in nodes) for pod in pods]
    tables = [_by_subset(row, pods, anywhere, shape) for row in nodes]
    least = sum(table[0] for table in tables)
    for places in product((None, *range(len(nodes))), repeat=len(pods)):
        subsets = [0] * len(nodes)
        for number, place in enumerate(places):
            if place is not None:
                subsets[place] |= 1 << number
        found = [table.get(subset) for table, subset in zip(tables, subsets, strict=True)]
        known = [each for each in found if each is not None]
        if len(known) == len(found):
            least = min(least, sum(known))
    return least


def _by_subset(
    row: dict[str, int | float | str],
    pods: list[dict[str, int]],
    anywhere: list[bool],
    shape: PodShape,
) -> dict[int, int]:
    """What a node takes beside each set of pods that fits there, by the bits of the set."""
    found = {}
    for subset in range(1 << len(pods)):
        here = [number for number in range(len(pods)) if subset >> number & 1]
        left = _left_beside(
            row,
            [pods[number] for number in here if not anywhere[number]],
            [pods[number] for number in here if anywhere[number]],
        )
        if left is not None:
            cards = [int(value) for name, value in row.items() if "gpu-milli" in name]
            found[subset] = _on_node(left, cards, shape)
    return found


def _left_beside(
    row: dict[str, int | float | str],
    pods: Sequence[dict[str, int]],
    pods_anywhere: Sequence[dict[str, int]],
) -> dict[str, int] | None:
    """What a node has left beside pods; None: the first of these do not fit."""
    left = {
        "cpu": int(str(row["cpu"]).rstrip("m")),
        "memory": int(row["memory"]),
        "pods": int(row["pods"]),
    }
    left = {name: much - sum(pod[name] for pod in pods) for name, much in left.items()}
    if min(left.values()) < 0:
        return None
    return {name: much - sum(pod[name] for pod in pods_anywhere) for name, much in left.items()}


def _on_node(left: dict[str, int], cards: list[int], shape: PodShape) -> int:
    count = 0
    while all(left[name] >= amount for name, amount in shape.requests.items()):
        cards.sort(reverse=True)
        if shape.gpu_cards and (
            len(cards) < shape.gpu_cards or cards[shape.gpu_cards - 1] < shape.gpu_milli
        ):
            break
        for place in range(shape.gpu_cards):
            cards[place] -= shape.gpu_milli
        for name, amount in shape.requests.items():
            left[name] -= amount
        count += 1
        if shape.one_per_node:
            break
    return count


def _measure_updates(
    sites: int, reports: int, forms: Sequence[MachineType], random: Random
) -> tuple[float, float]:
    """The 99th percentile of an update beyond reading its own rows, and with it; microseconds."""
    seed = random.getrandbits(64)
    runs = [_time_reports(sites, reports, forms, seed) for _ in range(_EQUAL_FLEETS)]
    whole, own = (list(map(min, *each)) for each in zip(*runs, strict=True))
    beyond = [max(0.0, one - other) for one, other in zip(whole, own, strict=True)]
    return _p99(beyond), _p99(whole)


def _time_reports(
    sites: int, reports: int, forms: Sequence[MachineType], seed: int
) -> tuple[list[float], list[float]]:
    """Seconds that each report takes, and that reading its own rows takes."""
    random = Random(seed)  # noqa: S311 - a benchmark, seeded
    fleet = Fleet(site(number, 20, forms, random) for number in range(sites))
    names = sorted(fleet.slot_of)
    whole, own = [], []
    for _ in range(reports):
        report = next_report(fleet.facts_of(random.choice(names)), random)
        begun = thread_time()
        fleet.upsert(report)
        whole.append(thread_time() - begun)
        begun = thread_time()
        fleet.nodes.read(report)
        own.append(thread_time() - begun)
    return whole, own


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98] * _MICROSECONDS
