"""Output of `kapok simulate`: JSON, a table, and assignments as CSV."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.simulation.trace.binder import BINDING_RULE as BINDING
from scheduler.simulation.trace.kapok import DecisionTimings
from scheduler.simulation.trace.runner import TraceOutcome

CSV_COLUMNS = ("pod", "site", "node", "gpus", "start", "end")
CARD_SEPARATOR = ";"
_RATIO_DIGITS = 6
_PEAKS_HEADER = "peak cpu/memory/gpu"
_NOTE = "no-tenant"  # a trace is decided without tenancy, as files without a Tenant are


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceComparison:
    """Results of a trace with the placement code and with the baselines.

    Attributes:
        pod_count: pods of the trace.
        node_count: nodes of the trace.
        site_names: names of the sites.
        grouping: the rule by which nodes were grouped into sites.
        policy: name of the placement policy.
        stretch: factor on the time that pods stay.
        kapok: result of the placement code.
        timings: time that its decisions took.
        baselines: results of the baselines by name.
        elapsed_seconds: time of all runs.
    """

    pod_count: int
    node_count: int
    site_names: Sequence[str]
    grouping: str
    policy: str
    stretch: float
    kapok: TraceOutcome
    timings: DecisionTimings
    baselines: dict[str, TraceOutcome]
    elapsed_seconds: float


def as_json(comparison: TraceComparison) -> dict[str, Any]:
    """The JSON object of `kapok simulate -o json`."""
    return {
        **_outcome_as_json(comparison.kapok),
        "decisions_per_second": round(_decisions_per_second(comparison.timings), 1),
        "decisions": comparison.timings.decisions,
        "deciding_seconds": round(comparison.timings.deciding_seconds, 3),
        "reporting_seconds": round(comparison.timings.reporting_seconds, 3),
        "baselines": {
            name: _outcome_as_json(outcome) for name, outcome in comparison.baselines.items()
        },
        "pods": comparison.pod_count,
        "nodes": comparison.node_count,
        "sites": len(comparison.site_names),
        "grouping": comparison.grouping,
        "binding": BINDING,
        "policy": comparison.policy,
        "stretch": comparison.stretch,
        "seconds": round(comparison.elapsed_seconds, 3),
        "notes": [_NOTE],
    }


def _decisions_per_second(timings: DecisionTimings) -> float:
    return timings.decisions / max(1e-9, timings.deciding_seconds)


def _outcome_as_json(outcome: TraceOutcome) -> dict[str, Any]:
    return {
        "placed": len(outcome.assignments),
        "refused": dict(sorted(outcome.refused.items())),
        "waiting": outcome.waiting,
        "waited": outcome.waited,
        "wrong_fits": outcome.wrong_fits,
        "allocation": {
            resource: {name: round(ratio, _RATIO_DIGITS) for name, ratio in ratios.items()}
            for resource, ratios in outcome.usage.ratios().items()
        },
    }


def write_assignments(path: Path, outcome: TraceOutcome, site_names: Sequence[str]) -> None:
    """Writes one line for each placed pod, by start time.

    `gpus` holds the indexes of the pod's cards on the node, separated by `;`. `end` is the second
    at which the capacity is free again; it is empty for a pod that never ends.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for one in outcome.assignments:
            cards = CARD_SEPARATOR.join(map(str, one.card_indexes))
            end = "" if one.end_seconds is None else one.end_seconds
            writer.writerow(
                (one.pod.name, site_names[one.site], one.node, cards, one.start_seconds, end)
            )


def format_text(comparison: TraceComparison) -> str:
    """The results as text with a table."""
    size = f"{comparison.pod_count} pods, {comparison.node_count} nodes"
    lines = [
        f"{size}, {len(comparison.site_names)} sites; policy {comparison.policy}",
        f"grouping: {comparison.grouping}",
        f"binding: {BINDING}",
        "",
        f"{'':<14} {'placed':>8} {'refused':>8} {'waited':>8} {'wrong fits':>11} {_PEAKS_HEADER}",
    ]
    for name, outcome in {"kapok": comparison.kapok, **comparison.baselines}.items():
        ratios = outcome.usage.ratios()
        peaks = "/".join(f"{ratios[one]['peak']:.1%}" for one in ("cpu", "memory", "gpu"))
        lines.append(
            f"{name:<14} {len(outcome.assignments):>8} {outcome.refused.total():>8} "
            f"{outcome.waited:>8} {outcome.wrong_fits:>11}   {peaks}"
        )
    if comparison.kapok.refused:
        reasons = ", ".join(
            f"{slug} {count}" for slug, count in sorted(comparison.kapok.refused.items())
        )
        lines += ["", f"refused: {reasons}"]
    timings = comparison.timings
    rate = f"{_decisions_per_second(timings):,.0f} per second of deciding"
    lines += [
        "",
        f"{timings.decisions} decisions, {rate}; {comparison.elapsed_seconds:.1f} s in all",
        f"note: {_NOTE}: a trace has no Tenants, so no quota, budget or priority limit was checked",
    ]
    return "\n".join(lines) + "\n"
