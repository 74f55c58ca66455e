"""The CronJob controller: creates a Job at every minute of the schedule."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scheduler.model.formatters import format_rfc3339
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName, name_of
from scheduler.simulation.cluster.objects import CRON_JOBS, JOBS, CronJob, Job
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    ControllerPlan,
    Create,
    Delete,
    Patch,
    Write,
)
from scheduler.simulation.cluster.pods import owner_reference

_MINUTE = timedelta(minutes=1)
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELD_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NUMBERS_BY_NAME = {
    name: number
    for names, first in (
        ("jan feb mar apr may jun jul aug sep oct nov dec", 1),
        ("sun mon tue wed thu fri sat", 0),
    )
    for number, name in enumerate(names.split(), first)
}


def plan_cron_job(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Creates the Job of the current minute if it is due; missed minutes are not made up for."""
    cron = mirror.cron_job(name)
    if cron is None or cron.metadata.deletion_timestamp:
        return NO_CHANGE
    jobs = mirror.jobs_of(cron.metadata.uid)
    minute = now.replace(second=0, microsecond=0)
    next_seconds = (minute + _MINUTE - now).total_seconds()
    writes = _delete_surplus_jobs(cron, jobs)
    last = cron.status.last_schedule_time
    if not cron.spec.suspend and _is_due(cron, minute) and (last is None or last < minute):
        writes += _start_job(cron, jobs, minute)
    return ControllerPlan(writes, requeue_after_seconds=next_seconds)


def _start_job(cron: CronJob, jobs: list[Job], minute: datetime) -> list[Write]:
    running = [job for job in jobs if _finished_as(job) is None]
    if running and cron.spec.concurrency_policy == "Forbid":
        return []
    writes: list[Write] = []
    if cron.spec.concurrency_policy == "Replace":
        writes += [_delete_job(job) for job in running]
    status = {"lastScheduleTime": format_rfc3339(minute)}
    name = name_of(cron)
    return [
        *writes,
        Create(JOBS, _job_body(cron, minute)),
        Patch(resource=CRON_JOBS, name=name, body={"status": status}, subresource="status"),
    ]


def _job_body(cron: CronJob, minute: datetime) -> dict[str, Any]:
    template = cron.spec.job_template
    meta = template.get("metadata") or {}
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": f"{cron.metadata.name[:50]}-{int(minute.timestamp()) // 60}",
            "namespace": cron.metadata.namespace,
            "labels": meta.get("labels") or {},
            "annotations": meta.get("annotations") or {},
            "ownerReferences": [owner_reference(CRON_JOBS, cron)],
        },
        "spec": template.get("spec") or {},
    }


def _delete_surplus_jobs(cron: CronJob, jobs: list[Job]) -> list[Write]:
    """Deletions of the oldest finished Jobs beyond the history limits."""
    writes: list[Write] = []
    for kind, limit in (
        ("Complete", cron.spec.successful_jobs_history_limit),
        ("Failed", cron.spec.failed_jobs_history_limit),
    ):
        ended = [job for job in jobs if _finished_as(job) == kind]
        ended.sort(key=lambda job: str(job.status.get("startTime")))
        writes += [_delete_job(job) for job in ended[: max(0, len(ended) - limit)]]
    return writes


def _delete_job(job: Job) -> Delete:
    return Delete(resource=JOBS, name=name_of(job), uid=job.metadata.uid)


def _finished_as(job: Job) -> str | None:
    for one in job.status.get("conditions") or []:
        if one.get("type") in ("Complete", "Failed") and one.get("status") == "True":
            return str(one["type"])
    return None


def _is_due(cron: CronJob, minute: datetime) -> bool:
    try:
        zone = ZoneInfo(cron.spec.time_zone) if cron.spec.time_zone else UTC
        return matches_schedule(cron.spec.schedule, minute.astimezone(zone))
    except (ValueError, ZoneInfoNotFoundError):
        return False


def matches_schedule(schedule: str, minute: datetime) -> bool:
    """Whether a cron schedule includes this minute.

    As in crontab(5), the day of the month and the weekday are alternatives where both are given.

    Args:
        schedule: five fields, or a macro such as `@hourly`.
        minute: the minute, in the time zone of the schedule.

    Raises:
        ValueError: `schedule` is not a cron schedule.
    """
    fields = _MACROS.get(schedule.strip(), schedule).lower().split()
    if len(fields) != len(_FIELD_RANGES):
        raise ValueError(f"{schedule!r} has {len(fields)} fields, not {len(_FIELD_RANGES)}")
    minutes, hours, days, months, weekdays = (
        _parse_field(text, first, last)
        for text, (first, last) in zip(fields, _FIELD_RANGES, strict=True)
    )
    on_day = minute.day in days
    on_weekday = minute.isoweekday() % 7 in {day % 7 for day in weekdays}
    either = not (fields[2].startswith("*") or fields[4].startswith("*"))
    date_fits = (on_day or on_weekday) if either else (on_day and on_weekday)
    return (
        minute.minute in minutes and minute.hour in hours and minute.month in months and date_fits
    )


def _parse_field(text: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        if span in ("*", "?"):
            start, end = first, last
        else:
            start = _parse_number(low)
            end = _parse_number(high) if high else (last if step else start)
        found |= set(range(start, end + 1, int(step) if step else 1))
    return found


def _parse_number(text: str) -> int:
    return _NUMBERS_BY_NAME[text] if text in _NUMBERS_BY_NAME else int(text)
