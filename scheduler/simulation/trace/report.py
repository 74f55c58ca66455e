"""What is printed and written of a run: JSON, CSV, a table."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.simulation.trace.binder import NAME as BINDING
from scheduler.simulation.trace.kapok import Effort
from scheduler.simulation.trace.runner import Outcome

CSV_COLUMNS = ("pod", "site", "node", "gpus", "start", "end")
CARD_SEPARATOR = ";"
_DIGITS = 6
_PEAKS = "peak cpu/memory/gpu"


@dataclass(frozen=True, slots=True)
class Run:
    """A trace that was played with the placement code and with the baselines."""

    pods: int
    nodes: int
    sites: Sequence[str]
    rule: str
    policy: str
    stretch: float
    kapok: Outcome
    effort: Effort
    baselines: dict[str, Outcome]
    seconds: float


def as_json(run: Run) -> dict[str, Any]:
    """The one JSON object of `kapok simulate`."""
    return {
        **_counted(run.kapok),
        "decisions_per_second": round(_rate(run.effort), 1),
        "decisions": run.effort.decisions,
        "deciding_seconds": round(run.effort.deciding_seconds, 3),
        "reporting_seconds": round(run.effort.reporting_seconds, 3),
        "baselines": {name: _counted(outcome) for name, outcome in run.baselines.items()},
        "pods": run.pods,
        "nodes": run.nodes,
        "sites": len(run.sites),
        "grouping": run.rule,
        "binding": BINDING,
        "policy": run.policy,
        "stretch": run.stretch,
        "seconds": round(run.seconds, 3),
    }


def _rate(effort: Effort) -> float:
    return effort.decisions / max(1e-9, effort.deciding_seconds)


def _counted(outcome: Outcome) -> dict[str, Any]:
    return {
        "placed": len(outcome.assignments),
        "refused": dict(sorted(outcome.refused.items())),
        "waiting": outcome.waiting,
        "waited": outcome.waited,
        "wrong_fits": outcome.wrong_fits,
        "allocation": {
            resource: {name: round(ratio, _DIGITS) for name, ratio in ratios.items()}
            for resource, ratios in outcome.usage.ratios().items()
        },
    }


def write_assignments(path: Path, outcome: Outcome, sites: Sequence[str]) -> None:
    """Writes one line per placed pod, in the order of their starts.

    `gpus` holds the indexes of the cards on the node, separated by `;`. `end` is the second from
    which the room is free again; it is empty for a pod that outlives the trace.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for one in outcome.assignments:
            cards = CARD_SEPARATOR.join(map(str, one.cards))
            end = "" if one.end_seconds is None else one.end_seconds
            writer.writerow(
                (one.pod.name, sites[one.site], one.node, cards, one.start_seconds, end)
            )


def as_text(run: Run) -> str:
    """The same for people."""
    lines = [
        f"{run.pods} pods, {run.nodes} nodes, {len(run.sites)} sites; policy {run.policy}",
        f"grouping: {run.rule}",
        f"binding: {BINDING}",
        "",
        f"{'':<14} {'placed':>8} {'refused':>8} {'waited':>8} {'wrong fits':>11}   {_PEAKS}",
    ]
    for name, outcome in {"kapok": run.kapok, **run.baselines}.items():
        ratios = outcome.usage.ratios()
        peaks = "/".join(f"{ratios[one]['peak']:.1%}" for one in ("cpu", "memory", "gpu"))
        lines.append(
            f"{name:<14} {len(outcome.assignments):>8} {outcome.refused.total():>8} "
            f"{outcome.waited:>8} {outcome.wrong_fits:>11}   {peaks}"
        )
    if run.kapok.refused:
        reasons = ", ".join(f"{slug} {count}" for slug, count in sorted(run.kapok.refused.items()))
        lines += ["", f"refused: {reasons}"]
    rate = f"{_rate(run.effort):,.0f} per second of deciding"
    lines += ["", f"{run.effort.decisions} decisions, {rate}; {run.seconds:.1f} s in all"]
    return "\n".join(lines) + "\n"
