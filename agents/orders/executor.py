"""Reconciles the member cluster with the index, and keeps the status of every order.

One pass lists our objects, applies orders that are new or have drifted, several at once, and
deletes objects that no order asks for. A pass blocks, so it runs in a worker thread; it is repeated
when an index or a content arrives, and after the resync time. What fails in one pass is tried again
in the next, and nothing counts as done before the member has answered.
"""

import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agents.member.api import MemberApiError, Tree
from agents.member.discovery import Discovery, MemberKind, MemberKinds
from agents.member.namespaces import Namespaces
from agents.orders.allowed.site_rules import SiteRules, find_site_refusals
from agents.orders.applier import Applier, ApplyResult, identities_of
from agents.orders.claims import CLAIM, STATEFUL_SET, find_kept, kept_claims
from agents.orders.finished_jobs import FinishedJobs
from agents.orders.intake import Intake
from agents.orders.inventory import (
    MemberInventory,
    ObjectIdentity,
    identity_of,
    read_inventory,
)
from agents.orders.journal import Journal, JournalError
from agents.orders.labels import SYSTEM_NAMESPACE
from agents.orders.plan import (
    TrackedOrder,
    find_surplus,
    find_unmet_need,
    kept_result,
    namespaces_needed,
    needs_apply,
    order_status_of,
    waiting_order,
)
from agents.orders.policy import find_refusals, open_secrets
from agents.orders.recreations import Recreations
from agents.orders.run_once import JobRecords
from agents.orders.withdrawal import Remains, Withdrawal, group_by_order, withdrawing_status
from agents.protocol.index import IndexEntry
from agents.protocol.orders import OrderContent
from agents.protocol.sealing.box import SealingKey
from agents.protocol.status import KeptClaim, NotReadyPods, OrderStatus
from agents.protocol.topics import order_token
from agents.runtime.backoff import Backoff
from agents.runtime.clock import AgentClock
from agents.runtime.concurrency import group_by_shared, run_groups
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

_ALL_KINDS_LIST_INTERVAL_SECONDS: Final = 600.0
_ORDERS_AT_ONCE: Final = 8
"""A request takes a member's server some ten milliseconds, most of it waiting for its disk; more at
once would only fill the priority level that its API server gives to this client."""
_DRIFT_LOOK_SECONDS: Final = 60.0
_INITIAL_RETRY_SECONDS: Final = 1.0
_MAX_RETRY_SECONDS: Final = 60.0


