"""Values that no cluster takes: of the wrong type, or in contradiction to others of the manifest.

YAML reads `on` and `1` without quotes as a truth value and a number. kubectl refuses them where the
API has a text, so a workload with them would be placed and then fail at its site. The same holds
for an autoscaler whose least number is above its greatest. Only what is written is looked at: what
is left out, an admission webhook of the site may add.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.templates import find_pod_specs, group_kind, is_custom
from scheduler.model.quantities import NotAQuantity, parse_quantity

_CONTAINER_LISTS = ("containers", "initContainers")
_TEXT_FIELDS = ("name", "image", "imagePullPolicy", "workingDir")


def find_refused_values(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What no cluster takes, each as `PATH is VALUE; what to write`; paths are in the manifest.

    Of custom kinds only `metadata` is looked at: all else may have any type there.
    """
    yield from _metadata(manifest, "metadata")
    yield from _object_name(manifest)
    if is_custom(manifest):
        return
    check = _CONTRADICTIONS.get(group_kind(manifest))
    if check is not None:
        yield from check(mapping_or_empty(manifest.get("spec")))
    if group_kind(manifest) == ("", "ConfigMap"):
        for field in ("data", "binaryData"):
            yield from _texts_by_name(manifest.get(field), field)
    for pod in find_pod_specs(manifest):
        before = f"{pod.path}." if pod.path else ""
        if pod.path:
            yield from _metadata(pod.template, f"{before}metadata")
        yield from _pod(pod.spec, f"{before}spec")


def _metadata(holder: Mapping[str, Any], path: str) -> Iterator[str]:
    metadata = mapping_or_empty(holder.get("metadata"))
    for field in ("labels", "annotations"):
        yield from _texts_by_name(metadata.get(field), f"{path}.{field}")


def _pod(spec: Mapping[str, Any], path: str) -> Iterator[str]:
    yield from _texts_by_name(spec.get("nodeSelector"), f"{path}.nodeSelector")
    seen: set[str] = set()
    for field in _CONTAINER_LISTS:
        containers = spec.get(field)
        if containers is not None and not isinstance(containers, list | tuple):
            yield f"{path}.{field} is no list; begin each container with '- '"
            continue
        for index, container in enumerate(containers or ()):
            if isinstance(container, Mapping):
                yield from _container(container, f"{path}.{field}[{index}]")
                yield from _name_once(container.get("name"), f"{path}.{field}[{index}]", seen)
            else:
                yield f"{path}.{field}[{index}] is {container!r:.40}; write name and image"


def _container(container: Mapping[str, Any], path: str) -> Iterator[str]:
    for field in _TEXT_FIELDS:
        yield from _text(container.get(field), f"{path}.{field}")
    for field in ("command", "args"):
        words = container.get(field)
        if words is not None and not isinstance(words, list | tuple):
            yield f"{path}.{field} is {words!r:.40}; write a list of texts"
            continue
        for index, word in enumerate(words or ()):
            yield from _text(word, f"{path}.{field}[{index}]")
    yield from _limits(mapping_or_empty(container.get("resources")), f"{path}.resources")
    for index, variable in enumerate(_items(container.get("env"))):
        for field in ("name", "value"):
            yield from _text(variable.get(field), f"{path}.env[{index}].{field}")
    for index, port in enumerate(_items(container.get("ports"))):
        for field in ("containerPort", "hostPort"):
            number = port.get(field)
            is_number = isinstance(number, int) and not isinstance(number, bool)
            if number is not None and not is_number:
                yield f"{path}.ports[{index}].{field} is {number!r:.40}; write a number"


def _items(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list | tuple):
        yield from (each for each in value if isinstance(each, Mapping))


def _texts_by_name(value: object, path: str) -> Iterator[str]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield f"{path} is {value!r:.40}; write names with texts"
        return
    for name, each in value.items():
        yield from _text(each, f"{path}.{name}")


