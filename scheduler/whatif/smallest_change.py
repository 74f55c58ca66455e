"""The smallest change that would place what is left without a place, verified by the engine.

First how many empty sites like one that exists would take all of it. Then, for the workloads of
the highest priority, what `kapok explain` suggests for each alone. What only an operator's word
moves is listed with that word.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.facts import SiteFacts
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.whatif.demands import Progress, no_progress
from scheduler.whatif.figures import used_by_site
from scheduler.whatif.scenario.apply import ChangedFleet
from scheduler.whatif.scenario.new_sites import copies_of
from scheduler.whatif.settling.scratch import ScratchFleet
from scheduler.whatif.settling.settle import settle
from scheduler.whatif.settling.settled_fleet import SettledFleet, open_fleet

Row = dict[str, Any]

_MAX_EXPLAINED = 3
_MAX_EXPLAINED_OF_LARGE = 1
_LARGE_FLEET = 200
_MAX_ROWS_TRIED = 2_000
_MAX_ROWS_BISECTED = 300
_MAX_SAMPLE = 32
_MAX_SITES_TRIED = 2
_MAX_NEW_SITES = 64
_MAX_BY_OPERATOR = 20
_MAX_TASKS_REPEATED = 3_000


def smallest_changes(
    settled: SettledFleet,
    changed: ChangedFleet,
    rows: Sequence[Row],
    others: Sequence[Row] = (),
    progress: Progress = no_progress,
) -> list[Row]:
    """Changes that would help, the one that places all the rest first.

    Args:
        settled: the fleet after the scenario.
        changed: what the scenario changes.
        rows: what is to be placed, as `unplaced_rows` has it.
        others: what waits besides, and takes room that is added.
        progress: shows how far it is.
    """
    if not rows or changed.is_broker_lost:
        return []
    if changed.freeze:
        word = SuggestedChange(kind="operator.word", target="evictions", to="kapok thaw")
        return [change_row(word, [row["workload"] for row in rows])]
    progress("suggested", 0, 1)
    keys = [row["workload"] for row in rows if not row["byOperator"]]
    tried = [key for key in keys if key in settled.decided_demands]
    found: list[Row] = []
    if tried and len(tried) == len(keys) and len(tried) <= _MAX_ROWS_TRIED:
        beside = [row["workload"] for row in others if row["workload"] in settled.tasks]
        whole = _new_sites_for(_SiteTrials(settled, tried, beside, changed.left), progress)
        found += [whole] if whole else []
    most = _MAX_EXPLAINED_OF_LARGE if len(settled.fleet) > _LARGE_FLEET else _MAX_EXPLAINED
    for key in tried[:most]:
        demand = settled.decided_demands[key]
        progress("suggested", len(found), len(found) + 1)
        changes = suggest_changes(demand, settled.fleet, settled.context)
        found += [change_row(one, [key]) for one in changes if not _undoes(one, changed)]
    words = [_operator_row(row) for row in rows if row["byOperator"]]
    return found + words[:_MAX_BY_OPERATOR]


def _undoes(change: SuggestedChange, changed: ChangedFleet) -> bool:
    """Whether a change only takes back what the scenario says: a site that is left is no help."""
    return not changed.left.isdisjoint(change.target.split(" + "))


def change_row(change: SuggestedChange, workloads: Sequence[str]) -> Row:
    """A suggestion as `kapok explain` has it, with the workloads that it places."""
    return {
        "kind": change.kind,
        "target": change.target,
        "from": change.from_,
        "to": change.to,
        "verified": change.verified,
        "who": change.who,
        "workloads": list(workloads),
    }


def _operator_row(row: Row) -> Row:
    word = f"kapok failover {row['workload']}"
    if row["staysAt"]:
        word = f"kapok site drain {row['staysAt'][0]} --force"
    change = SuggestedChange(kind="operator.word", target=row["workload"], to=word)
    return change_row(change, [row["workload"]])


def _new_sites_for(trials: "_SiteTrials", progress: Progress) -> Row | None:
    """The fewest sites like one that exists with which all the workloads are placed."""
    best: tuple[int, str] | None = None
    for site in trials.sites_to_copy():
        limit = _MAX_NEW_SITES if best is None else best[0] - 1
        fewest = _fewest(trials, site, limit, progress)
        if fewest is not None:
            best = (fewest, site)
    if best is None:
        return None
    count, site = best
    is_verified = False
    if len(trials.settled.tasks) <= _MAX_TASKS_REPEATED:
        counts = [count + more for more in (0, 1, count, 3 * count)]
        found = next((one for one in counts if trials.is_enough_from_the_start(site, one)), None)
        if found is None:
            return None
        count, is_verified = found, True
    target = f"a site like {site}"
    change = SuggestedChange(
        kind="site.add", target=target, from_="0", to=str(count), verified=is_verified
    )
    return change_row(change, trials.keys)


def _fewest(trials: "_SiteTrials", site: str, limit: int, progress: Progress) -> int | None:
    """The smallest number of copies that suffices, found by doubling and bisection."""
    if limit < 1:
        return None
    low, high = 0, 1
    while not trials.suffices(site, min(high, limit)):
        progress("suggested", low, limit)
        if high >= limit:
            return None
        low, high = high, high * 2
    high = min(high, limit)
    while high - low > 1 and len(trials.keys) <= _MAX_ROWS_BISECTED:
        middle = (low + high) // 2
        low, high = (low, middle) if trials.suffices(site, middle) else (middle, high)
    return high


@dataclass(slots=True)
class _SiteTrials:
    """Runs the engine with more sites, on a scratch fleet.

    Attributes:
        settled: the fleet after the scenario; it stays as it is.
        keys: the workloads that are to be placed.
        beside: others that wait, and take room that is added.
        left: the sites at which nothing is to be any more.
    """

    settled: SettledFleet
    keys: Sequence[str]
    beside: Sequence[str]
    left: frozenset[str]
    _scratch: ScratchFleet = field(init=False)
    _used: Mapping[str, Counter[str]] = field(init=False)

    def __post_init__(self) -> None:
        settled = self.settled
        self._scratch = ScratchFleet(settled)
        placed = {key: settled.replicas_of(key) for key in settled.demands}
        self._used = used_by_site(settled.demands, placed)

    def sites_to_copy(self) -> Iterator[str]:
        """The sites whose rules admit most of the workloads, those with most nodes first."""
        admitted: Counter[str] = Counter()
        for key in self.keys[:_MAX_SAMPLE]:
            fleet, demand = self._scratch.fleet, self.settled.decided_demands[key]
            state = prepare_cycle(demand, fleet, self.settled.context)
            for slot in state.filter_result.admitted_slots.tolist():
                admitted[fleet.name_at(slot)] += 1
        order = sorted(admitted, key=lambda name: (-admitted[name], -self._size(name), name))
        yield from order[:_MAX_SITES_TRIED]

    def _size(self, site: str) -> int:
        return sum(len(one.free) for one in self._scratch.facts[site].status.node_classes)

    def suffices(self, site: str, copies: int) -> bool:
        """Whether all the workloads are placed with so many more sites like one."""
        keys = (*self.keys, *self.beside)
        trial = self._scratch.decide_with(self._copies(site, copies), keys)
        return all(trial.has_left(key, self.left) for key in self.keys)

    def is_enough_from_the_start(self, site: str, copies: int) -> bool:
        """The same, when all that the scenario concerns is decided again with the new sites."""
        settled = self.settled
        copy = settled.copy.with_facts(self._copies(site, copies))
        trial = open_fleet(copy, settled.reader, settled.demands)
        # What ended for others may stay where the others find room.
        settle(trial, [one for one in settled.tasks.values() if not one.preempted])
        return all(trial.has_left(key, self.left) for key in self.keys)

    def _copies(self, site: str, copies: int) -> list[SiteFacts]:
        used = self._used.get(site, Counter())
        return copies_of(self.settled.copy, self._scratch.facts[site], copies, used)
