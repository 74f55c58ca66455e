"""Applies the objects of one order by server-side apply; never changes another owner's objects."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.discovery import MemberKind, MemberKinds
from agents.member.fields.autoscaling import autoscaled_objects
from agents.member.fields.drift import find_drifted_fields
from agents.member.fields.field_paths import without_field
from agents.member.fields.initial_replicas import apply_autoscaled
from agents.member.fields.owned_fields import revision_of
from agents.member.fields.shared_fields import apply_keeping_others
from agents.member.kind_order import sort_for_apply
from agents.member.namespaces import Namespaces
from agents.member.recreation import find_obstacle, immutable_fields_of
from agents.member.trees import map_at, text_at
from agents.orders.claims import DATA_KINDS, NAMESPACE
from agents.orders.inventory import MemberInventory, ObjectIdentity, ObservedObject, identity_of
from agents.orders.journal import Journal, ObjectKey
from agents.orders.labels import (
    SYSTEM_NAMESPACE,
    object_key_of,
    order_token_of,
    with_ownership_labels,
)
from agents.orders.readiness import Readiness, readiness_of, runs_to_completion
from agents.orders.run_once import STARTED, UNKNOWN_OUTCOME, JobRecords, content_digest
from agents.protocol.orders import OrderContent, api_group_of
from agents.protocol.topics import order_token

_MAX_REFUSAL_CHARACTERS: Final = 120
_NO_TRIAL_TEXT: Final = "does not support dry run"
NEVER_RECREATED: Final = DATA_KINDS | {
    NAMESPACE,
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
}
"""Kinds that hold data, or in which other objects are: these would go with them."""


@dataclass(slots=True)
class ApplyResult:
    """The outcome of applying one order, object by object.

    Attributes:
        applied_revisions: uid and revision of every object that the member accepted.
        readiness_by_object: readiness of these objects, and of jobs that finished before.
        finished_jobs: jobs that have finished and must not be created again.
        not_run: finished jobs that were changed since; the change does not run.
        yielded: fields that are left to another controller, as sentences.
        drifted: objects that another writer at the site has changed and that stay so, with the
            paths of the fields that differ.
        conflicts: objects that belong to another owner, as sentences.
        errors: errors of the member's API, as sentences.
        unserved_kinds: kinds that the member does not serve; they may be installed later.
        is_retryable: whether all errors may pass without a change of the order.
    """

    applied_revisions: dict[ObjectIdentity, tuple[str, str]] = field(default_factory=dict)
    readiness_by_object: dict[ObjectIdentity, Readiness] = field(default_factory=dict)
    finished_jobs: set[ObjectIdentity] = field(default_factory=set)
    not_run: set[ObjectIdentity] = field(default_factory=set)
    yielded: list[str] = field(default_factory=list)
    drifted: dict[ObjectIdentity, tuple[str, ...]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unserved_kinds: set[str] = field(default_factory=set)
    is_retryable: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether the member has accepted every object."""
        return not self.conflicts and not self.errors

    def add_error(self, message: str, *, is_retryable: bool) -> None:
        """Adds an error; one that does not pass by itself makes the order not retryable."""
        self.errors.append(message)
        self.is_retryable = self.is_retryable and is_retryable


