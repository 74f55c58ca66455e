"""The namespaces at the member that this agent makes, and removes again when they are empty.

A namespace is made for the objects of an order and is no manifest of it, so no order withdraws it.
It goes when no order needs it any more and nothing is in it. Its deletion would delete all that is
in it, so it stays for anything that another client made there, and where that cannot be listed.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.discovery import MemberKinds
from agents.member.fields.owned_fields import is_applied_by_us
from agents.member.trees import map_at, text_at
from agents.runtime.clock import AgentClock

_log = logging.getLogger(__name__)

MANAGED_BY_LABELS: Final = {"app.kubernetes.io/managed-by": "kapok-agent"}
POD_SECURITY_LABEL: Final = "pod-security.kubernetes.io/enforce"
POD_SECURITY_LEVELS: Final = ("restricted", "baseline", "privileged")

_NAMESPACES_PATH: Final = "/api/v1/namespaces"
_MADE_HERE_QUERY: Final = {
    "labelSelector": ",".join(f"{name}={value}" for name, value in MANAGED_BY_LABELS.items())
}
_LOOK_INTERVAL_SECONDS: Final = 300.0
_EMPTY_FOR_SECONDS: Final = 15.0
"""A namespace goes only if it is empty in two looks: another client may be about to use it."""
_MADE_BY_THE_CLUSTER: Final = frozenset(
    {
        ("ServiceAccount", "default"),
        ("ConfigMap", "kube-root-ca.crt"),
        ("ConfigMap", "openshift-service-ca.crt"),
    }
)
"""What the controllers of a cluster put into every namespace, by kind and name."""


@dataclass(slots=True, kw_only=True)
class Namespaces:
    """Makes namespaces, and removes those that no order needs.

    Attributes:
        api: API of the member.
        clock: monotonic time.
    """

    api: MemberApi
    clock: AgentClock
    _known: set[tuple[str, str | None]] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _next_look_at: float = field(default=0.0, init=False)
    _empty_since: dict[str, float] = field(default_factory=dict, init=False)
    _holders: dict[str, str] = field(default_factory=dict, init=False)

    def ensure(self, name: str, pod_security: str | None = None) -> None:
        """Creates a namespace with our labels if it is missing.

        One that we made gets the present level of Pod Security admission; another client's is left
        as it is.

        Args:
            name: of the namespace; nothing is done for an empty one.
            pod_security: the level for it; None: it has none, or keeps the one that it has.

        Raises:
            MemberApiError: the member does not answer, or does not allow it.
        """
        if not name:
            return
        with self._lock:  # several orders at once, and one request is enough
            self._ensure(name, pod_security)

    def forget_known(self) -> None:
        """Makes `ensure` look again: another client may have deleted a namespace."""
        self._known.clear()

    def look_soon(self) -> None:
        """Makes `remove_unneeded` look now: an order has gone."""
        self._next_look_at = 0.0

    def _ensure(self, name: str, pod_security: str | None) -> None:
        if (name, pod_security) in self._known:
            return
        path = f"{_NAMESPACES_PATH}/{name}"
        existing = self.api.find(path)
        labels = dict(MANAGED_BY_LABELS)
        if pod_security in POD_SECURITY_LEVELS:
            labels[POD_SECURITY_LABEL] = pod_security
        if existing is None or _lacks_level(existing, labels):
            metadata = {"name": name, "labels": labels}
            tree = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
            self.api.apply(path, tree, force=existing is not None)
        self._known.add((name, pod_security))

    def remove_unneeded(
        self,
        needed: frozenset[str],
        kinds: MemberKinds,
        *,
        is_allowed: Callable[[], bool],
    ) -> None:
        """Removes namespaces that this agent made, that no order needs, and that are empty.

        Args:
            needed: names of the namespaces that orders need, also those that are being withdrawn.
            kinds: kinds that the member serves.
            is_allowed: whether this agent may change the member now.

        Raises:
            Unreachable: the member does not answer.
        """
        now = self.clock.monotonic()
        if now < self._next_look_at:
            return
        self._next_look_at = now + _LOOK_INTERVAL_SECONDS
        try:
            candidates = self._made_here(needed)
        except MemberApiError as error:
            if error.code == 0:
                raise
            _log.warning("namespaces that no order needs stay: they cannot be listed: %s", error)
            return
        self._empty_since = {uid: at for uid, at in self._empty_since.items() if uid in candidates}
        self._holders = {uid: why for uid, why in self._holders.items() if uid in candidates}
        for uid, name in candidates.items():
            holder = find_holder(self.api, name, kinds, lambda _: False)
            self._log_holder(uid, name, holder)
            if holder:
                self._empty_since.pop(uid, None)
            elif now - self._empty_since.setdefault(uid, now) < _EMPTY_FOR_SECONDS:
                self._next_look_at = now + _EMPTY_FOR_SECONDS
            elif is_allowed():
                self._remove(name, uid)

    def _made_here(self, needed: frozenset[str]) -> dict[str, str]:
        """The names, by uid, of the namespaces that this agent made and that are not needed."""

        def candidate(tree: Tree) -> tuple[str, str] | None:
            metadata = map_at(tree, "metadata")
            uid, name = text_at(metadata, "uid"), text_at(metadata, "name")
            is_ours = is_applied_by_us(tree) and not metadata.get("deletionTimestamp")
            return (uid, name) if is_ours and uid and name and name not in needed else None

        return dict(self.api.list_mapped(_NAMESPACES_PATH, _MADE_HERE_QUERY, candidate))

    def _log_holder(self, uid: str, name: str, holder: str) -> None:
        """Says once what a namespace is kept for."""
        if holder and self._holders.get(uid) != holder:
            _log.info("namespace %s, which no order needs, stays: %s", name, holder)
        if holder:
            self._holders[uid] = holder

    def _remove(self, name: str, uid: str) -> None:
        try:
            self.api.delete(f"{_NAMESPACES_PATH}/{name}", uid=uid)
        except MemberApiError as error:
            if error.code == 0:
                raise
            self._log_holder(uid, name, f"it cannot be deleted: {error}")
            return
        _log.info("namespace %s: deleted; no order needs it, and it is empty", name)


def find_holder(
    api: MemberApi, namespace: str, kinds: MemberKinds, goes: Callable[[Tree], bool]
) -> str:
    """What a namespace has to stay for, as a sentence; empty if nothing would be lost with it.

    Args:
        api: API of the member.
        namespace: its name.
        kinds: kinds that the member serves.
        goes: whether an object with kind and apiVersion may go with the namespace.

    Raises:
        Unreachable: the member does not answer.
    """
    for kind in kinds.holdable():

        def stays(tree: Tree, api_version: str = kind.api_version, word: str = kind.kind) -> str:
            name = text_at(map_at(tree, "metadata"), "name")
            full = {**tree, "apiVersion": api_version, "kind": word}
            return "" if _is_made_by_the_cluster(full, name) or goes(full) else name or "?"

        try:
            found = [
                one for one in api.list_mapped(kind.collection_path(namespace), None, stays) if one
            ]
        except MemberApiError as error:
            if error.code == 0:
                raise
            return f"{kind.name} cannot be listed, so one may be in it: {error}"
        if found:
            return f"{kind.kind} {found[0]} is in it"
    return ""


def _is_made_by_the_cluster(tree: Mapping[str, object], name: str) -> bool:
    if (tree["kind"], name) in _MADE_BY_THE_CLUSTER:
        return True
    if tree["kind"] != "Secret" or tree.get("type") != "kubernetes.io/service-account-token":
        return False
    account = map_at(tree, "metadata", "annotations").get("kubernetes.io/service-account.name")
    return account == "default"  # clusters before 1.24 made one


def _lacks_level(namespace: Tree, labels: Mapping[str, str]) -> bool:
    """Whether a namespace that we made has another level than it should have."""
    present = map_at(namespace, "metadata", "labels")
    is_ours = all(present.get(name) == value for name, value in MANAGED_BY_LABELS.items())
    level = labels.get(POD_SECURITY_LABEL)
    return is_ours and level is not None and present.get(POD_SECURITY_LABEL) != level
