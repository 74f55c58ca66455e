"""The CronJob controller: a Job at every due minute."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import CRON_JOBS, JOBS, CronJob, Job
from scheduler.simulation.cluster.plan import (
    NOTHING,
    Create,
    Patch,
    Plan,
    Remove,
    Write,
    timestamp,
)

_MINUTE = timedelta(minutes=1)
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = {
    name: number
    for names, first in (
        ("jan feb mar apr may jun jul aug sep oct nov dec", 1),
        ("sun mon tue wed thu fri sat", 0),
    )
    for number, name in enumerate(names.split(), first)
}


def plan_cron_job(mirror: Mirror, name: Name, now: datetime) -> Plan:
    """Makes the Job of the current minute if it is due; minutes that were missed stay missed."""
    cron = mirror.cron_job(name)
    if cron is None or cron.metadata.deletion_timestamp:
        return NOTHING
    jobs = mirror.jobs_of(cron.metadata.uid)
    minute = now.replace(second=0, microsecond=0)
    next_seconds = (minute + _MINUTE - now).total_seconds()
    writes = _surplus(cron, jobs)
    last = cron.status.last_schedule_time
    if not cron.spec.suspend and _is_due(cron, minute) and (last is None or last < minute):
        writes += _start(cron, jobs, minute)
    return Plan(writes, again_seconds=next_seconds)


def _start(cron: CronJob, jobs: list[Job], minute: datetime) -> list[Write]:
    running = [job for job in jobs if _ended(job) is None]
    if running and cron.spec.concurrency_policy == "Forbid":
        return []
    writes: list[Write] = []
    if cron.spec.concurrency_policy == "Replace":
        writes += [_remove(job) for job in running]
    status = {"lastScheduleTime": timestamp(minute)}
    name = (cron.metadata.namespace, cron.metadata.name)
    return [
        *writes,
        Create(JOBS, _job(cron, minute)),
        Patch(CRON_JOBS, name, {"status": status}, "status"),
    ]


def _job(cron: CronJob, minute: datetime) -> dict[str, Any]:
    template = cron.spec.job_template
    meta = template.get("metadata") or {}
    owner = {
        "apiVersion": CRON_JOBS.api_version,
        "kind": CRON_JOBS.kind,
        "name": cron.metadata.name,
        "uid": cron.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": f"{cron.metadata.name[:50]}-{int(minute.timestamp()) // 60}",
            "namespace": cron.metadata.namespace,
            "labels": meta.get("labels") or {},
            "annotations": meta.get("annotations") or {},
            "ownerReferences": [owner],
        },
        "spec": template.get("spec") or {},
    }


def _surplus(cron: CronJob, jobs: list[Job]) -> list[Write]:
    """Old Jobs beyond the history limits."""
    writes: list[Write] = []
    for kind, limit in (
        ("Complete", cron.spec.successful_jobs_history_limit),
        ("Failed", cron.spec.failed_jobs_history_limit),
    ):
        ended = [job for job in jobs if _ended(job) == kind]
        ended.sort(key=lambda job: str(job.status.get("startTime")))
        writes += [_remove(job) for job in ended[: max(0, len(ended) - limit)]]
    return writes


def _remove(job: Job) -> Remove:
    return Remove(JOBS, (job.metadata.namespace, job.metadata.name), job.metadata.uid)


def _ended(job: Job) -> str | None:
    for one in job.status.get("conditions") or []:
        if one.get("type") in ("Complete", "Failed") and one.get("status") == "True":
            return str(one["type"])
    return None


def _is_due(cron: CronJob, minute: datetime) -> bool:
    try:
        zone = ZoneInfo(cron.spec.time_zone) if cron.spec.time_zone else UTC
        return matches(cron.spec.schedule, minute.astimezone(zone))
    except (ValueError, ZoneInfoNotFoundError):
        return False


def matches(schedule: str, minute: datetime) -> bool:
    """Whether a cron schedule names this minute (crontab(5): day and weekday are alternatives).

    Raises:
        ValueError: it is not a schedule.
    """
    fields = _NAMED.get(schedule.strip(), schedule).lower().split()
    if len(fields) != len(_RANGES):
        raise ValueError(f"{schedule!r} has {len(fields)} fields, not {len(_RANGES)}")
    minutes, hours, days, months, weekdays = (
        _numbers(text, first, last) for text, (first, last) in zip(fields, _RANGES, strict=True)
    )
    on_day = minute.day in days
    on_weekday = minute.isoweekday() % 7 in {day % 7 for day in weekdays}
    either = not (fields[2].startswith("*") or fields[4].startswith("*"))
    date_fits = (on_day or on_weekday) if either else (on_day and on_weekday)
    return (
        minute.minute in minutes and minute.hour in hours and minute.month in months and date_fits
    )


def _numbers(text: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        if span in ("*", "?"):
            start, end = first, last
        else:
            start = _number(low)
            end = _number(high) if high else (last if step else start)
        found |= set(range(start, end + 1, int(step) if step else 1))
    return found


def _number(text: str) -> int:
    return _NAMES[text] if text in _NAMES else int(text)