def _text(value: object, path: str) -> Iterator[str]:
    """A text, or null, which the API takes for an empty one."""
    if value is None or isinstance(value, str):
        return
    if isinstance(value, bool | int | float):
        shown = str(value).lower() if isinstance(value, bool) else f"{value!r:.40}"
        yield f'{path} is {shown} and no text; write it in quotes, as "{shown}"'
    else:
        yield f"{path} is {value!r:.40}; write a text"


# ---------------------------------------------------------------- contradictions

_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_PLAIN_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "policy"})
"""Groups all of whose kinds have names of this form; those of RBAC and of aggregated APIs may have
capitals and colons."""


def _object_name(manifest: Mapping[str, Any]) -> Iterator[str]:
    name = mapping_or_empty(manifest.get("metadata")).get("name")
    if not isinstance(name, str) or _SUBDOMAIN.fullmatch(name):
        return
    if group_kind(manifest)[0] in _PLAIN_GROUPS:
        yield (
            f"metadata.name is {name[:64]!a}; write small letters, digits, '-' and '.', with a "
            "letter or digit first and last"
        )


def _name_once(name: object, path: str, seen: set[str]) -> Iterator[str]:
    if isinstance(name, str):
        if name in seen:
            yield f"{path}.name is {name!r:.40}, as of another container; write another name"
        seen.add(name)


def _limits(resources: Mapping[str, Any], path: str) -> Iterator[str]:
    requests = mapping_or_empty(resources.get("requests"))
    limits = mapping_or_empty(resources.get("limits"))
    for name in requests.keys() & limits.keys() if requests and limits else ():
        asked, most = requests[name], limits[name]
        if asked == most:
            continue
        try:
            is_above = parse_quantity(asked) > parse_quantity(most)
        except (NotAQuantity, TypeError):
            continue  # read_manifests says what to write
        if is_above:
            yield (
                f"{path}.requests.{name} is {asked!r:.40}, above the limit {most!r:.40}; "
                "write at most the limit"
            )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _autoscaler(spec: Mapping[str, Any]) -> Iterator[str]:
    least, most = _number(spec.get("minReplicas")), _number(spec.get("maxReplicas"))
    if most is not None and most < 1:
        yield f"spec.maxReplicas is {most}; write 1 or more"
    if least is not None and least < 0:
        yield f"spec.minReplicas is {least}; write 1 or more"
    if least is not None and most is not None and most < least:
        yield f"spec.minReplicas is {least}, above maxReplicas {most}; write at most that"


_PERCENT = re.compile(r"[0-9]+%")
_MAX_PERCENT = 100


def _budget(spec: Mapping[str, Any]) -> Iterator[str]:
    fields = ("minAvailable", "maxUnavailable")
    if all(spec.get(field) is not None for field in fields):
        yield "spec is a budget with minAvailable and maxUnavailable; write one of them"
    for field in fields:
        yield from _count_or_percent(spec.get(field), f"spec.{field}", most=_MAX_PERCENT)


def _count_or_percent(value: object, path: str, *, most: int | None) -> Iterator[str]:
    if isinstance(value, str):
        is_percent = _PERCENT.fullmatch(value) and value.isascii() and len(value) < _MAX_PERCENT
        if not is_percent or (most is not None and int(value[:-1]) > most):
            yield f"{path} is {value!r:.40}; write a number, or a percentage such as 50%"
    elif (number := _number(value)) is not None and number < 0:
        yield f"{path} is {number}; write 0 or more"


def _replicated(spec: Mapping[str, Any]) -> Iterator[str]:
    """A selector that does not match the pods' labels, and pods that end."""
    template = mapping_or_empty(spec.get("template"))
    wanted = mapping_or_empty(mapping_or_empty(spec.get("selector")).get("matchLabels"))
    metadata = template.get("metadata")
    labels = mapping_or_empty(mapping_or_empty(metadata).get("labels"))
    for name, value in wanted.items():
        if labels.get(name) != value:
            yield (
                f"spec.selector.matchLabels.{str(name)[:80]} is {value!r:.40}, but the pods' "
                f"label is {labels.get(name)!r:.40}; write the same in template.metadata.labels"
            )
    policy = mapping_or_empty(template.get("spec")).get("restartPolicy")
    if policy in ("OnFailure", "Never"):
        yield f"spec.template.spec.restartPolicy is {policy}; write Always, or a Job"


