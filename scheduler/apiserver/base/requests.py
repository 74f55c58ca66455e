"""Parses the path and the query parameters of a request.

Source: "Kubernetes API Concepts", section on resource URIs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.apiserver.base.errors import bad_request

_MAX_REVISION = 2**64 - 1
_MAX_REVISION_DIGITS = 20
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_MIN_PATH_PARTS = 2


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """The parts of a resource URI; absent parts are empty strings."""

    group: str
    version: str
    namespace: str
    plural: str
    name: str
    subresource: str


def parse_resource_path(path: str) -> ResourcePath | None:
    """Parses `/api/v1/...` or `/apis/GROUP/VERSION/...`; None if the path names no resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > _MIN_PATH_PARTS:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > _MIN_PATH_PARTS + 1:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > _MIN_PATH_PARTS
        and rest[2] not in {"status", "finalize"}  # subresources of the namespace itself
    ):
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return ResourcePath(group, version, namespace, rest[0], rest[1], "/".join(rest[2:]))


def parse_flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean query parameter, parsed as Go does; absent or invalid counts as false."""
    return query.get(name, "").lower() in {"1", "t", "true"}


def parse_revision(text: str) -> int | None:
    """A resource version as a number; None if it is not a decimal number of 64 bits."""
    if len(text) > _MAX_REVISION_DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    revision = int(text)
    return revision if revision <= _MAX_REVISION else None


def check_resource_version(query: Mapping[str, str]) -> None:
    """Refuses a `resourceVersion` that is not a number.

    Raises:
        ApiError: 400; the real server responds with 500 to the same requests.
    """
    version = query.get("resourceVersion", "")
    if version and parse_revision(version) is None:
        raise bad_request(
            f'resourceVersion: Invalid value: "{version[:80]}": strconv.ParseUint: parsing '
            f'"{version[:80]}": invalid syntax'
        )


def parse_integer(query: Mapping[str, str], name: str) -> int | None:
    """An integer query parameter; None if it is absent.

    Raises:
        ApiError: 400, the parameter is not a number of 64 bits.
    """
    text = query.get(name, "")
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        raise bad_request(f'strconv.ParseInt: parsing "{text[:80]}": invalid syntax (query {name})')
    return int(text)