@dataclass(slots=True, kw_only=True)
class Applier:
    """Applies orders to one member.

    Attributes:
        api: API of the member.
        journal: records objects before they are created.
        job_records: records of the jobs that were started.
        is_desired: whether a token belongs to an order that the index lists.
        namespaces: makes the namespaces of objects.
        tenant_account: name of the ServiceAccount in the workload's namespace whose rights the
            objects of an order are applied with; empty: the agent's own.
    """

    api: MemberApi
    journal: Journal
    job_records: JobRecords
    is_desired: Callable[[str], bool]
    namespaces: Namespaces
    tenant_account: str = ""

    def apply(
        self,
        content: OrderContent,
        kinds: MemberKinds,
        inventory: MemberInventory,
        applied: Collection[ObjectIdentity] = (),
    ) -> ApplyResult:
        """Applies all objects of an order; an error of one does not keep the others from it.

        Args:
            content: the order.
            kinds: kinds that the member serves.
            inventory: our objects as the member has them.
            applied: objects that were applied before from this very content: what differs of them
                was changed at the site since.

        Raises:
            Unreachable: the member does not answer; the remaining objects were not tried.
        """
        result = ApplyResult()
        trees = self._labelled_objects(content, kinds, inventory, result)
        self.journal.record_created(content.id, [object_key_of(tree) for tree, _ in trees])
        for tree, kind in trees:
            try:
                name = identity_of(object_key_of(tree))
                observed = inventory.objects.get(name) if name in applied else None
                if observed and self._left_drifted(content, tree, kind, observed, result):
                    continue
                self._apply_object(content, tree, kind, inventory, result)
            except MemberApiError as error:
                if (
                    error.code == 0
                ):  # no answer; the next object would only wait for the timeout too
                    raise
                if not self._recreate(content, tree, kind, error, result):
                    result.add_error(_format_error(tree, error), is_retryable=error.is_retryable)
        return result

    def find_immutable(
        self, content: OrderContent, kinds: MemberKinds, inventory: MemberInventory
    ) -> tuple[str, ...]:
        """What an order would change and what cannot be changed, as sentences; changes nothing.

        Raises:
            Unreachable: the member does not answer.
        """
        found: list[str] = []
        for tree, kind in self._labelled_objects(content, kinds, inventory, ApplyResult()):
            if runs_to_completion(tree):
                continue  # it runs once, whatever changes
            key = object_key_of(tree)
            path = kind.object_path(key.namespace, key.name)
            try:
                existing = self.api.find(path)
                if existing is None or order_token_of(existing) != order_token(content.id):
                    continue
                self.api.apply(path, tree, force=True, is_trial=True)
            except MemberApiError as error:
                if error.code == 0:
                    raise
                if fields := immutable_fields_of(error):
                    found.append(f"{_immutable_text(key, fields)} (updateStrategy: Refuse)")
                elif _NO_TRIAL_TEXT in str(error):
                    found.append(f"{key}: whether it can be changed cannot be tried: {error}")
        return tuple(found)

    def _recreate(
        self,
        content: OrderContent,
        tree: Tree,
        kind: MemberKind,
        error: MemberApiError,
        result: ApplyResult,
    ) -> bool:
        """Handles a change of what cannot be changed; returns whether the error was one.

        With updateStrategy Recreate the object is deleted, and a later pass creates it again.
        """
        fields, key = immutable_fields_of(error), object_key_of(tree)
        if not fields or runs_to_completion(tree):
            return False
        text = _immutable_text(key, fields)
        if content.update_strategy != "Recreate":
            text += ", or write updateStrategy: Recreate to have it deleted and created again"
            result.add_error(text, is_retryable=False)
            return True
        path = kind.object_path(key.namespace, key.name)
        live = self.api.find(path)
        if live is None or order_token_of(live) != order_token(content.id):
            result.add_error(text, is_retryable=True)
            return True
        obstacle = (
            "it holds data" if key.group_kind in NEVER_RECREATED else find_obstacle(self.api, live)
        )
        if obstacle:
            result.add_error(f"{text}; it is not deleted: {obstacle}", is_retryable=True)
            return True
        self.api.delete(path, uid=text_at(map_at(live, "metadata"), "uid"))
        what = f"{key}: {', '.join(fields)} cannot be changed"
        result.add_error(
            f"{what}: deleted, to be created again (updateStrategy: Recreate)", is_retryable=True
        )
        return True

    def _labelled_objects(
        self,
        content: OrderContent,
        kinds: MemberKinds,
        inventory: MemberInventory,
        result: ApplyResult,
    ) -> list[tuple[Tree, MemberKind]]:
        trees = []
        for manifest in sort_for_apply(content.manifests):
            kind = kinds.find(manifest["apiVersion"], manifest["kind"])
            if kind is None:
                name = f"{manifest['apiVersion']}/{manifest['kind']}"
                result.errors.append(
                    f"the cluster does not serve {name} yet; its CustomResourceDefinition comes "
                    "with this order, and has to be established first"
                    if _defines(content.manifests, manifest)
                    else f"the cluster does not serve {name}; install its CustomResourceDefinition"
                )
                result.unserved_kinds.add(name)
                continue
            tree = with_ownership_labels(content, manifest, is_namespaced=kind.is_namespaced)
            observed = inventory.objects.get(identity_of(object_key_of(tree)))
            if observed is not None and not observed.has_labelled_claims:
                tree = with_ownership_labels(
                    content, manifest, is_namespaced=kind.is_namespaced, labels_claims=False
                )
            trees.append((tree, kind))
        return trees

    def _left_drifted(
        self,
        content: OrderContent,
        tree: Tree,
        kind: MemberKind,
        observed: ObservedObject,
        result: ApplyResult,
    ) -> bool:
        """Whether an object stays as the site has it, because drift is only to be reported.

        One that was deleted, or that lost the mark of its order, is applied again in any case.
        """
        key = object_key_of(tree)
        is_ours = observed.token == order_token(content.id)
        if content.on_drift != "Report" or not is_ours or runs_to_completion(tree):
            return False
        scaled = autoscaled_objects(content.manifests, content.namespace)
        if (key.kind, key.namespace, key.name) in scaled:
            tree = without_field(tree, ".spec.replicas") or tree
        tree["metadata"]["uid"] = observed.uid
        path = kind.object_path(key.namespace, key.name)
        api = self.api.acting_as(account_user(content.namespace, self.tenant_account))
        fields, left = find_drifted_fields(api, path, tree)
        result.yielded += [f"{key}: {text}" for text in left]
        if fields:
            result.drifted[identity_of(key)] = fields
        result.applied_revisions[identity_of(key)] = (observed.uid, observed.revision)
        result.readiness_by_object[identity_of(key)] = observed.readiness
        return True

    def _apply_object(
        self,
        content: OrderContent,
        tree: Tree,
        kind: MemberKind,
        inventory: MemberInventory,
        result: ApplyResult,
    ) -> None:
        key = object_key_of(tree)
        observed = inventory.objects.get(identity_of(key))
        token = order_token(content.id)
        runs_once = runs_to_completion(tree)
        if runs_once and self._has_finished(content.id, key, tree, observed is not None):
            result.finished_jobs.add(identity_of(key))
            if self.job_records.has_run_another(content.id, key, content_digest(tree)):
                result.not_run.add(identity_of(key))
            return
        path = kind.object_path(key.namespace, key.name)
        uid = observed.uid if observed else ""
        if observed is None or observed.token != token:
            existing = self.api.find(path)
            if existing is not None and self._record_if_foreign(existing, token, key, result):
                return
            uid = text_at(map_at(existing or {}, "metadata"), "uid")
        self._ensure_namespace_of(content, key.namespace)  # the level may have changed
        is_start = not uid and runs_once
        if is_start:
            self.namespaces.ensure(SYSTEM_NAMESPACE)
            self.job_records.record_start(content.id, key, content_digest(tree))
        try:
            self._apply_and_record(content, path, tree, uid, result)
        except MemberApiError as error:
            if is_start and error.is_refusal:  # else it would count as one that has run
                self.job_records.withdraw_start(content.id, key)
            raise

    def _ensure_namespace_of(self, content: OrderContent, name: str) -> None:
        """Creates the namespace of an object; the level is that of the workload's own namespace."""
        is_own = name == content.namespace
        self.namespaces.ensure(name, content.pod_security if is_own else None)

    def _apply_and_record(
        self, content: OrderContent, path: str, tree: Tree, uid: str, result: ApplyResult
    ) -> None:
        """Applies an object and records its revision and readiness.

        With the uid in it, the server refuses an object that was deleted and created again since
        it was listed.
        """
        key = object_key_of(tree)
        if uid:
            tree["metadata"]["uid"] = uid
        scaled = autoscaled_objects(content.manifests, content.namespace)
        is_scaled = (key.kind, key.namespace, key.name) in scaled
        apply = apply_autoscaled if is_scaled else apply_keeping_others
        api = self.api.acting_as(account_user(content.namespace, self.tenant_account))
        taken, left = apply(api, path, tree, is_present=bool(uid))
        result.yielded += [f"{key}: {text}" for text in left]
        taken = {**taken, "apiVersion": key.api_version, "kind": key.kind}
        result.applied_revisions[identity_of(key)] = (
            text_at(map_at(taken, "metadata"), "uid"),
            revision_of(taken),
        )
        result.readiness_by_object[identity_of(key)] = readiness_of(taken)

    def _has_finished(self, order_id: str, key: ObjectKey, tree: Tree, is_present: bool) -> bool:  # noqa: FBT001 - private
        """Whether a job has run to its end before, by journal or member; it must not run again."""
        name = (key.kind, key.namespace, key.name)
        if self.journal.finished_jobs_of(order_id).get(name):
            return True
        if is_present:
            return False
        state = self.job_records.state_of(order_id, key)
        if state == STARTED and _has_ttl_after_finished(tree):
            state = UNKNOWN_OUTCOME  # it ran, and the cluster has deleted it since
        if state is None or state == STARTED:
            return False
        self.journal.record_finished(order_id, key, state)
        return True

    def _record_if_foreign(
        self, existing: Tree, token: str, key: ObjectKey, result: ApplyResult
    ) -> bool:
        owner = order_token_of(existing)
        if owner == token:
            return False
        if owner is not None and not self.is_desired(owner):
            result.errors.append(f"{key}: waiting until the withdrawn order that owns it is gone")
            return True
        whose = "belongs to another order" if owner else "was not created by Kapok"
        result.conflicts.append(
            f"{key} exists and {whose}; it was not changed: rename yours, or delete that one"
        )
        return True