def _deployment(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from _replicated(spec)
    strategy = mapping_or_empty(spec.get("strategy"))
    rolling = strategy.get("rollingUpdate")
    if not rolling or not isinstance(rolling, Mapping):
        return
    if strategy.get("type") == "Recreate":
        yield "spec.strategy.rollingUpdate is written beside type Recreate; leave it out"
    for field in ("maxSurge", "maxUnavailable"):
        yield from _count_or_percent(
            rolling.get(field), f"spec.strategy.rollingUpdate.{field}", most=None
        )
    if all(str(rolling.get(field)) in ("0", "0%") for field in ("maxSurge", "maxUnavailable")):
        yield "spec.strategy.rollingUpdate is 0 twice; write 1 or more for one of both"


def _job(spec: Mapping[str, Any], path: str = "spec") -> Iterator[str]:
    policy = mapping_or_empty(mapping_or_empty(spec.get("template")).get("spec"))
    if policy.get("restartPolicy") == "Always":
        yield f"{path}.template.spec.restartPolicy is Always; write OnFailure or Never"
    for field in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        number = _number(spec.get(field))
        if number is not None and number < 0:
            yield f"{path}.{field} is {number}; write 0 or more"


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_CRON_FIELDS: Final[tuple[tuple[int, int, dict[str, int]], ...]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: at for at, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: at for at, name in enumerate(_DAYS)}),
)
"""Lowest and highest value, and names of values: minute, hour, day, month, day of the week."""
_CRON_WORDS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"})
_CRON_PART = re.compile(r"(\*|\?|[0-9]{1,9}|[a-z]{3})(?:-([0-9]{1,9}|[a-z]{3}))?(?:/([0-9]{1,9}))?")


def _cron_job(spec: Mapping[str, Any]) -> Iterator[str]:
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    if isinstance(schedule, str):
        if "TZ" in schedule:
            yield f"spec.schedule is {schedule!r:.40}; write the zone as spec.timeZone"
        elif not _is_schedule(schedule):
            yield (
                f"spec.schedule is {schedule!r:.40}; write minute, hour, day, month and day of "
                "the week, such as '0 3 * * 1-5'"
            )
    if isinstance(zone, str) and (not zone or zone.casefold() == "local"):
        yield f"spec.timeZone is {zone!r}; write a zone such as Asia/Shanghai"
    yield from _job(
        mapping_or_empty(mapping_or_empty(spec.get("jobTemplate")).get("spec")),
        "spec.jobTemplate.spec",
    )


def _is_schedule(text: str) -> bool:
    if text.startswith("@"):
        return text in _CRON_WORDS or text == "@midnight" or text.startswith("@every ")
    fields = text.split()
    return len(fields) == len(_CRON_FIELDS) and all(
        _is_cron_field(field.casefold(), *bounds)
        for field, bounds in zip(fields, _CRON_FIELDS, strict=True)
    )


def _is_cron_field(field: str, least: int, most: int, names: Mapping[str, int]) -> bool:
    for part in filter(None, field.split(",")):
        found = _CRON_PART.fullmatch(part)
        if found is None:
            return False
        first, last, step = found.groups()
        if step is not None and not int(step):
            return False
        if first in ("*", "?"):
            if last is not None:
                return False
            continue
        low = _cron_value(first, names)
        high = low if last is None else _cron_value(last, names)
        if low is None or high is None or not least <= low <= high <= most:
            return False
    return True


def _cron_value(text: str, names: Mapping[str, int]) -> int | None:
    return int(text) if text.isdecimal() else names.get(text)


_CONTRADICTIONS: Final[Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Iterator[str]]]] = {
    ("apps", "DaemonSet"): _replicated,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replicated,
    ("apps", "StatefulSet"): _replicated,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("batch", "CronJob"): _cron_job,
    ("batch", "Job"): _job,
    ("policy", "PodDisruptionBudget"): _budget,
}
"""What a kind says of itself that cannot be true together; the API server refuses it as well."""
