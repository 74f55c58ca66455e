"""Objects that make pods and are written to the hub by themselves: a client is warned.

The embedded hub stores a Deployment as any API server does, but no controller behind it makes pods
of it. Without a warning the object looks accepted, and nothing runs. The warning says so, and gives
the command that makes a Workload of it.
"""

import shlex
from typing import Any

from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.pod_kinds import kinds_with_pods, makes_pods

BARE_KINDS = frozenset(kind for _, kind in kinds_with_pods())
"""Kinds whose objects may get the warning; their group decides."""

_DEFAULT_NAMESPACE = "default"


def bare_object_warnings(raw: dict[str, Any]) -> list[str]:
    """The warning for a client that writes an object of `BARE_KINDS`; none if it makes no pods."""
    if not makes_pods(raw):
        return []
    metadata = mapping_or_empty(raw.get("metadata"))
    kind, name = str(raw.get("kind")), str(metadata.get("name") or "NAME")
    namespace = str(metadata.get("namespace") or _DEFAULT_NAMESPACE)
    warning = (
        f"nothing at this hub runs {kind} {name}: it is stored, and no site gets it; "
        f"make a Workload of it: {wrap_command(name, namespace)}"
    )
    return [warning]


def wrap_command(name: str, namespace: str) -> str:
    """The command that makes a Workload of the objects in a file, and applies it.

    The hub does not know which file a client has read, so FILE stays to be filled in.
    """
    return (
        f"kapok wrap -f FILE --name {shlex.quote(name)} --namespace {shlex.quote(namespace)} "
        "| kapok apply -f -"
    )
