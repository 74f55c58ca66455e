"""Applies what an autoscaler of the order scales: the order gives only the first replicas.

While the agent owns the number, each pass would set it back, and the pods with it; what it merely
stops owning falls back to one replica. So a manager of its own keeps the number until the
autoscaler sets another.
"""

from http import HTTPStatus
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.fields.owned_fields import owns_field
from agents.member.fields.shared_fields import apply_keeping_others
from agents.member.trees import map_at

INITIAL_MANAGER: Final = "kapok-agent-initial"


def apply_autoscaled(
    api: MemberApi, path: str, tree: Tree, *, is_present: bool
) -> tuple[Tree, list[str]]:
    """Applies an object that an autoscaler scales; arguments as `apply_keeping_others`.

    With 0 replicas nothing is to run, and an autoscaler does not act: then the number is ours, and
    it is again the order that starts the first pods.

    Raises:
        MemberApiError: as `MemberApi.apply`.
    """
    if not map_at(tree, "spec").get("replicas"):
        return apply_keeping_others(api, path, tree, is_present=is_present)
    running = api.find(path) if is_present else None
    if running is None or not map_at(running, "spec").get("replicas"):
        running, _ = apply_keeping_others(api, path, tree, is_present=is_present)
    _hand_over(api, path, tree, running)
    spec = {name: value for name, value in tree["spec"].items() if name != "replicas"}
    return apply_keeping_others(api, path, {**tree, "spec": spec}, is_present=True)


def _hand_over(api: MemberApi, path: str, tree: Tree, running: Tree) -> None:
    """Gives the number of replicas that we own to the manager that keeps it."""
    if not owns_field(running, "spec", "replicas"):
        return
    kept = ("name", "namespace", "uid")
    metadata = {name: tree["metadata"][name] for name in kept if name in tree["metadata"]}
    spec = {"replicas": map_at(running, "spec").get("replicas")}
    number = {"apiVersion": tree["apiVersion"], "kind": tree["kind"], "metadata": metadata}
    try:
        api.apply(path, {**number, "spec": spec}, force=False, manager=INITIAL_MANAGER)
    except MemberApiError as error:
        if error.code != HTTPStatus.CONFLICT:  # the autoscaler owns it by now
            raise
