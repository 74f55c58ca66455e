"""Applies one order's objects by server-side apply; never touches what is somebody else's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from agents.member.api import ApiError, MemberApi, Tree
from agents.member.discovery import Kind, Kinds
from agents.orders.inventory import Identity, View, identity, mark_of
from agents.orders.journal import Journal, ObjectKey
from agents.orders.labels import dressed, key_of, token_of
from agents.orders.readiness import Standing, ends_by_itself, standing
from agents.orders.run_once import NAMESPACE as ONCE_NAMESPACE
from agents.orders.run_once import STARTED, UNSEEN, RunOnce
from agents.protocol.orders import OrderContent
from agents.protocol.topics import order_token

MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "kapok-agent"}

# What others of one order refer to comes first, so that pods do not start in vain.
_FIRST: Final = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "NetworkPolicy",
    "Service",
)
_RANK: Final = {kind: rank for rank, kind in enumerate(_FIRST)}


@dataclass(slots=True)
class Applied:
    """What became of one order's objects.

    Attributes:
        marks: uid and mark of every object that the member took.
        standings: of the same, and of jobs that finished before.
        ended: of these, jobs that must not be made again.
        conflicts: objects that belong to somebody else, as sentences.
        errors: what the member's API said, as sentences.
        unserved: kinds that the member does not serve; they may be installed later.
        may_pass: all errors may pass by themselves.
    """

    marks: dict[Identity, tuple[str, str]] = field(default_factory=dict)
    standings: dict[Identity, Standing] = field(default_factory=dict)
    ended: set[Identity] = field(default_factory=set)
    conflicts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unserved: set[str] = field(default_factory=set)
    may_pass: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether the member has every object."""
        return not self.conflicts and not self.errors


@dataclass(slots=True)
class Applier:
    """Applies orders at one member.

    Attributes:
        api: the member's.
        journal: told before anything is made.
        once: which jobs were begun.
        is_desired: whether the token is of an order that the index lists.
    """

    api: MemberApi
    journal: Journal
    once: RunOnce
    is_desired: Callable[[str], bool]
    _namespaces: set[str] = field(default_factory=set, init=False)

    def apply(self, content: OrderContent, kinds: Kinds, view: View) -> Applied:
        """Applies everything that can be; each object's trouble is its own.

        Raises:
            Unreachable: the member does not answer; nothing more was tried.
        """
        result = Applied()
        trees = self._trees(content, kinds, result)
        self.journal.add_made(content.id, [key_of(tree) for tree, _ in trees])
        for tree, kind in trees:
            try:
                self._one(content, tree, kind, view, result)
            except ApiError as error:
                if error.code == 0:
                    raise
                result.errors.append(f"{key_of(tree)}: {error}")
                result.may_pass = result.may_pass and error.may_pass
        return result

    def ensure_namespace(self, name: str) -> None:
        """Makes a namespace, labelled as ours, if it is missing; else leaves it as it is."""
        if name in self._namespaces or not name:
            return
        path = f"/api/v1/namespaces/{name}"
        if self.api.find(path) is None:
            metadata = {"name": name, "labels": MANAGED_BY}
            tree = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
            self.api.apply(path, tree, force=False)
        self._namespaces.add(name)

    def forget_namespaces(self) -> None:
        """Looks anew which namespaces are there: somebody may have deleted one."""
        self._namespaces.clear()

    def _trees(
        self, content: OrderContent, kinds: Kinds, result: Applied
    ) -> list[tuple[Tree, Kind]]:
        trees = []
        for manifest in _in_order(content.manifests):
            kind = kinds.find(manifest["apiVersion"], manifest["kind"])
            if kind is None:
                name = f"{manifest['apiVersion']}/{manifest['kind']}"
                result.errors.append(f"the cluster does not serve {name}; install its definition")
                result.unserved.add(name)
                continue
            trees.append((dressed(content, manifest, is_namespaced=kind.is_namespaced), kind))
        return trees

    def _one(
        self, content: OrderContent, tree: Tree, kind: Kind, view: View, result: Applied
    ) -> None:
        key = key_of(tree)
        known = view.objects.get(identity(key))
        token = order_token(content.id)
        runs_once = ends_by_itself(tree)
        if runs_once and self._has_ended(content.id, key, tree, known is not None):
            result.ended.add(identity(key))
            return
        path = kind.path(key.namespace, key.name)
        uid = known.uid if known else ""
        if known is None or known.token != token:
            existing = self.api.find(path)
            if existing is not None and self._is_foreign(existing, token, key, result):
                return
            uid = str((existing or {}).get("metadata", {}).get("uid") or "")
        if not uid:
            self.ensure_namespace(key.namespace)
            if runs_once:
                self.ensure_namespace(ONCE_NAMESPACE)
                self.once.begin(content.id, key)
        self._send(path, tree, uid, result)

    def _send(self, path: str, tree: Tree, uid: str, result: Applied) -> None:
        """With the uid the server refuses an object that was remade since we looked."""
        key = key_of(tree)
        if uid:
            tree["metadata"]["uid"] = uid
        taken = self.api.apply(path, tree, force=bool(uid))
        taken = {**taken, "apiVersion": key.api_version, "kind": key.kind}
        metadata = taken.get("metadata") or {}
        result.marks[identity(key)] = (str(metadata.get("uid") or ""), mark_of(taken))
        result.standings[identity(key)] = standing(taken)

    def _has_ended(self, order_id: str, key: ObjectKey, tree: Tree, is_there: bool) -> bool:  # noqa: FBT001 - private
        """Whether a job ran to its end before, by journal or member; then it is not made again."""
        name = (key.kind, key.namespace, key.name)
        if self.journal.finished(order_id).get(name):
            return True
        if is_there:
            return False
        state = self.once.state(order_id, key)
        if state == STARTED and _vanishes(tree):
            state = UNSEEN
        if state is None or state == STARTED:
            return False
        self.journal.set_finished(order_id, key, state)
        return True

    def _is_foreign(self, existing: Tree, token: str, key: ObjectKey, result: Applied) -> bool:
        owner = token_of(existing)
        if owner == token:
            return False
        if owner is not None and not self.is_desired(owner):
            result.errors.append(f"{key}: waits until the withdrawn order that made it is gone")
            return True
        whose = "another order's" if owner else "not Kapok's"
        result.conflicts.append(
            f"{key} exists and is {whose}; it was not touched: rename yours or delete that one"
        )
        return True


def _in_order(manifests: Iterable[Tree]) -> list[Tree]:
    return sorted(manifests, key=lambda tree: _RANK.get(str(tree.get("kind")), len(_FIRST)))


def _vanishes(tree: Tree) -> bool:
    """A Job with a time to live is deleted by the cluster after its end (KEP-592)."""
    spec = tree.get("spec")
    return isinstance(spec, dict) and spec.get("ttlSecondsAfterFinished") is not None
