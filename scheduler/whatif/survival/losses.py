"""Which losses are asked about, and what each would make of the sites and their work."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast, get_args

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.kinds.workload import Workload
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.scenario.apply import domain_of
from scheduler.whatif.scenario.changes import LoseSites, LossKind, ScenarioError
from scheduler.whatif.scenario.words import nearest
from scheduler.whatif.settling.settled_fleet import is_over, running_replicas

ALL_VALUES: Final = "*"
MAX_LOSSES: Final = 20_000
MAX_NAMED_LOSSES: Final = 1_000
"""One question names so many at the most."""
_KINDS: Final = get_args(LossKind)


def read_loss(word: str) -> LoseSites:
    """The loss that a word of the command line names: `gz-edge`, `province=CN-GD` or `city=*`.

    Raises:
        ScenarioError: the key is unknown, or a value is missing.
    """
    key, equals, value = word.partition("=")
    if not equals:
        key, value = "site", word
    if key not in _KINDS:
        keys = ", ".join(f"{one}=NAME" for one in _KINDS)
        raise ScenarioError(f"{word[:80]}: {key[:80]!r} is no key; write SITE or one of {keys}")
    if not value:
        raise ScenarioError(f"{word[:80]}: name the {key}; {key}=* is each of them")
    return LoseSites(kind=cast("LossKind", key), value=value)


def name_of(loss: LoseSites) -> str:
    """A loss as it is written: the name of a site, or `KEY=VALUE`."""
    return loss.value if loss.kind == "site" else f"{loss.kind}={loss.value}"


@dataclass(slots=True)
class LossIndex:
    """The sites by what they are lost with, and the workloads by their sites.

    Args:
        copy: the fleet.
        demands: of all its workloads.
    """

    copy: FleetCopy
    demands: dict[str, Demand | NotAccepted]
    _sites: dict[str, dict[str, list[str]]] = field(init=False)
    _work: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._sites, self._work = {kind: {} for kind in _KINDS}, {}
        for facts in self.copy.facts:
            self._sites["site"][facts.name] = [facts.name]
            for kind in _KINDS[1:]:
                domain = domain_of(facts, kind)
                if domain:
                    self._sites[kind].setdefault(domain, []).append(facts.name)
        for workload in self.copy.workloads:
            if not is_over(workload):
                for site in placed_of(workload, self.demands[workload.metadata.key]):
                    self._work.setdefault(site, []).append(workload.metadata.key)

    def expanded(self, losses: Sequence[LoseSites]) -> list[LoseSites]:
        """The losses, each once; those of all values one by one, and all sites if none is named.

        Raises:
            ScenarioError: a site or a value does not exist, or there are too many.
        """
        found: dict[LoseSites, None] = {}
        for loss in losses or [LoseSites(kind="site", value=ALL_VALUES)]:
            values = self._sites[loss.kind]
            if loss.value == ALL_VALUES:
                found |= dict.fromkeys(
                    LoseSites(kind=loss.kind, value=one) for one in sorted(values)
                )
                continue
            if loss.value not in values:
                what = "there is no site" if loss.kind == "site" else f"no site has the {loss.kind}"
                raise ScenarioError(f"{what} {loss.value[:80]!r}{nearest(loss.value, values)}")
            found[loss] = None
        if len(found) > MAX_LOSSES:
            raise ScenarioError(f"at most {MAX_LOSSES} losses are judged in one answer")
        return list(found)

    def sites_of(self, loss: LoseSites) -> frozenset[str]:
        """The sites that are lost."""
        return frozenset(self._sites[loss.kind][loss.value])

    def work_at(self, sites: Iterable[str]) -> list[str]:
        """The workloads with replicas at any of some sites, by name."""
        return sorted({key for site in sites for key in self._work.get(site, ())})


def placed_of(workload: Workload, demand: Demand | NotAccepted) -> dict[str, int]:
    """What runs of a workload by site."""
    placed = demand.placed_replicas if isinstance(demand, Demand) else running_replicas(workload)
    return {site: count for site, count in placed.items() if count}