def account_user(namespace: str, account: str) -> str:
    """The user that a ServiceAccount is; empty for no account."""
    return f"system:serviceaccount:{namespace}:{account}" if account else ""


def identities_of(content: OrderContent, kinds: MemberKinds) -> Iterator[ObjectIdentity]:
    """The objects that an order names, as far as the member serves their kinds."""
    for manifest in content.manifests:
        kind = kinds.find(manifest["apiVersion"], manifest["kind"])
        if kind is not None:
            metadata = map_at(manifest, "metadata")
            namespace = text_at(metadata, "namespace") or content.namespace
            yield (
                kind.group,
                kind.kind,
                namespace if kind.is_namespaced else "",
                text_at(metadata, "name"),
            )


def _immutable_text(key: ObjectKey, fields: Iterable[str]) -> str:
    return (
        f"{key}: {', '.join(fields)} cannot be changed in an object that exists; undo the change,"
        " give the new one another name"
    )


def _defines(manifests: Iterable[Tree], manifest: Tree) -> bool:
    """Whether one of the manifests is the definition of another one's kind."""
    wanted = (api_group_of(str(manifest.get("apiVersion"))), manifest.get("kind"))
    specs = (
        map_at(each, "spec") for each in manifests if each.get("kind") == "CustomResourceDefinition"
    )
    return any((one.get("group"), map_at(one, "names").get("kind")) == wanted for one in specs)


def _format_error(tree: Tree, error: MemberApiError) -> str:
    key = object_key_of(tree)
    if runs_to_completion(tree) and error.code == HTTPStatus.UNPROCESSABLE_ENTITY:
        # The API repeats the whole template in its words.
        words = str(error)[:_MAX_REFUSAL_CHARACTERS]
        return (
            f"{key} runs, and what it runs cannot be changed: the change is not run; "
            f"give the new one another name ({words})"
        )
    if key.kind == "Secret":  # the words of a refusal may repeat what it holds
        return f"{key}: the cluster refused it with code {error.code}"
    return f"{key}: {error}"


def _has_ttl_after_finished(tree: Tree) -> bool:
    """Whether the cluster deletes a Job some time after its end (KEP-592)."""
    spec = tree.get("spec")
    return isinstance(spec, dict) and spec.get("ttlSecondsAfterFinished") is not None
