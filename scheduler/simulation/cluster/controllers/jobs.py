"""The Job controller: runs pods until enough succeed, within the limits of the Job."""

from datetime import datetime, timedelta
from typing import Any

from scheduler.model.formatters import format_rfc3339
from scheduler.simulation.cluster.mirror import Mirror, NamespacedName
from scheduler.simulation.cluster.objects import JOBS, Job, Pod
from scheduler.simulation.cluster.plan import (
    NO_CHANGE,
    ControllerPlan,
    Delete,
    Write,
    merge_conditions,
    status_patch,
)
from scheduler.simulation.cluster.pods import (
    delete_pod,
    is_active,
    is_ready,
    is_terminating,
    name_safe_hash,
    new_pod,
)

_INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


def plan_job(mirror: Mirror, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Creates pods until enough have succeeded; fails past `backoffLimit` or the deadline."""
    job = mirror.job(name)
    if job is None or job.metadata.deletion_timestamp:
        return NO_CHANGE
    if _is_finished(job):
        return _plan_cleanup(job, name, now)
    pods = mirror.pods_of(job.metadata.uid)
    active = [pod for pod in pods if is_active(pod)]
    outcome = _outcome(job, pods, now)
    if outcome is not None or job.spec.suspend:
        writes: list[Write] = [delete_pod(pod) for pod in active]
        active = []
    else:
        writes = _scale_pods(job, pods, active)
    status = _status(job, pods, active, outcome, now)
    writes += status_patch(JOBS, name, job.status, status)
    return ControllerPlan(writes, requeue_after_seconds=_seconds_to_deadline(job, now))


def _is_finished(job: Job) -> bool:
    return any(
        one.get("type") in ("Complete", "Failed") and one.get("status") == "True"
        for one in job.status.get("conditions") or []
    )


def _plan_cleanup(job: Job, name: NamespacedName, now: datetime) -> ControllerPlan:
    """Deletes a finished Job after `ttlSecondsAfterFinished`; without that field it stays."""
    ttl_seconds = job.spec.ttl_seconds_after_finished
    if ttl_seconds is None:
        return NO_CHANGE
    ended = [
        datetime.fromisoformat(str(one["lastTransitionTime"]))
        for one in job.status.get("conditions") or []
        if one.get("type") in ("Complete", "Failed") and one.get("lastTransitionTime")
    ]
    left = (max(ended, default=now) + timedelta(seconds=ttl_seconds) - now).total_seconds()
    if left > 0:
        return ControllerPlan(requeue_after_seconds=left)
    return ControllerPlan([Delete(resource=JOBS, name=name, uid=job.metadata.uid)])


def _completions(job: Job) -> int:
    """Successes that the Job needs; one if `completions` is not set."""
    return 1 if job.spec.completions is None else job.spec.completions


def _success_count(job: Job, pods: list[Pod]) -> int:
    """Succeeded pods; in an Indexed Job every index counts once."""
    succeeded = [pod for pod in pods if pod.status.phase == "Succeeded"]
    if job.spec.completion_mode == "Indexed":
        return len({pod.metadata.annotations.get(_INDEX_ANNOTATION) for pod in succeeded})
    return len(succeeded)


def _is_still_working(job: Job, pods: list[Pod]) -> bool:
    """Whether pods may finish their work after the first success.

    Without `completions` the pods coordinate among themselves (a work queue), so none is stopped.
    """
    return job.spec.completions is None and any(is_active(pod) for pod in pods)


def _failure_count(pods: list[Pod]) -> int:
    return sum(pod.status.phase == "Failed" for pod in pods)


def _outcome(job: Job, pods: list[Pod], now: datetime) -> tuple[str, str, str] | None:
    """Condition, reason and message of a Job that finishes now; None: it goes on."""
    if _success_count(job, pods) >= _completions(job) and not _is_still_working(job, pods):
        return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    if _failure_count(pods) > job.spec.backoff_limit:
        message = "Job has reached the specified backoff limit"
        return ("Failed", "BackoffLimitExceeded", message)
    left = _seconds_to_deadline(job, now)
    if left is not None and left <= 0:
        message = "Job was active longer than specified deadline"
        return ("Failed", "DeadlineExceeded", message)
    return None


def _seconds_to_deadline(job: Job, now: datetime) -> float | None:
    started = job.status.get("startTime")
    if job.spec.active_deadline_seconds is None or not started:
        return None
    limit = timedelta(seconds=job.spec.active_deadline_seconds)
    return (datetime.fromisoformat(str(started)) + limit - now).total_seconds()


def _scale_pods(job: Job, pods: list[Pod], active: list[Pod]) -> list[Write]:
    wanted = job.spec.parallelism
    if job.spec.completions is None and _success_count(job, pods):
        return []
    if job.spec.completions is not None:
        wanted = min(wanted, job.spec.completions - _success_count(job, pods))
    if len(active) > wanted:
        return [delete_pod(pod) for pod in active[max(0, wanted) :]]
    # A terminating pod still counts, so that its replacement does not run beside it.
    missing = wanted - len(active) - sum(is_terminating(pod) for pod in pods)
    if job.spec.completion_mode == "Indexed":
        return _create_missing_indexes(job, pods, missing)
    taken = {pod.metadata.name for pod in pods}
    names = (
        f"{job.metadata.name[:250]}-{name_safe_hash([job.metadata.uid, number], 5)}"
        for number in range(len(pods) + max(0, missing))
    )
    free = [name for name in names if name not in taken]
    return [new_pod(JOBS, job, name, labels=_pod_labels(job)) for name in free[: max(0, missing)]]


def _create_missing_indexes(job: Job, pods: list[Pod], missing: int) -> list[Write]:
    held = {
        pod.metadata.annotations.get(_INDEX_ANNOTATION)
        for pod in pods
        if pod.status.phase != "Failed" or is_terminating(pod)
    }
    free = [index for index in range(_completions(job)) if str(index) not in held]
    return [_new_indexed_pod(job, index, _failure_count(pods)) for index in free[: max(0, missing)]]


def _new_indexed_pod(job: Job, index: int, attempt: int) -> Write:
    mark = {_INDEX_ANNOTATION: str(index)}
    suffix = name_safe_hash([job.metadata.uid, index, attempt], 5)
    return new_pod(
        JOBS,
        job,
        f"{job.metadata.name[:240]}-{index}-{suffix}",
        labels={**_pod_labels(job), **mark},
        annotations=mark,
        spec={"hostname": f"{job.metadata.name[:50]}-{index}"},
    )


def _pod_labels(job: Job) -> dict[str, str]:
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
    started = None if job.spec.suspend else job.status.get("startTime") or format_rfc3339(now)
    status: dict[str, Any] = {
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "succeeded": _success_count(job, pods),
        "failed": _failure_count(pods),
        "startTime": started,
        "conditions": _conditions(job, outcome, now),
    }
    if outcome is not None and outcome[0] == "Complete":
        status["completionTime"] = format_rfc3339(now)
    return status


def _conditions(
    job: Job, outcome: tuple[str, str, str] | None, now: datetime
) -> list[dict[str, Any]]:
    before = job.status.get("conditions") or []
    wanted: list[tuple[str, bool, str, str]] = []
    if outcome is not None:
        kind, reason, message = outcome
        # The API server refuses the final condition without its interim one (KEP-3998).
        announced = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        wanted = [(announced, True, reason, message), (kind, True, reason, message)]
    elif job.spec.suspend or any(one.get("type") == "Suspended" for one in before):
        reason = "JobSuspended" if job.spec.suspend else "JobResumed"
        wanted = [("Suspended", job.spec.suspend, reason, "")]
    return merge_conditions(before, wanted, now)
