"""The logs of simulated pods, by what the simulation has written into their status.

A kubelet keeps the log of a container. A simulated one runs nothing, so the log is one line about
the start, and then the lines of the annotation `kapok.dev/simulated-log`, which tests set. Checks
of the request come in the order, and with the words, of pkg/registry/core/pod/strategy.go of
Kubernetes; whether a container has started is the kubelet's to say.
"""

from collections.abc import Mapping

from scheduler.apiserver.base.errors import ApiError, bad_request, runs_no_containers
from scheduler.apiserver.kinds.unstructured import map_at, maps_in
from scheduler.hub.schema.json_types import JsonObject

LOG_ANNOTATION = "kapok.dev/simulated-log"
_SIMULATED = "simulated://"
_MAX_LINES = 100_000


def log_of(pod: JsonObject, query: Mapping[str, str]) -> bytes:
    """The log of one container of a pod.

    Raises:
        ApiError: the request is wrong, the container has not started, or no simulation runs it.
    """
    tail, limit = _number(query, "tailLines", 0), _number(query, "limitBytes", 1)
    name = _container_of(pod, query.get("container", ""))
    if not map_at(pod, "spec").get("nodeName"):
        raise runs_no_containers("log")
    since = query.get("sinceTime", "")
    lines = [
        (stamp, text)
        for stamp, text in _lines_of(pod, name)
        if not since or stamp[:19] >= since[:19]
    ]
    if tail is not None:
        lines = lines[len(lines) - min(tail, len(lines)) :]
    with_times = query.get("timestamps") in {"true", "1"}
    data = "".join(
        f"{stamp} {text}\n" if with_times else f"{text}\n" for stamp, text in lines
    ).encode()
    return data if limit is None else data[:limit]


def _container_of(pod: JsonObject, wanted: str) -> str:
    spec, name = map_at(pod, "spec"), map_at(pod, "metadata").get("name", "")
    names = [str(each.get("name")) for each in maps_in(spec.get("containers"))]
    first = [str(each.get("name")) for each in maps_in(spec.get("initContainers"))]
    if wanted:
        if wanted not in (*names, *first):
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names) == 1:
        return names[0]
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    if first:
        text += f" or one of the init containers: [{' '.join(first)}]"
    raise bad_request(text)


def _lines_of(pod: JsonObject, container: str) -> list[tuple[str, str]]:
    """Each line with its time: one line in each microsecond after the start."""
    status, name = map_at(pod, "status"), map_at(pod, "metadata").get("name", "")
    states = [
        each
        for kind in ("initContainerStatuses", "containerStatuses")
        for each in maps_in(status.get(kind))
        if each.get("name") == container
    ]
    state = states[0] if states else {}
    began = _began_at(state, str(status.get("startTime") or ""))
    if not began:
        waiting = map_at(map_at(state, "state"), "waiting").get("reason") or "ContainerCreating"
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {waiting}')
    if not str(state.get("containerID") or "").startswith(_SIMULATED):
        raise runs_no_containers("log")
    annotations = map_at(map_at(pod, "metadata"), "annotations")
    written = str(annotations.get(LOG_ANNOTATION) or "").splitlines()[:_MAX_LINES]
    texts = [f"simulated container {container} of image {state.get('image', '')} started", *written]
    head = began[:19]
    return [(f"{head}.{number:06}000Z", text) for number, text in enumerate(texts)]


def _began_at(state: JsonObject, pod_started: str) -> str:
    """When a container started; "" while it has not."""
    running = map_at(map_at(state, "state"), "running").get("startedAt")
    if running:
        return str(running)
    has_run = "terminated" in map_at(state, "state") or bool(state.get("restartCount"))
    return pod_started if has_run else ""


def _number(query: Mapping[str, str], name: str, least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.removeprefix("-").isdecimal() or len(text) > 18:  # noqa: PLR2004 - within 64 bits
        raise bad_request(f"{name}: a whole number is expected")
    if int(text) < least:
        raise ApiError(422, "Invalid", f"{name}: must be greater than or equal to {least}")
    return int(text)
