"""The Job controller: so many successes, within the limits that the Job sets."""

from datetime import datetime, timedelta
from typing import Any

from scheduler.simulation.cluster.mirror import Mirror, Name
from scheduler.simulation.cluster.objects import JOBS, Job, Pod
from scheduler.simulation.cluster.plan import (
    NOTHING,
    Plan,
    Remove,
    Write,
    conditions,
    status_patch,
    timestamp,
)
from scheduler.simulation.cluster.podwork import (
    digest,
    is_active,
    is_ending,
    is_ready,
    new_pod,
    remove_pod,
)

_INDEX = "batch.kubernetes.io/job-completion-index"


def plan_job(mirror: Mirror, name: Name, now: datetime) -> Plan:
    """Creates pods until enough have succeeded, gives up past `backoffLimit` or the deadline."""
    job = mirror.job(name)
    if job is None or job.metadata.deletion_timestamp:
        return NOTHING
    if _is_finished(job):
        return _after(job, name, now)
    pods = mirror.pods_of(job.metadata.uid)
    active = [pod for pod in pods if is_active(pod)]
    outcome = _outcome(job, pods, now)
    if outcome is not None or job.spec.suspend:
        writes: list[Write] = [remove_pod(pod) for pod in active]
        active = []
    else:
        writes = _missing(job, pods, active)
    status = _status(job, pods, active, outcome, now)
    writes += status_patch(JOBS, name, job.status, status)
    return Plan(writes, again_seconds=_deadline_seconds(job, now))


def _is_finished(job: Job) -> bool:
    return any(
        one.get("type") in ("Complete", "Failed") and one.get("status") == "True"
        for one in job.status.get("conditions") or []
    )


def _after(job: Job, name: Name, now: datetime) -> Plan:
    """A finished Job stays, or goes `ttlSecondsAfterFinished` later."""
    ttl_seconds = job.spec.ttl_seconds_after_finished
    if ttl_seconds is None:
        return NOTHING
    ended = [
        datetime.fromisoformat(str(one["lastTransitionTime"]))
        for one in job.status.get("conditions") or []
        if one.get("type") in ("Complete", "Failed") and one.get("lastTransitionTime")
    ]
    left = (max(ended, default=now) + timedelta(seconds=ttl_seconds) - now).total_seconds()
    if left > 0:
        return Plan(again_seconds=left)
    return Plan([Remove(JOBS, name, job.metadata.uid)])


def _completions(job: Job) -> int:
    """Without `completions` one success ends the Job."""
    return 1 if job.spec.completions is None else job.spec.completions


def _done(job: Job, pods: list[Pod]) -> int:
    """Successes; of an Indexed Job every index counts once."""
    succeeded = [pod for pod in pods if pod.status.phase == "Succeeded"]
    if job.spec.completion_mode == "Indexed":
        return len({pod.metadata.annotations.get(_INDEX) for pod in succeeded})
    return len(succeeded)


def _still_working(job: Job, pods: list[Pod]) -> bool:
    """Without `completions` the pods agree among themselves; the rest may finish its work."""
    return job.spec.completions is None and any(is_active(pod) for pod in pods)


def _failures(pods: list[Pod]) -> int:
    return sum(pod.status.phase == "Failed" for pod in pods)


def _outcome(job: Job, pods: list[Pod], now: datetime) -> tuple[str, str, str] | None:
    """(condition, reason, message) of a Job that ends now."""
    if _done(job, pods) >= _completions(job) and not _still_working(job, pods):
        return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    if _failures(pods) > job.spec.backoff_limit:
        message = "Job has reached the specified backoff limit"
        return ("Failed", "BackoffLimitExceeded", message)
    left = _deadline_seconds(job, now)
    if left is not None and left <= 0:
        message = "Job was active longer than specified deadline"
        return ("Failed", "DeadlineExceeded", message)
    return None


def _deadline_seconds(job: Job, now: datetime) -> float | None:
    started = job.status.get("startTime")
    if job.spec.active_deadline_seconds is None or not started:
        return None
    limit = timedelta(seconds=job.spec.active_deadline_seconds)
    return (datetime.fromisoformat(str(started)) + limit - now).total_seconds()


def _missing(job: Job, pods: list[Pod], active: list[Pod]) -> list[Write]:
    wanted = job.spec.parallelism
    if job.spec.completions is None and _done(job, pods):
        return []
    if job.spec.completions is not None:
        wanted = min(wanted, job.spec.completions - _done(job, pods))
    if len(active) > wanted:
        return [remove_pod(pod) for pod in active[max(0, wanted) :]]
    # A pod that is being ended still holds its place, so that none runs twice.
    missing = wanted - len(active) - sum(is_ending(pod) for pod in pods)
    if job.spec.completion_mode == "Indexed":
        return _missing_indexes(job, pods, missing)
    taken = {pod.metadata.name for pod in pods}
    names = (
        f"{job.metadata.name[:250]}-{digest([job.metadata.uid, number], 5)}"
        for number in range(len(pods) + max(0, missing))
    )
    free = [name for name in names if name not in taken]
    return [new_pod(JOBS, job, name, labels=_labels(job)) for name in free[: max(0, missing)]]


def _missing_indexes(job: Job, pods: list[Pod], missing: int) -> list[Write]:
    held = {
        pod.metadata.annotations.get(_INDEX)
        for pod in pods
        if pod.status.phase != "Failed" or is_ending(pod)
    }
    free = [index for index in range(_completions(job)) if str(index) not in held]
    return [_indexed(job, index, _failures(pods)) for index in free[: max(0, missing)]]


def _indexed(job: Job, index: int, attempt: int) -> Write:
    mark = {_INDEX: str(index)}
    suffix = digest([job.metadata.uid, index, attempt], 5)
    return new_pod(
        JOBS,
        job,
        f"{job.metadata.name[:240]}-{index}-{suffix}",
        labels={**_labels(job), **mark},
        annotations=mark,
        spec={"hostname": f"{job.metadata.name[:50]}-{index}"},
    )


def _labels(job: Job) -> dict[str, str]:
    return {
        "batch.kubernetes.io/controller-uid": job.metadata.uid,
        "batch.kubernetes.io/job-name": job.metadata.name[:63],
        "job-name": job.metadata.name[:63],
    }


def _status(
    job: Job,
    pods: list[Pod],
    active: list[Pod],
    outcome: tuple[str, str, str] | None,
    now: datetime,
) -> dict[str, Any]:
    started = None if job.spec.suspend else job.status.get("startTime") or timestamp(now)
    status: dict[str, Any] = {
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "succeeded": _done(job, pods),
        "failed": _failures(pods),
        "startTime": started,
        "conditions": _conditions(job, outcome, now),
    }
    if outcome is not None and outcome[0] == "Complete":
        status["completionTime"] = timestamp(now)
    return status


def _conditions(
    job: Job, outcome: tuple[str, str, str] | None, now: datetime
) -> list[dict[str, Any]]:
    before = job.status.get("conditions") or []
    wanted: list[tuple[str, bool, str, str]] = []
    if outcome is not None:
        kind, reason, message = outcome
        # The API server refuses the end without its announcement (KEP-3998).
        announced = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        wanted = [(announced, True, reason, message), (kind, True, reason, message)]
    elif job.spec.suspend or any(one.get("type") == "Suspended" for one in before):
        reason = "JobSuspended" if job.spec.suspend else "JobResumed"
        wanted = [("Suspended", job.spec.suspend, reason, "")]
    return conditions(before, wanted, now)
