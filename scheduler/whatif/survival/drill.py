"""What a drill would do: the plan of the site's loss, and when each order of it is expected.

A site counts as silent after the time of the settings; each workload waits for its own time of
failover; and evictions go at the rate of the settings, five seconds of it at once. When the pods
are ready elsewhere is not known before they run: a real drill measures it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from scheduler.model.demand.accept import policy_applies_to
from scheduler.model.demand.failover import failover_rules, recovery_by
from scheduler.model.drills.drill import MAX_TARGETS, MeasuredWork, SiteToLose, why_no_drill
from scheduler.model.kinds.policy import ClusterPlacementPolicy, Failover, PlacementPolicy, Recovery
from scheduler.model.kinds.workload import Workload
from scheduler.whatif.demands import Progress, no_progress
from scheduler.whatif.fleet_copy import CopyObjects, FleetCopy
from scheduler.whatif.leaving import FROZEN
from scheduler.whatif.scenario.changes import LoseSites, ScenarioError
from scheduler.whatif.survival.answer import ask_survival

_BURST_SECONDS: Final = 5.0


def ask_drill(
    copy: FleetCopy, site: str, seconds: float, progress: Progress = no_progress
) -> dict[str, Any]:
    """What a drill of a site would do now, in the JSON form of `kapok drill lose --dry-run`.

    Args:
        copy: the fleet; it stays as it is.
        site: what would be treated as lost.
        seconds: for how long.
        progress: shows how far it is.

    Raises:
        ScenarioError: that drill would be refused; the message says why.
        NotAQuantity: an amount of a site cannot be read.
    """
    objects = copy.objects
    facts = {one.name: one for one in copy.facts}
    known = facts.get(site)
    refusal = why_no_drill(
        site,
        seconds,
        site=None
        if known is None
        else SiteToLose(
            labels=known.labels,
            is_reporting=not known.is_silent,
            silent_after_seconds=objects.silent_after_seconds,
        ),
        known=facts,
        held_because=f"{objects.freeze}; {FROZEN}" if objects.freeze else "",
    )
    if refusal is not None:
        raise ScenarioError(f"{refusal.reason}: {refusal.message}")
    answer = ask_survival(copy, [LoseSites(kind="site", value=site)], progress)
    return _Expected(copy, site, seconds).answer(answer["losses"][0], answer)


@dataclass(frozen=True, slots=True)
class _Due:
    """A workload that failover replaces, and when that is due."""

    at_seconds: float
    work: MeasuredWork


class _Expected:
    """Turns the judgement of a loss into what a drill is expected to show.

    Args:
        copy: the fleet.
        site: what is lost.
        seconds: the length of the drill.
    """

    def __init__(self, copy: FleetCopy, site: str, seconds: float) -> None:
        self._objects, self._site, self._seconds = copy.objects, site, seconds
        self._workloads = {one.metadata.key: one for one in copy.workloads}

    def answer(self, loss: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        """The answer in its JSON form."""
        stuck = {one["workload"]: str(one["line"]) for one in loss["lost"]}
        stuck |= {one["workload"]: str(one["why"]) for one in loss["byOperator"]}
        plan = {one["workload"]: one["to"] for one in loss["plan"] or ()}
        due = [self._due(key, targets) for key, targets in plan.items() if key not in stuck]
        for one in due:
            if one.at_seconds > self._seconds:
                after = f"its failover begins after {one.at_seconds:g} s of silence"
                stuck[one.work.workload] = after
        ordered = self._with_orders([one for one in due if one.work.workload not in stuck])
        recoveries = {key: recovery_of(self._workloads[key], self._objects) for key in stuck}
        verdicts = Counter(self._verdict(one.work, one.at_seconds) for one in ordered)
        return {
            "dryRun": True,
            "site": self._site,
            "forSeconds": self._seconds,
            "detectionSeconds": self._objects.silent_after_seconds,
            "workloads": loss["workloads"],
            "survives": loss["survives"],
            "moves": [
                {
                    "workload": one.work.workload,
                    "from": self._site,
                    "to": list(one.work.to),
                    "replicas": one.work.replicas,
                    "orderSeconds": round(one.at_seconds, 3),
                    "readySeconds": None,
                    "rtoSeconds": one.work.rto_seconds,
                    "rpoSeconds": one.work.rpo_seconds,
                    "rto": self._verdict(one.work, one.at_seconds),
                }
                for one in ordered
            ],
            "stuck": [
                {
                    "workload": key,
                    "reason": why,
                    "rtoSeconds": recoveries[key].rto_seconds,
                    "rpoSeconds": recoveries[key].rpo_seconds,
                }
                for key, why in sorted(stuck.items())
            ],
            "stuckCount": len(stuck) + max(0, loss["lostCount"] - len(loss["lost"])),
            "rto": {"met": 0, "missed": verdicts["missed"], "unknown": verdicts["unknown"]},
            "line": f"expected of a loss of {self._site}: {loss['sentence']}",
            "computedAt": asked["computedAt"],
            "notes": [*asked["notes"], *_notes(loss)],
        }

    def _due(self, key: str, targets: list[Mapping[str, Any]]) -> _Due:
        workload, objects = self._workloads[key], self._objects
        after = failover_after(workload, objects)
        recovery = recovery_of(workload, objects)
        work = MeasuredWork(
            workload=key,
            replicas=sum(int(one["replicas"]) for one in targets),
            rto_seconds=recovery.rto_seconds,
            rpo_seconds=recovery.rpo_seconds,
            to=tuple(str(one["site"]) for one in targets)[:MAX_TARGETS],
        )
        return _Due(max(objects.silent_after_seconds, after), work)

    def _with_orders(self, due: list[_Due]) -> list[_Due]:
        """When each is ordered at the rate of evictions; the order of the plan is that of starts.

        A bucket of tokens: five seconds' worth may start at once, and then one after the other.
        """
        rate = self._objects.evictions_per_second
        tokens, filled_at = max(1.0, rate * _BURST_SECONDS), 0.0
        most, found = tokens, list[_Due]()
        for one in sorted(due, key=lambda each: each.at_seconds):  # stable: by priority within
            now = max(one.at_seconds, filled_at)
            tokens = min(most, tokens + rate * (now - filled_at))
            if tokens < 1.0:
                now += (1.0 - tokens) / rate
                tokens = 1.0
            tokens, filled_at = tokens - 1.0, now
            found.append(_Due(now, one.work))
        return found

    def _verdict(self, work: MeasuredWork, order_seconds: float) -> str | None:
        """Whether the recovery time can still be met once the order is out; met is not known."""
        if work.rto_seconds is None:
            return None
        return "missed" if order_seconds > work.rto_seconds else "unknown"


def _notes(loss: Mapping[str, Any]) -> list[str]:
    more = loss["byOperatorCount"] - len(loss["byOperator"])
    return [f"{more} more wait for an operator's word, and are among the moves"] if more else []


def policies_in(
    workload: Workload, objects: CopyObjects
) -> list[PlacementPolicy | ClusterPlacementPolicy]:
    """The policies of a copy that apply to a workload."""
    reference = workload.spec.policy_ref
    named = [
        one
        for one in objects.policies
        if reference is not None
        and (one.metadata.namespace, one.metadata.name)
        == (workload.metadata.namespace, reference.name)
    ]
    shared = [one for one in objects.cluster_policies if policy_applies_to(one, workload)]
    return [*named, *shared]


def recovery_of(workload: Workload, objects: CopyObjects) -> Recovery:
    """The recovery that is asked of a workload of a copy."""
    return recovery_by(workload.spec, policies_in(workload, objects))


def failover_after(workload: Workload, objects: CopyObjects) -> float:
    """How long a site must be silent before a workload of a copy is replaced, s."""
    policies = policies_in(workload, objects)
    named = next((one.spec.failover for one in policies if isinstance(one, PlacementPolicy)), None)
    shared = (one.spec.failover for one in policies if isinstance(one, ClusterPlacementPolicy))
    rules = failover_rules(workload.spec.failover, named or Failover(), shared, has_state=False)
    after = rules.after_seconds
    return objects.failover_after_seconds if after is None else float(after)
