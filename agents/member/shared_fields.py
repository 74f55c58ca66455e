"""Applies an object and leaves to other controllers what is theirs.

The agent applies only the fields that a manifest writes. Of those, another field manager may have
taken one since. What a person or a tool at the site changed has drifted, and is set back. The
number of replicas that an autoscaler set through the scale subresource is its own: setting it back
would start a fight that never ends.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree

_REPLICAS_FIELD: Final = ".spec.replicas"
_SCALER: Final = re.compile(r'conflict with "([^"]{1,128})" with subresource "scale"')
_PEOPLES_TOOLS: Final = ("kubectl", "kapok", "helm")


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
    try:
        return api.apply(path, tree, force=False), []
    except MemberApiError as error:
        if not is_present or error.code != HTTPStatus.CONFLICT or not error.field_conflicts:
            raise
        scaler = _scaler_of(tree, error.field_conflicts)
    if not scaler:
        return api.apply(path, tree, force=True), []
    spec = {name: value for name, value in tree["spec"].items() if name != "replicas"}
    taken = api.apply(path, {**tree, "spec": spec}, force=True)
    return taken, [f"spec.replicas is left to {scaler}"]


def _scaler_of(tree: Tree, conflicts: Mapping[str, str]) -> str:
    """The controller that scales the object; empty if none does.

    With 0 replicas nothing is to run, and Kubernetes' own autoscaler does not act.
    """
    spec = tree.get("spec")
    if not isinstance(spec, dict) or not spec.get("replicas"):
        return ""
    found = _SCALER.search(conflicts.get(_REPLICAS_FIELD, ""))
    if found is None or found.group(1).startswith(_PEOPLES_TOOLS):
        return ""
    return found.group(1)
