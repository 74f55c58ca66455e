"""Values of the wrong type, which no cluster takes: labels, variables and arguments are texts.

YAML reads `on` and `1` without quotes as a truth value and a number. kubectl refuses them where the
API has a text, so a workload with them would be placed and then fail at its site.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.templates import find_pod_specs, group_kind, is_custom

_CONTAINER_LISTS = ("containers", "initContainers")
_TEXT_FIELDS = ("name", "image", "imagePullPolicy", "workingDir")


def find_wrong_types(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What has the wrong type, each as `PATH is VALUE; what to write`; paths are in the manifest.

    Of custom kinds only `metadata` is looked at: all else may have any type there.
    """
    yield from _metadata(manifest, "metadata")
    if is_custom(manifest):
        return
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
    for field in _CONTAINER_LISTS:
        containers = spec.get(field)
        if containers is not None and not isinstance(containers, list | tuple):
            yield f"{path}.{field} is no list; begin each container with '- '"
            continue
        for index, container in enumerate(containers or ()):
            if isinstance(container, Mapping):
                yield from _container(container, f"{path}.{field}[{index}]")
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
