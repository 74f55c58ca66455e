"""Checks of a CronJob: its schedule, time zone, policies and pods.

Sources: the API reference of batch/v1 ("CronJobSpec") and "Cron schedule syntax" of the Kubernetes
documentation; the wording of errors follows kube-apiserver 1.36.
"""

import re
import zoneinfo

from scheduler.apiserver.kinds.core.network_kinds import unsupported_value
from scheduler.apiserver.kinds.core.pods import pod_spec_problems
from scheduler.apiserver.kinds.unstructured import map_at, value_at
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, required_value

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
"""Lowest and highest value, and names of values: minute, hour, day, month, day of the week."""
_DESCRIPTORS = {
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
}
_EVERY = "@every "
_NUMBER = re.compile(r"[+-]?[0-9]+")
_DURATION = re.compile(r"[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)")
_UNITLESS = re.compile(r"[+-]?(([0-9.]+(ns|us|µs|μs|ms|s|m|h))*)[0-9]+(\.[0-9]*)?")
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")
_ZONE_PREFIXES = ("TZ=", "CRON_TZ=")
_MAX_NAME_LENGTH = 52
_POLICIES = ("Allow", "Forbid", "Replace")
_COUNTS = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def cron_job_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    """The problems of a CronJob.

    Args:
        item: the CronJob, with its defaults.
        old: what it was before; None: it is new.
    """
    spec, before = map_at(item, "spec"), map_at(old or {}, "spec")
    problems = _schedule_problems(spec, before)
    if spec.get("timeZone") is not None and spec.get("timeZone") != before.get("timeZone"):
        problems += _time_zone_problems(str(spec["timeZone"]))
    policy = spec.get("concurrencyPolicy")
    if policy not in _POLICIES:
        problems.append(unsupported_value("spec.concurrencyPolicy", policy, _POLICIES))
    for name in _COUNTS:
        count = spec.get(name)
        if isinstance(count, int) and count < 0:
            why = "must be greater than or equal to 0"
            problems.append(invalid_value(f"spec.{name}", count, why))
    name = str(item["metadata"].get("name") or "")
    if old is None and len(name) > _MAX_NAME_LENGTH:
        why = f"must be no more than {_MAX_NAME_LENGTH} characters"
        problems.insert(0, invalid_value("metadata.name", name, why))
    pod: JsonObject = value_at(spec, "jobTemplate", "spec", "template", "spec", default={})
    path = "spec.jobTemplate.spec.template.spec"
    if not isinstance(spec.get("jobTemplate"), dict):
        return problems  # the schema requires it
    problems += pod_spec_problems(pod, path)
    if pod.get("restartPolicy") not in ("OnFailure", "Never"):
        why = 'valid values: "OnFailure", "Never"'
        problems.append(required_value(f"{path}.restartPolicy", why))
    return problems


def _schedule_problems(spec: JsonObject, before: JsonObject) -> list[FieldProblem]:
    schedule, path = str(spec.get("schedule") or ""), "spec.schedule"
    if not schedule:
        return [required_value(path)]
    found = [why] if (why := schedule_problem(schedule)) else []
    names_zone = "TZ" in schedule
    if names_zone and "TZ" not in str(before.get("schedule", "")):
        found.append("cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif names_zone and spec.get("timeZone") is not None:
        found.append("cannot use both timeZone field and TZ or CRON_TZ in schedule")
    return [invalid_value(path, schedule, why) for why in found]


def _time_zone_problems(zone: str) -> list[FieldProblem]:
    path = "spec.timeZone"
    if not zone:
        return [invalid_value(path, zone, "timeZone must be nil or non-empty string")]
    problems: list[FieldProblem] = []
    if zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        problems.append(invalid_value(path, zone, why))
    if not _is_zone(zone):
        problems.append(invalid_value(path, zone, f"unknown time zone {zone}"))
    return problems


def _is_zone(zone: str) -> bool:
    parts = zone.split("/")
    if any(one in {".", ".."} or one[:1] == "-" or not _ZONE_PART.fullmatch(one) for one in parts):
        return False
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


def schedule_problem(schedule: str) -> str:
    """What is wrong with a schedule; empty if nothing is."""
    if schedule.startswith(_ZONE_PREFIXES):
        zone, space, schedule = schedule.partition(" ")
        if not space:
            return "invalid schedule format: a schedule must follow the time zone"
        zone, schedule = zone.partition("=")[2], schedule.strip()
        if zone and not _is_zone(zone):
            return f"provided bad location {zone}: unknown time zone {zone}"
    if schedule.startswith("@"):
        return _descriptor_problem(schedule)
    words = schedule.split()
    if len(words) != len(_FIELDS):
        shown = " ".join(words)
        return f"expected exactly {len(_FIELDS)} fields, found {len(words)}: [{shown}]"
    for word, (low, high, names) in zip(words, _FIELDS, strict=True):
        for part in filter(None, word.split(",")):
            if problem := _range_problem(part, low, high, names):
                return problem
    return ""


def _descriptor_problem(descriptor: str) -> str:
    if descriptor in _DESCRIPTORS:
        return ""
    if not descriptor.startswith(_EVERY):
        return f"unrecognized descriptor: {descriptor}"
    text = descriptor.removeprefix(_EVERY)
    if _DURATION.fullmatch(text):
        return ""
    words = "missing unit in duration" if _UNITLESS.fullmatch(text) else "invalid duration"
    return f'failed to parse duration {descriptor}: time: {words} "{text}"'


def _range_problem(part: str, low: int, high: int, names: dict[str, int]) -> str:
    """What is wrong with `*`, `N`, `N-M` and these with `/STEP`."""
    try:
        first, last, step = _read_range(part, low, high, names)
    except ValueError as error:
        return str(error)
    if first < low:
        return f"beginning of range ({first}) below minimum ({low}): {part}"
    if last > high:
        return f"end of range ({last}) above maximum ({high}): {part}"
    if first > last:
        return f"beginning of range ({first}) beyond end of range ({last}): {part}"
    return "" if step else f"step of range should be a positive number: {part}"


def _read_range(part: str, low: int, high: int, names: dict[str, int]) -> tuple[int, int, int]:
    """The first and last value, and the step.

    Raises:
        ValueError: the part is no range; the message is for people.
    """
    span, *steps = part.split("/")
    ends = span.split("-")
    if ends[0] in ("*", "?"):
        first, last = low, high
    elif len(ends) > 2:  # noqa: PLR2004 - a range has two ends
        raise ValueError(f"too many hyphens: {part}")
    else:
        first, last = _read_value(ends[0], names), _read_value(ends[-1], names)
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {part}")
    step = _read_value(steps[0], {}) if steps else 1
    if steps and len(ends) == 1:
        last = high  # N/STEP means N-MAX/STEP
    return first, last, step


def _read_value(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not _NUMBER.fullmatch(text):
        why = f'strconv.Atoi: parsing "{text}": invalid syntax'
        raise ValueError(f"failed to parse int from {text}: {why}")
    number = int(text)
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
