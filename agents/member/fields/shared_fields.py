"""Applies an object and leaves to other controllers what is theirs.

The agent applies only the fields that a manifest writes, and first without force. A field that
another manager owns by then is either what a person changed at the site, which has drifted and is
set back, or the work of another controller, such as an autoscaler, which is left to it and named:
setting it back would start a fight that never ends. The server's managed fields say which of both.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from agents.member.api import FIELD_MANAGER, MemberApi, MemberApiError, Tree
from agents.member.fields.autoscaling import has_autoscaler, is_controller_manager
from agents.member.fields.field_paths import without_field
from agents.member.trees import map_at
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL

_REPLICAS_FIELD: Final = ".spec.replicas"
_MANAGER: Final = re.compile(r'conflict with "([^"]{1,128})"')
_PEOPLES_TOOLS: Final = (
    "before-first-apply",  # the server's word for writers that it did not note
    "curl",
    "dashboard",
    "freelens",
    "headlamp",
    "helm",
    "k9s",
    "kapok",
    "kubectl",
    "lens",
    "mozilla",
    "openlens",
)
"""How the managers begin with which people and their tools write; where a program gives no name,
the server takes that of the program."""
_OWN_MARKS: Final = (
    f".metadata.labels.{ORDER_LABEL}",
    f".metadata.annotations.{ORDER_ID_ANNOTATION}",
)
_MAX_ATTEMPTS: Final = 3
_MAX_NAMED: Final = 5


def apply_keeping_others(
    api: MemberApi, path: str, tree: Tree, *, is_present: bool
) -> tuple[Tree, list[str]]:
    """Applies an object.

    Args:
        api: API of the member.
        path: path of the object.
        tree: the object, as the order wants it.
        is_present: whether it exists and is ours; then fields that drifted are taken back.

    Returns:
        The object as the server has it, and what was left to others, as sentences.

    Raises:
        MemberApiError: as `MemberApi.apply`.
    """
    left: dict[str, str] = {}
    for _ in range(_MAX_ATTEMPTS):
        try:
            return api.apply(path, tree, force=False), _format_left(left)
        except MemberApiError as error:
            if not is_present or error.code != HTTPStatus.CONFLICT or not error.field_conflicts:
                raise
            conflicts = error.field_conflicts
        found, tree = _leave_to_others(api, path, tree, conflicts)
        left |= found
        if len(found) < len(conflicts):  # the rest has drifted
            break
    return api.apply(path, tree, force=True), _format_left(left)


def narrow_to_ours(api: MemberApi, path: str, tree: Tree) -> tuple[Tree, list[str]]:
    """An object of ours without the fields that other controllers have; changes nothing.

    Returns:
        The object, and what is left to others, as sentences.

    Raises:
        MemberApiError: as `MemberApi.apply`.
    """
    left: dict[str, str] = {}
    for _ in range(_MAX_ATTEMPTS):
        try:
            api.apply(path, tree, force=False, is_trial=True)
        except MemberApiError as error:
            if error.code != HTTPStatus.CONFLICT or not error.field_conflicts:
                raise
            found, tree = _leave_to_others(api, path, tree, error.field_conflicts)
            left |= found
            if found:
                continue
        break
    return tree, _format_left(left)


def _leave_to_others(
    api: MemberApi, path: str, tree: Tree, conflicts: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, str], Tree]:
    """The fields that another controller has, with its name, and the object without them."""
    found: dict[str, str] = {}
    for field, messages in conflicts.items():
        controller = _controller_of(messages)
        if not controller or _is_always_ours(field, tree):
            continue
        is_scaled = field == _REPLICAS_FIELD and is_controller_manager(api, path, controller)
        if is_scaled and not has_autoscaler(api, tree):
            continue  # its autoscaler is gone
        narrowed = without_field(tree, field)
        if narrowed is not None:
            found[field], tree = controller, narrowed
    return found, tree


def _controller_of(messages: Iterable[str]) -> str:
    """The controller that owns a field beside or instead of us; empty if only people wrote it."""
    for message in messages:
        match = _MANAGER.match(message)
        name = match.group(1) if match else ""
        if name and name != FIELD_MANAGER and not name.lower().startswith(_PEOPLES_TOOLS):
            return name
    return ""


def _is_always_ours(field: str, tree: Tree) -> bool:
    """Whether a field says whose the object is, or that nothing is to run.

    Kubernetes' own autoscaler does not act on 0 replicas either.
    """
    stops = field == _REPLICAS_FIELD and not map_at(tree, "spec").get("replicas")
    return stops or field in _OWN_MARKS


def _format_left(left: Mapping[str, str]) -> list[str]:
    named = [f"{field[1:]} is left to {name}" for field, name in list(left.items())[:_MAX_NAMED]]
    more = len(left) - len(named)
    return [*named, *([f"{more} more fields are left to other controllers"] if more else [])]
