"""Rewrites the registries of images, by whole parts of their names. Pure.

The normal form of an image is HOST[:PORT]/PATH[:TAG][@DIGEST]. As container runtimes read it, the
first part is a host if it has a dot or a colon, or is `localhost`; else the host is `docker.io`,
and a single part is below `library/` there (github.com/distribution/reference).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from scheduler.model.kinds.overrides import ImageRegistry
from scheduler.model.manifests.containers import SCALARS, mapping_or_empty
from scheduler.model.manifests.templates import describes_others

_DEFAULT_HOST = "docker.io"
_OTHER_NAMES_OF_DEFAULT = frozenset({"index.docker.io", "registry-1.docker.io"})
_OFFICIAL = "library"
_MAX_IMAGE_CHARACTERS = 1024
_CONTAINER_LISTS = frozenset({"containers", "initContainers", "ephemeralContainers"})
_ONE_CONTAINER = frozenset({"container", "script"})
_PATH_PART = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
_SUFFIX = re.compile(r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z0-9_+.-]+:[0-9a-fA-F]+)?")


class ImageChange(NamedTuple):
    """An image that is pulled from elsewhere."""

    before: str
    after: str


class _Name(NamedTuple):
    """An image in normal form: host and parts of the path, and the tag and digest as written."""

    parts: tuple[str, ...]
    suffix: str


def problem_of_registry(text: str) -> str:
    """What is wrong with a `from` or a `to`; empty if nothing is."""
    host, *path = text.split("/")
    if not _is_host(host) or not _HOST.fullmatch(host):
        return f"{text[:80]!a} names no registry; write HOST[:PORT] first, as docker.io/library"
    if not all(map(_PATH_PART.fullmatch, path)):
        return f"{text[:80]!a}: a repository is lower case, without tag and digest"
    return ""


def rewritten(image: str, registries: Sequence[ImageRegistry]) -> str:
    """An image as it is pulled by these registries; as it is where none of them is its own.

    The longest `from` counts; of equal ones the first. What is no name of an image stays.
    """
    name = _parse(image)
    if name is None:
        return image
    best: tuple[int, str] = (0, "")
    for each in registries:
        prefix = _parts_of_registry(each.from_)
        if len(prefix) > best[0] and name.parts[: len(prefix)] == prefix:
            best = (len(prefix), each.to)
    length, to = best
    if not length or problem_of_registry(to):
        return image
    return "/".join([to, *name.parts[length:]]) + name.suffix


def with_registries(
    manifest: Mapping[str, Any], registries: Sequence[ImageRegistry], changes: list[ImageChange]
) -> Mapping[str, Any]:
    """A manifest with the images of all its pods rewritten; the same one if none is.

    Images are those of containers of every kind, wherever pod specs are, and of image volumes.

    Args:
        manifest: the object.
        registries: what is pulled from where.
        changes: gets each image that is rewritten, in the order of the manifest.
    """
    if not registries or describes_others(manifest):
        return manifest
    after = _Rewriter(registries, changes).value(manifest)
    return after if isinstance(after, Mapping) else manifest


class _Rewriter:
    """Copies what it changes."""

    def __init__(self, registries: Sequence[ImageRegistry], changes: list[ImageChange]) -> None:
        self._registries, self._changes = registries, changes

    def value(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, Mapping):
            after = {name: self._field(name, each) for name, each in value.items()}
            return after if any(after[name] is not value[name] for name in value) else value
        if isinstance(value, list | tuple):
            items = [each if isinstance(each, SCALARS) else self.value(each) for each in value]
            return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
        return value

    def _field(self, name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, SCALARS):
            return value
        value = self.value(value)
        if name in _CONTAINER_LISTS and isinstance(value, list | tuple):
            return self._each(value, self._container)
        if name == "volumes" and isinstance(value, list | tuple):
            return self._each(value, self._volume)
        return self._container(value) if name in _ONE_CONTAINER else value

    @staticmethod
    def _each(value: Sequence[Any], change: Any) -> Any:  # noqa: ANN401 - JSON
        items = [change(each) for each in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value

    def _container(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        return self._with_image(value, "image")

    def _volume(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        image = mapping_or_empty(mapping_or_empty(value).get("image"))
        after = self._with_image(image, "reference")
        return value if after is image else {**value, "image": after}

    def _with_image(self, value: Any, field: str) -> Any:  # noqa: ANN401 - JSON
        before = mapping_or_empty(value).get(field)
        if not isinstance(before, str):
            return value
        after = rewritten(before, self._registries)
        if after == before:
            return value
        self._changes.append(ImageChange(before, after))
        return {**value, field: after}


def _is_host(part: str) -> bool:
    return "." in part or ":" in part or part.casefold() == "localhost"


def _parse(image: str) -> _Name | None:
    """An image in normal form; None: it is no name of an image."""
    if len(image) > _MAX_IMAGE_CHARACTERS:
        return None
    name, at, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    has_host = bool(slash) and _is_host(first)
    host, path = (first, rest) if has_host else (_DEFAULT_HOST, name)
    *parents, last = path.split("/")
    last, colon, tag = last.partition(":")
    parts, suffix = [*parents, last], f"{colon}{tag}{at}{digest}"
    if not all(map(_PATH_PART.fullmatch, parts)) or not _SUFFIX.fullmatch(suffix):
        return None
    if not _HOST.fullmatch(host):
        return None
    host = _normal_host(host)
    if host == _DEFAULT_HOST and len(parts) == 1:
        parts = [_OFFICIAL, *parts]
    return _Name((host, *parts), suffix)


def _parts_of_registry(text: str) -> tuple[str, ...]:
    host, *path = text.split("/")
    return (_normal_host(host), *path)


def _normal_host(host: str) -> str:
    """A host in lower case; names of hosts are equal in any case."""
    host = host.casefold()
    return _DEFAULT_HOST if host in _OTHER_NAMES_OF_DEFAULT else host
