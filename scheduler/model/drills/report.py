"""The report of a drill: what was ordered and ready when, what stayed, which recovery is met."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from scheduler.model.drills.drill import Drill, MeasuredWork
from scheduler.model.formatters import format_list, format_rfc3339

EndedBy = Literal["time", "operator", "site-gone"]

_NO_PLACE: Final = "no place was ordered for it before the drill ended"
_MAX_NAMED: Final = 3
_ENDINGS: Final[Mapping[EndedBy, str]] = {
    "time": "its time was over",
    "operator": "an operator ended it",
    "site-gone": "its Site is gone",
}


def drill_report(
    drill: Drill,
    *,
    seconds: float,
    ended_at: datetime | None,
    ended_by: EndedBy | None,
    reasons: Mapping[str, str],
) -> dict[str, Any]:
    """The report, in the JSON form of `kapok drill lose -o json`.

    Args:
        drill: what was measured.
        seconds: for how long it has run.
        ended_at: when it ended; None: it runs.
        ended_by: what ended it; None: it runs.
        reasons: why workloads stay at the site, as far as that is known.
    """
    moved = [one for one in drill.work if one.order_seconds is not None]
    stuck = [one for one in drill.work if one.order_seconds is None and not one.kept]
    verdicts = Counter(one.recovery(seconds) for one in drill.work)
    report: dict[str, Any] = {
        "id": drill.id,
        "site": drill.site,
        "by": drill.by,
        "why": drill.why,
        "forSeconds": drill.for_seconds,
        "startedAt": format_rfc3339(drill.started_at),
        "endedAt": None if ended_at is None else format_rfc3339(ended_at),
        "endedBy": ended_by,
        "seconds": round(seconds, 3),
        "detectionSeconds": drill.detection_seconds,
        "workloads": len(drill.work) + drill.unmeasured,
        "measured": len(drill.work),
        "moves": [_move_row(one, drill.site, seconds) for one in moved],
        "stuck": [
            {
                "workload": one.workload,
                "replicas": one.replicas,
                "reason": reasons.get(one.workload) or _NO_PLACE,
                **_recovery_row(one, seconds),
            }
            for one in stuck
        ],
        "kept": [{"workload": one.workload, "reason": one.kept} for one in drill.work if one.kept],
        "rto": {
            "met": verdicts["met"],
            "missed": verdicts["missed"],
            "unknown": verdicts["unknown"],
        },
    }
    return {**report, "line": _line_of(drill, report, stuck, moved)}


def begun_line(drill: Drill) -> str:
    """What the record of a drill that begins says."""
    by = f"{drill.by or 'an operator'} has"
    why = f": {drill.why}" if drill.why else ""
    count = len(drill.work) + drill.unmeasured
    return (
        f"{by} {drill.site} treated as lost for {drill.for_seconds:g} s, where {count} "
        f"{'workload runs' if count == 1 else 'workloads run'}{why}"
    )


def _move_row(one: MeasuredWork, site: str, seconds: float) -> dict[str, Any]:
    return {
        "workload": one.workload,
        "from": site,
        "to": list(one.to),
        "replicas": one.replicas,
        "orderSeconds": one.order_seconds,
        "readySeconds": one.ready_seconds,
        **_recovery_row(one, seconds),
    }


def _recovery_row(one: MeasuredWork, seconds: float) -> dict[str, Any]:
    return {
        "rtoSeconds": one.rto_seconds,
        "rpoSeconds": one.rpo_seconds,
        "rto": one.recovery(seconds),
    }


def _line_of(
    drill: Drill, report: Mapping[str, Any], stuck: list[MeasuredWork], moved: list[MeasuredWork]
) -> str:
    """The report in one sentence."""
    detection = drill.detection_seconds
    parts = [
        f"{drill.site} was not silent yet"
        if detection is None
        else f"{drill.site} silent after {detection:.1f} s"
    ]
    if moved:
        last_order = max(one.order_seconds or 0.0 for one in moved)
        parts.append(
            f"{len(moved)} of {report['workloads']} ordered elsewhere by {last_order:.1f} s"
        )
        ready = [one.ready_seconds for one in moved if one.ready_seconds is not None]
        last_ready = f" by {max(ready):.1f} s" if ready else ""
        parts.append(f"{len(ready)} ready{last_ready}")
    if stuck:
        named = format_list([one.workload for one in stuck], _MAX_NAMED)
        parts.append(f"{len(stuck)} {'stays' if len(stuck) == 1 else 'stay'}: {named}")
    if not report["workloads"]:
        parts.append("nothing runs there")
    missed = report["rto"]["missed"]
    if missed:
        parts.append(f"{missed} missed the recovery time")
    ending = _ENDINGS.get(report["endedBy"])
    head = f"drill of {drill.site} over {report['seconds']:.0f} s"
    return f"{head}{f' ({ending})' if ending else ''}: {'; '.join(parts)}"