@dataclass(slots=True, kw_only=True)
class OrderExecutor:
    """Executes orders at one member.

    Attributes:
        discovery: API of the member, and the kinds that it serves.
        intake: the desired state.
        journal: what survives a restart.
        clock: monotonic time, for retries.
        jitter: chance as an input.
        is_allowed: whether this agent may change the member now, that is, holds the site's lease;
            checked before every change.
        bound_pods: number of bound pods by order id, as last observed by the sensor.
        last_pass_at: monotonic seconds at which the last complete pass began; None before the
            first.
        faults: the barrier around each order and each kind of objects.
        pod_problems: what keeps a pod from running by order id, as last observed by the sensor.
        not_ready: the pods that are not ready by order id, as last observed by the sensor.
        sealing_key: opens sealed content; None: there is none.
        tenant_account: name of the ServiceAccount of each namespace with whose rights orders are
            applied; empty: the agent's own.
        site_rules: what the site's owner lets orders do.
    """

    discovery: Discovery
    intake: Intake
    journal: Journal
    clock: AgentClock
    jitter: random.Random
    is_allowed: Callable[[], bool]
    bound_pods: Callable[[], Mapping[str, int]]
    faults: AgentFaults = field(default_factory=AgentFaults)
    pod_problems: Callable[[], Mapping[str, str]] = dict
    not_ready: Callable[[], Mapping[str, tuple[NotReadyPods, ...]]] = dict
    sealing_key: SealingKey | None = None
    tenant_account: str = ""
    site_rules: SiteRules = field(default_factory=SiteRules)
    last_pass_at: float | None = field(default=None, init=False)
    _job_records: JobRecords = field(init=False)
    _namespaces: Namespaces = field(init=False)
    _applier: Applier = field(init=False)
    _finished_jobs: FinishedJobs = field(init=False)
    _recreations: Recreations = field(default_factory=Recreations, init=False)
    _tracked: dict[str, TrackedOrder] = field(default_factory=dict, init=False)
    _withdrawal: Withdrawal = field(init=False)
    _withdrawing: dict[str, OrderStatus] = field(default_factory=dict, init=False)
    _kept: tuple[KeptClaim, ...] = field(default=(), init=False)
    _backoffs: dict[str, Backoff] = field(default_factory=dict, init=False)
    _found_kinds: set[tuple[str, str]] = field(default_factory=set, init=False)
    _all_kinds_listed_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._job_records = JobRecords(self.discovery.api)
        self._withdrawal = Withdrawal(api=self.discovery.api)
        self._finished_jobs = FinishedJobs(self.journal, self._job_records, self._is_desired)
        self._namespaces = Namespaces(api=self.discovery.api, clock=self.clock)
        self._applier = Applier(
            api=self.discovery.api,
            journal=self.journal,
            job_records=self._job_records,
            is_desired=self._is_desired,
            namespaces=self._namespaces,
            tenant_account=self.tenant_account,
        )

    def ensure_system_namespace(self) -> None:
        """Creates the namespace of the lease and of the job records. Blocking.

        Raises:
            MemberApiError: the member does not answer, or does not allow it.
        """
        self._namespaces.ensure(SYSTEM_NAMESPACE)

    def forget_namespaces(self) -> None:
        """Makes the next use of a namespace look whether it is still there."""
        self._namespaces.forget_known()

    def reconcile(self) -> bool:
        """Makes one pass. Blocking.

        Returns:
            Whether something has changed, so that a status should be sent now.

        Raises:
            MemberApiError: the member does not answer; the next pass tries again.
            JournalError: the journal cannot be written; nothing was changed that had to be in it.
        """
        if not self.is_allowed():
            self.last_pass_at = None  # another agent may act now; what this one saw gets old
            return False
        # Before anything is changed: what cannot be remembered is not done.
        self.journal.require_writable()
        self.intake.resume()
        started, is_first = self.clock.monotonic(), self.last_pass_at is None
        self._namespaces.forget_known()
        self._job_records.forget_read()
        kinds = self.discovery.kinds()
        inventory = read_inventory(
            self.discovery.api,
            self._kinds_to_list(kinds),
            self.faults,
            created=self._created_identities(),
        )
        self._found_kinds |= {observed.key.group_kind for observed in inventory.objects.values()}
        self._found_kinds |= inventory.problems.keys()  # unknown until they can be listed
        self._finished_jobs.record(inventory)
        changed = self._apply_due(kinds, inventory)
        if not self.is_allowed():
            return changed
        changed = self._delete_surplus(inventory, kinds) or changed
        if self.is_allowed():
            self.last_pass_at = started
        return changed or is_first

    def order_statuses(self) -> tuple[OrderStatus, ...]:
        """The status of every order after the last pass: listed orders, then withdrawn ones."""
        bound, applied = self.bound_pods(), self.journal.applied_generations()
        problems, not_ready = self.pod_problems(), self.not_ready()
        listed = [
            order_status_of(
                entry,
                self._tracked.get(order_token(entry.id)),
                bound_pods=bound.get(entry.id),
                applied_generation=applied.get(entry.id),
                recreated=self._recreations.find(order_token(entry.id), self.clock.monotonic()),
                pod_problem=problems.get(entry.id, ""),
                not_ready=not_ready.get(entry.id),
            )
            for entry in self._index_entries()
        ]
        return (*listed, *self._unlisted_statuses(applied))

    def kept_claims(self) -> tuple[KeptClaim, ...]:
        """The claims that stay at the member although no order asks for them."""
        return self._kept

    def _unlisted_statuses(self, applied: Mapping[str, int]) -> list[OrderStatus]:
        """Status of orders that the index no longer lists, before the first pass too.

        Also of one that was never applied completely: what was created of it is still there.
        """
        listed, bound = {entry.id for entry in self._index_entries()}, self.bound_pods()
        known = {
            order_id: withdrawing_status(
                order_id, applied.get(order_id, 0), Remains(), bound.get(order_id, 0)
            )
            for order_id in {*applied, *self.journal.created_objects()}
        } | self._withdrawing
        return [known[order_id] for order_id in sorted(known) if order_id not in listed]

    # ------------------------------------------------------------ applying

    def _apply_due(self, kinds: MemberKinds, inventory: MemberInventory) -> bool:
        """Applies orders that need it, several at once; returns whether any was tried."""

        def apply(entry: IndexEntry) -> bool:
            content = self.intake.content_of(entry)
            if content is None or not self.is_allowed():
                return False
            self._apply(entry, content, kinds, inventory)
            return True

        due = [entry for entry in self._index_entries() if self._is_due(entry, inventory)]
        keys = self._objects_named(due, kinds) if len(due) > 1 else {}
        changed = False
        while due:
            ready = [entry for entry in due if not self._must_wait(entry)]
            groups = group_by_shared(ready, lambda entry: keys.get(entry.id, ()))
            changed = run_groups(groups, apply, at_once=_ORDERS_AT_ONCE) or changed
            applied = {entry.id for entry in ready}
            due = [entry for entry in due if entry.id not in applied] if ready else []
        return changed

    def _must_wait(self, entry: IndexEntry) -> bool:
        """Whether an order waits for one that it needs; then it is tracked as waiting."""
        token, content = order_token(entry.id), None
        with self.faults.guard("order", token, passing=(JournalError,)):
            content = self.intake.content_of(entry)
        if content is None or not content.needs:
            return False
        listed = {each.id: each for each in self._index_entries()}
        needed = find_unmet_need(content.needs, listed, self._tracked)
        if needed:
            needed_order = self._tracked.get(order_token(needed))
            before = self._tracked.get(token)
            self._tracked[token] = waiting_order(entry, needed, needed_order, before)
        return bool(needed)

    def _objects_named(
        self, due: Iterable[IndexEntry], kinds: MemberKinds
    ) -> dict[str, frozenset[ObjectIdentity]]:
        """The objects of each order, and their namespaces where an order of these makes them.

        The contents are read again to be applied, so that not all of them are in memory at once.
        """
        named: dict[str, frozenset[ObjectIdentity]] = {}
        for entry in due:
            with self.faults.guard("order", order_token(entry.id), passing=(JournalError,)):
                if content := self.intake.content_of(entry):
                    named[entry.id] = frozenset(identities_of(content, kinds))
        made = {each for objects in named.values() for each in objects if each[1] == "Namespace"}
        return {
            order_id: objects | (made & {("", "Namespace", "", each[2]) for each in objects})
            for order_id, objects in named.items()
        }

    def _is_due(self, entry: IndexEntry, inventory: MemberInventory) -> bool:
        """Whether an order has to be applied now; one that has not gets its present readiness."""
        tracked = self._tracked.get(order_token(entry.id))
        if tracked is not None and tracked.waits_for and tracked.digest == entry.digest:
            return True
        if needs_apply(tracked, entry, inventory, self.clock.monotonic()):
            return True
        if tracked is not None:
            tracked.refresh_readiness(inventory)
        return False

    def _apply(
        self,
        entry: IndexEntry,
        content: OrderContent,
        kinds: MemberKinds,
        inventory: MemberInventory,
    ) -> None:
        """Applies an order, in one of several threads; sets one aside on which the agent fails."""
        token = order_token(entry.id)
        tracked = self._tracked.get(token)
        if tracked is not None and tracked.digest == entry.digest:
            self._recreations.record(token, tracked.vanished(inventory), self.clock.monotonic())
        with self.faults.guard("order", token, passing=(MemberApiError, JournalError)):
            self._tracked[token] = self._apply_order(entry, content, kinds, inventory)
            return
        self._tracked[token] = self._set_aside(entry, content)

    def _set_aside(self, entry: IndexEntry, content: OrderContent) -> TrackedOrder:
        """An order on which the agent failed; it is tried again later, the others go on."""
        result = ApplyResult()
        result.add_error(
            "the agent failed at this order; its log says where. It is tried again",
            is_retryable=True,
        )
        pause = self.faults.quarantine_seconds("order", order_token(entry.id))
        return TrackedOrder(
            digest=entry.digest,
            generation=entry.generation,
            object_count=len(content.manifests),
            result=result,
            retry_at=self.clock.monotonic() + max(pause, _INITIAL_RETRY_SECONDS),
        )

    def _apply_order(
        self,
        entry: IndexEntry,
        content: OrderContent,
        kinds: MemberKinds,
        inventory: MemberInventory,
    ) -> TrackedOrder:
        secrets: tuple[Tree, ...] = ()
        refusals: tuple[str, ...] = ()
        if content.sealed is not None:
            secrets, refusals = open_secrets(content, self.sealing_key)
        refusals += find_refusals(
            content, lambda version, kind: _is_namespaced(kinds, version, kind), secrets
        )
        content = replace(content, manifests=(*content.manifests, *secrets))
        refusals = refusals or find_site_refusals(content, content.manifests, self.site_rules)
        retry_at = None
        if not refusals and content.update_strategy == "Refuse":
            refusals = self._applier.find_immutable(content, kinds, inventory)
            if refusals:  # it can pass: someone deletes the object
                retry_at = self.clock.monotonic() + self._next_retry_seconds(entry.id)
        if refusals:
            _log.warning("order %s: refused: %s", entry.id, "; ".join(refusals))
            result = kept_result(self._tracked.get(order_token(entry.id)))
        else:
            applied = self._objects_applied(entry, inventory)
            result = self._applier.apply(content, kinds, inventory, applied)
            self._finished_jobs.add_to(result, content.id)
            retry_at = self._handle_result(entry, result)
        return TrackedOrder(
            digest=entry.digest,
            generation=entry.generation,
            object_count=len(content.manifests),
            result=result,
            refusals=refusals,
            retry_at=retry_at,
            look_at=(
                self.clock.monotonic() + _DRIFT_LOOK_SECONDS
                if result.drifted or result.yielded
                else None
            ),
        )

    def _objects_applied(
        self, entry: IndexEntry, inventory: MemberInventory
    ) -> Collection[ObjectIdentity]:
        """The objects that were applied from the very content that an index lists."""
        tracked = self._tracked.get(order_token(entry.id))
        if tracked is not None:
            return tracked.result.applied_revisions if tracked.digest == entry.digest else ()
        # After a restart, the journal knows which content was applied.
        return inventory.objects if self.journal.applied_digest_of(entry.id) == entry.digest else ()

    def _handle_result(self, entry: IndexEntry, result: ApplyResult) -> float | None:
        """Records a complete result; returns when an incomplete one is tried again."""
        if result.is_complete:
            self.journal.record_applied(entry.id, entry.generation, entry.digest)
            self._backoffs.pop(entry.id, None)
            before = self._tracked.get(order_token(entry.id))
            is_look = before and before.look_at and before.look_at <= self.clock.monotonic()
            level = logging.DEBUG if is_look else logging.INFO  # it comes each minute
            _log.log(level, "order %s generation %d: applied", entry.id, entry.generation)
            return None
        if result.unserved_kinds:
            # The first time at once: the order may bring the definition of the kind itself.
            self.discovery.invalidate(is_urgent=entry.id not in self._backoffs)
        return self.clock.monotonic() + self._next_retry_seconds(entry.id)

    def _next_retry_seconds(self, order_id: str) -> float:
        if order_id not in self._backoffs:
            self._backoffs[order_id] = Backoff(
                initial_seconds=_INITIAL_RETRY_SECONDS,
                max_seconds=_MAX_RETRY_SECONDS,
                jitter=self.jitter,
            )
        return self._backoffs[order_id].next_seconds()

    # ------------------------------------------------------------ withdrawing

    def _delete_surplus(self, inventory: MemberInventory, kinds: MemberKinds) -> bool:
        """Deletes objects that no order asks for; forgets orders of which nothing is left."""
        index = self.intake.index
        if index is None:  # after a lost disk: without an index nothing is known to be surplus
            return False
        desired = frozenset(order_token(entry.id) for entry in index.orders)
        self._tracked = {token: order for token, order in self._tracked.items() if token in desired}
        self._recreations.forget_except(desired)
        kept = find_kept(inventory, desired, self._purged_tokens())
        surplus = find_surplus(inventory, self._tracked, desired, kept)
        purged = self._purged_tokens() - desired
        kept |= self._withdrawal.namespaces_in_use(surplus, kinds, desired, purged)
        surplus = [each for each in surplus if identity_of(each.key) not in kept]
        self._withdrawal.forget_refusals_except(inventory.objects)
        for observed in surplus:
            if not self.is_allowed():
                return True
            refusal = self._withdrawal.delete(observed, kinds)
            _log.info("%s of %s: %s", observed.key, observed.order_id, refusal or "deleted")
        self._update_withdrawing(inventory, kinds, desired, kept)
        self._remove_namespaces(inventory, kinds)
        asked = {token: order.identities for token, order in self._tracked.items()}
        before, self._kept = (
            self._kept,
            kept_claims(inventory, kept, desired, asked, self._created_identities()),
        )
        return bool(surplus) or self._kept != before

    def _remove_namespaces(self, inventory: MemberInventory, kinds: MemberKinds) -> None:
        """Removes namespaces that no order needs; not while the objects of an order are unknown."""
        entries = self._index_entries()
        if all(order_token(entry.id) in self._tracked for entry in entries):
            needed = namespaces_needed(entries, self.journal.created_objects(), inventory)
            self._namespaces.remove_unneeded(needed, kinds, is_allowed=self.is_allowed)

    def _purged_tokens(self) -> frozenset[str]:
        """Tokens of the orders whose data goes, by the index."""
        index = self.intake.index
        return frozenset(order_token(order_id) for order_id in (index.purge or () if index else ()))

    def _created_identities(self) -> frozenset[ObjectIdentity]:
        created = self.journal.created_objects()
        return frozenset(identity_of(key) for keys in created.values() for key in keys)

    def _update_withdrawing(
        self,
        inventory: MemberInventory,
        kinds: MemberKinds,
        desired: frozenset[str],
        kept: frozenset[ObjectIdentity],
    ) -> None:
        """Reports orders that are not listed as Withdrawing until nothing of them is left."""
        objects = group_by_order(inventory, desired, kept)
        bound, applied = self.bound_pods(), self.journal.applied_generations()
        created = self.journal.created_objects()
        leaving: dict[str, OrderStatus] = {}
        for order_id in sorted({*applied, *created, *objects, *bound}):
            if order_token(order_id) in desired:
                continue
            remains = self._withdrawal.remains_of(objects.get(order_id, ()))
            pods = bound.get(order_id, 0)
            if remains.is_nothing and not pods:
                remains = self._withdrawal.look_again(
                    order_id,
                    created.get(order_id, ()),
                    kinds,
                    inventory,
                    is_purged=order_token(order_id) in self._purged_tokens(),
                )
            if not remains.is_nothing or pods:
                generation = applied.get(order_id, 0)
                leaving[order_id] = withdrawing_status(order_id, generation, remains, pods)
            else:
                self._forget_order(order_id)
        self._withdrawing = leaving

    def _forget_order(self, order_id: str) -> None:
        try:
            self._job_records.forget_order(order_id)
        except MemberApiError as error:
            if error.code == 0:
                raise
            _log.warning("order %s: its job records cannot be deleted: %s", order_id, error)
        self.journal.forget_order(order_id)
        self._namespaces.look_soon()
        _log.info("order %s: gone", order_id)

    # ------------------------------------------------------------ kinds

    def _kinds_to_list(self, kinds: MemberKinds) -> list[MemberKind]:
        """Kinds of the objects that were created; every ten minutes all kinds.

        All, because a lost journal may have known objects of other kinds.
        """
        now = self.clock.monotonic()
        if (
            self._all_kinds_listed_at is None
            or now - self._all_kinds_listed_at > _ALL_KINDS_LIST_INTERVAL_SECONDS
        ):
            self._all_kinds_listed_at = now
            return list(kinds.prunable())
        made = {key.group_kind for keys in self.journal.created_objects().values() for key in keys}
        wanted = made | self._found_kinds
        if STATEFUL_SET in made:  # it makes claims that no manifest names
            wanted.add(CLAIM)
        return [kind for kind in kinds.prunable() if (kind.group, kind.kind) in wanted]

    def _index_entries(self) -> tuple[IndexEntry, ...]:
        return self.intake.index.orders if self.intake.index else ()

    def _is_desired(self, token: str) -> bool:
        return any(order_token(entry.id) == token for entry in self._index_entries())


def _is_namespaced(kinds: MemberKinds, api_version: str, kind: str) -> bool | None:
    found = kinds.find(api_version, kind)
    return None if found is None else found.is_namespaced
