"""Validation of names, labels and annotations.

Sources: "Object Names and IDs", "Labels and Selectors", "Annotations" of the Kubernetes
documentation; the messages are those of k8s.io/apimachinery/pkg/util/validation.
"""

import re
from collections.abc import Mapping

from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PATH_SEGMENT = re.compile(r"[^/%]+")
_MAX_LABEL_LENGTH = 63
_MAX_SUBDOMAIN_LENGTH = 253
_MAX_ANNOTATIONS_BYTES = 256 * 1024

SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_NAME_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
    "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def dns_label_problems(name: str) -> list[str]:
    """The problems of a name that must be an RFC 1123 label."""
    problems = []
    if len(name) > _MAX_LABEL_LENGTH:
        problems.append(f"must be no more than {_MAX_LABEL_LENGTH} characters")
    if not _DNS_LABEL.fullmatch(name):
        problems.append(LABEL_MESSAGE)
    return problems


def dns_subdomain_problems(name: str) -> list[str]:
    """The problems of a name that must be an RFC 1123 subdomain."""
    problems = []
    if len(name) > _MAX_SUBDOMAIN_LENGTH:
        problems.append(f"must be no more than {_MAX_SUBDOMAIN_LENGTH} characters")
    if not _DNS_SUBDOMAIN.fullmatch(name):
        problems.append(SUBDOMAIN_MESSAGE)
    return problems


def path_segment_problems(name: str) -> list[str]:
    """The problems of a name that must be usable as a path segment."""
    if name in {".", ".."}:
        return [f"may not be '{name}'"]
    return [] if _PATH_SEGMENT.fullmatch(name) else ["may not contain '/' or '%'"]


def label_key_problems(key: str) -> list[str]:
    """The problems of the key of a label or an annotation."""
    prefix, slash, name = key.rpartition("/")
    problems = []
    if slash and (not prefix or dns_subdomain_problems(prefix)):
        problems.append(f"prefix part {SUBDOMAIN_MESSAGE}")
    if not name:
        return [*problems, "name part must be non-empty"]
    if len(name) > _MAX_LABEL_LENGTH:
        problems.append(f"name part must be no more than {_MAX_LABEL_LENGTH} characters")
    if not _QUALIFIED_NAME.fullmatch(name):
        problems.append(_QUALIFIED_NAME_MESSAGE)
    return problems


def label_value_problems(value: str) -> list[str]:
    """The problems of the value of a label."""
    if value and not _QUALIFIED_NAME.fullmatch(value):
        return [_LABEL_VALUE_MESSAGE]
    if len(value) > _MAX_LABEL_LENGTH:
        return [f"must be no more than {_MAX_LABEL_LENGTH} characters"]
    return []


def labels_problems(labels: Json, path: str) -> list[FieldProblem]:
    """The problems of a map of labels."""
    found: list[FieldProblem] = []
    for key, value in labels.items() if isinstance(labels, Mapping) else ():
        found.extend(invalid_value(path, key, why) for why in label_key_problems(key))
        found.extend(invalid_value(path, value, why) for why in label_value_problems(str(value)))
    return found


def annotations_problems(annotations: Json, path: str) -> list[FieldProblem]:
    """The problems of a map of annotations, whose total size is at most 256 KiB."""
    if not isinstance(annotations, Mapping):
        return []
    found = [
        invalid_value(path, key, why)
        for key in annotations
        for why in label_key_problems(key.lower())
    ]
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
    if size > _MAX_ANNOTATIONS_BYTES:
        why = f"Too long: may not be more than {_MAX_ANNOTATIONS_BYTES} bytes"
        found.append(FieldProblem("FieldValueTooLong", path, why))
    return found


def finalizers_problems(metadata: JsonObject) -> list[FieldProblem]:
    """The problems of the finalizers, which must be qualified names like label keys."""
    return [
        invalid_value(f"metadata.finalizers[{index}]", name, why)
        for index, name in enumerate(metadata.get("finalizers") or ())
        for why in label_key_problems(str(name))
    ]
