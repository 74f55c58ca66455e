"""Sends the objects that pod templates refer to along with the orders of workloads.

It reads each object once when an order needs it, and again when the hub says that it has changed,
and sets the order of that object at every site where an order refers to it (`referred_ids.py`). An
order waits until all that it refers to can go along. What a site has of an object stays there as
long as an order refers to it, or as it is not known what an order refers to, also when the object
is gone at the hub: pods there use it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.referred_ids import (
    RESOURCES,
    ReferredObject,
    is_large_body,
    order_of_referred,
    order_that_stays,
    pack_referred,
    parse_referred_id,
    parse_referred_key,
    recorded_version,
    referred_order_id,
)
from scheduler.control.orders.waits import (
    MISSING,
    REFUSED,
    SEALING_KEY_UNKNOWN,
    TOO_MANY,
    UNREAD,
    OrderWait,
)
from scheduler.control.ports.agents import OrderForSite, OrderStatusReport
from scheduler.control.ports.hub import NAMESPACE, ApiResource, Hub, HubError, NotFound, Object
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.manifests.references import (
    MAX_REFERENCES,
    REFERRED_KINDS,
    ReferredKind,
    is_referred_name,
)
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

FollowMetadata = Callable[[ApiResource, Callable[[str, str], None]], Coroutine[Any, Any, None]]
"""Calls a function with namespace and name of each object of a kind that changes; never ends."""

_READERS: Final = 4
_RETRY_SECONDS: Final = 2.0
_RETRY_REFUSED_SECONDS: Final = 30.0
_ACCOUNT_TOKEN: Final = "kubernetes.io/service-account-token"  # noqa: S105 - the name of a type


@dataclass(frozen=True, slots=True)
class ReferredContent:
    """What is known of a referred object.

    Attributes:
        packed: the object as its order has it; empty: it is not there, or cannot go along.
        problem: why it cannot be read or sent; "" when it can, or is not there.
        reason: the reason of `problem`.
        version: what names the content in records; see `recorded_version`.
    """

    packed: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    problem: str = ""
    reason: str = ""
    version: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(slots=True, kw_only=True)
class ReferredObjects:
    """What orders refer to, and the orders of these objects.

    Attributes:
        hub_id: names this hub in order ids.
        hub: holds the objects.
        objects: for the tenants.
        sites: what sites report of their orders.
        dispatcher: publishes the orders.
        clock: for pauses between attempts.
        faults: handles the faults that single objects cause.
        on_change: called with the workloads whose order may go out now, or waits for another
            reason.
        follow: follows the changes of a kind; None: what is read once is not read again.
        sealing_key_of: gives the public key for which Secrets of a site are sealed; "": unknown.
    """

    hub_id: str
    hub: Hub
    objects: HubObjects
    sites: Sites
    dispatcher: Dispatcher
    clock: Clock
    faults: Faults
    on_change: Callable[[list[WorkKey]], None]
    follow: FollowMetadata | None = None
    sealing_key_of: Callable[[str], str] = lambda _site: ""
    _needs: dict[WorkKey, dict[str, frozenset[ReferredObject]]] = field(default_factory=dict)
    _users: dict[ReferredObject, set[WorkKey]] = field(default_factory=dict)
    _unknown: dict[WorkKey, frozenset[str]] = field(default_factory=dict)
    _unknown_at: dict[str, set[WorkKey]] = field(default_factory=dict)
    _lingering: dict[str, set[ReferredObject]] = field(default_factory=dict)
    _tenants: dict[ReferredObject, Tenant] = field(default_factory=dict)
    _contents: dict[ReferredObject, ReferredContent] = field(default_factory=dict)
    _unread: dict[ReferredObject, None] = field(default_factory=dict)
    _has_unread: asyncio.Event = field(default_factory=asyncio.Event)
    _retry_at: dict[ReferredObject, float] = field(default_factory=dict)
    _followed: set[ReferredKind] = field(default_factory=set)
    _has_new_kind: asyncio.Event = field(default_factory=asyncio.Event)

    # ------------------------------------------------------------ what orders refer to

    def on_orders(self, key: WorkKey, orders: Mapping[str, OrderForSite]) -> None:
        """Notes what the orders of a workload, or of a referred object, refer to, by site."""
        former = self._needs.pop(key, {})
        was_unknown = self._unknown.pop(key, frozenset())
        needs = {
            site: frozenset(filter(None, map(parse_referred_id, one.needs[:MAX_REFERENCES])))
            for site, one in orders.items()
            if one.needs
        }
        unknown = frozenset(
            site for site, one in orders.items() if one.kept_digest and _may_refer(key)
        )
        if needs:
            self._needs[key] = needs
        for site in was_unknown - unknown:
            self._unknown_at[site].discard(key)
        for site in unknown:
            self._unknown_at.setdefault(site, set()).add(key)
        if unknown:
            self._unknown[key] = unknown
        before = {one for each in former.values() for one in each}
        after = {one for each in needs.values() for one in each}
        for one in before - after:
            self._users[one].discard(key)
        for one in after:
            self._users.setdefault(one, set()).add(key)
            self._want(one)
        changed = {
            one
            for one in before | after
            if _sites_of(former, one) != _sites_of(needs, one) or self._is_outdated(one, needs)
        }
        if was_unknown - unknown:
            for namespace in self._namespaces_of(key):
                changed |= self._lingering.get(namespace, set())
        for one in sorted(changed):
            self._plan(one)

    def recorded_references(self, key: WorkKey) -> list[dict[str, str]]:
        """What the present orders of a workload refer to, by name and version, for its record.

        A version is left out while the object is not read, or is not at the hub.
        """
        needed = {one for each in self._needs.get(key, {}).values() for one in each}
        unread = ReferredContent()
        return [
            {
                "kind": one.kind,
                "name": one.name,
                **({"namespace": one.namespace} if one.is_namespaced else {}),
                **self._contents.get(one, unread).version,
            }
            for one in sorted(needed)
        ]

    def on_order_status(self, report: OrderStatusReport) -> None:
        """Keeps what a site has of objects, as long as an order there may refer to them."""
        for order_id in report.orders:
            one = parse_referred_id(order_id)
            if one is None or referred_order_id(self.hub_id, one) != order_id:
                continue
            if self.dispatcher.order_at(report.site, order_id) is None:
                self._plan(one, {report.site})

    def plan_reported(self) -> None:
        """Does as `on_order_status` for all that sites have reported until now."""
        for state in list(self.sites.states.values()):
            if state.order_status is not None:
                self.on_order_status(state.order_status)

    def _is_outdated(
        self, one: ReferredObject, needs: Mapping[str, frozenset[ReferredObject]]
    ) -> bool:
        """Whether a site that is new under its name lacks an object, or its tenant has changed."""
        content = self._contents.get(one)
        if content is None or not content.packed:
            return False
        if self._tenants.get(one) is not self._tenant_of(one):
            return True
        order_id = referred_order_id(self.hub_id, one)
        sites = _sites_of(needs, one)
        return any(self.dispatcher.order_at(site, order_id) is None for site in sites)

    def _tenant_of(self, one: ReferredObject) -> Tenant | None:
        return self.objects.tenant_of(one.namespace) if one.is_namespaced else None

    def _is_unknown_at(self, site: str, one: ReferredObject) -> bool:
        """Whether an order at a site may refer to an object, as far as is known."""
        return any(
            _may_refer(key, one) and one.namespace in self._namespaces_of(key)
            for key in self._unknown_at.get(site, ())
        )

    def _namespaces_of(self, key: WorkKey) -> tuple[str, ...]:
        """The namespaces in which what an order refers to may be."""
        tenant = None if parse_referred_key(key) else self.objects.tenant_of(key[0])
        return (key[0], NAMESPACE, *(tenant.spec.extra_namespaces if tenant else ()))

    # ------------------------------------------------------------ their orders

    def _plan(self, one: ReferredObject, more: set[str] | None = None) -> None:
        """Sets the orders of an object at the sites that need it."""
        wanted = {
            site
            for key in self._users.get(one, ())
            for site, needed in self._needs.get(key, {}).items()
            if one in needed
        }
        order_id = referred_order_id(self.hub_id, one)
        planned = self.dispatcher.sites_of(one.order_key)
        sent = self._sent_form(one) if wanted else None
        orders: dict[str, OrderForSite] = {}
        for site in wanted | planned | (more or set()):
            if site not in wanted and not self._is_unknown_at(site, one):
                continue
            current = self.dispatcher.order_at(site, order_id)
            if site in wanted and sent is not None and not self._has_to_stay(one, site, current):
                orders[site] = sent
            elif current is not None:
                orders[site] = current
            elif self._is_reported(site, order_id) or (site in wanted and sent is not None):
                orders[site] = order_that_stays(self.hub_id, one)
        if orders or planned:
            self.dispatcher.set_orders(one.order_key, orders)
        lingering = self._lingering.setdefault(one.namespace, set())
        (lingering.add if orders.keys() - wanted else lingering.discard)(one)
        if not self._users.get(one):
            self._users.pop(one, None)
            for known in (self._contents, self._unread, self._retry_at, self._tenants):
                known.pop(one, None)

    def _has_to_stay(self, one: ReferredObject, site: str, current: OrderForSite | None) -> bool:
        """Whether a site keeps what it has of a Secret, which cannot be sealed for it yet.

        A new leader does not know the keys of sites that are slower to connect than it. An index
        without the Secret would withdraw it from the pods that use it.
        """
        if one.kind != "Secret" or self.sealing_key_of(site):
            return False
        if current is not None:
            return bool(current.kept_digest)
        state = self.sites.states.get(site)
        is_heard = state is not None and state.order_status is not None
        return not is_heard or self._is_reported(site, referred_order_id(self.hub_id, one))

    def _sent_form(self, one: ReferredObject) -> OrderForSite | None:
        """The order that brings an object; None while it is not known or cannot be sent."""
        content = self._contents.get(one)
        if content is None or not content.packed:
            return None
        tenant = self._tenant_of(one)
        if tenant is not None:
            self._tenants[one] = tenant
        return order_of_referred(self.hub_id, one, content.packed, tenant)

    def _is_reported(self, site: str, order_id: str) -> bool:
        state = self.sites.states.get(site)
        report = state.order_status if state else None
        reported = report.orders.get(order_id) if report else None
        return reported is not None and reported.phase != "Withdrawing"

    # ------------------------------------------------------------ what an order waits for

    def wait_of(self, site: str, order: OrderForSite) -> OrderWait | None:
        """What an order waits for before it goes to a site; None: nothing."""
        if len(order.needs) > MAX_REFERENCES:
            return OrderWait(
                TOO_MANY,
                f"pod templates refer to {len(order.needs)} objects, and at most {MAX_REFERENCES}"
                " go along: put the values into fewer ones",
            )
        if order.secrets and not self.sealing_key_of(site):
            return _wait_for_key(site)
        for order_id in order.needs:
            one = parse_referred_id(order_id)
            if one is None:
                return OrderWait(REFUSED, _unreadable_text(order_id))
            wait = self._wait_for(one, site, is_optional=order_id in order.optional_needs)
            if wait:
                return wait
        return None

    def _wait_for(self, one: ReferredObject, site: str, *, is_optional: bool) -> OrderWait | None:
        content = self._contents.get(one)
        if content is None:
            return OrderWait(UNREAD, f"{one} is being read from the hub")
        if is_optional and content.reason == REFUSED:
            return None  # it never goes along, and pods start without it
        if content.problem:
            return OrderWait(content.reason, content.problem)
        if not content.packed:
            return None if is_optional else OrderWait(MISSING, _missing_text(one))
        if one.kind == "Secret" and not self.sealing_key_of(site):
            return _wait_for_key(site)
        return None

    def on_sealing_key(self, site: str) -> None:
        """Lets the orders of a site go out that have waited for its sealing key."""
        if not self.sealing_key_of(site):
            return  # what it has stays
        plan = self.dispatcher.plans.get(site)
        kept = [each for each, order in plan.orders.items() if order.kept_digest] if plan else []
        for one in map(parse_referred_id, kept):
            if one is not None and one.kind == "Secret":
                self._plan(one)
        concerned: set[WorkKey] = set()
        for order_id in list(plan.orders) if plan else ():
            current = plan.orders.get(order_id) if plan else None
            if current is not None and current.secrets:
                self.dispatcher.renew(site, order_id)
                concerned |= self.workloads_behind((current.namespace, current.name))
        self._release(concerned)

    def workloads_behind(self, key: WorkKey) -> set[WorkKey]:
        """The workloads whose orders refer to an object, directly or by a ServiceAccount."""
        one = parse_referred_key(key)
        if one is None:
            return {key}
        return {w for user in self._users.get(one, ()) for w in self.workloads_behind(user)}

    def _release(self, keys: set[WorkKey]) -> None:
        """Looks again at the orders of these workloads that wait."""
        for key in keys:
            for site in self._needs.get(key, {}):
                self.dispatcher.recheck(site, key)
        self.on_change(sorted(keys))

    # ------------------------------------------------------------ reading them

    def _want(self, one: ReferredObject) -> None:
        if one in self._contents or one in self._unread:
            return
        if problem := _problem_of_name(one):
            self._contents[one] = ReferredContent(problem=problem, reason=REFUSED)
            return
        if one.kind not in self._followed:
            self._followed.add(one.kind)
            self._has_new_kind.set()
        self._read_soon(one)

    def _read_soon(self, one: ReferredObject) -> None:
        self._unread[one] = None
        self._has_unread.set()

    async def run(self) -> None:
        """Reads what is needed and follows its kinds; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._retry_failed(), name="retry referred objects")
            for number in range(_READERS):
                group.create_task(self._read_needed(), name=f"read referred objects {number}")
            started = set[ReferredKind]()
            while True:
                self._has_new_kind.clear()
                for kind in sorted(self._followed - started):
                    started.add(kind)
                    if self.follow is None:
                        continue
                    coroutine = self.follow(RESOURCES[kind], self._listener_of(kind))
                    group.create_task(coroutine, name=f"follow {kind}")
                await self._has_new_kind.wait()

    def _listener_of(self, kind: ReferredKind) -> Callable[[str, str], None]:
        def on_changed(namespace: str, name: str) -> None:
            one = ReferredObject(kind, namespace or NAMESPACE, name)
            if self._users.get(one) and not _problem_of_name(one):
                self._read_soon(one)

        return on_changed

    async def _read_needed(self) -> None:
        while True:
            await self._has_unread.wait()
            one = next(iter(self._unread), None)
            if one is None:
                self._has_unread.clear()
                continue
            del self._unread[one]
            self._retry_at[one] = self.clock.monotonic() + _RETRY_SECONDS
            with self.faults.barrier("object"):
                pause_seconds = await self._read(one)
                if pause_seconds:
                    self._retry_at[one] = self.clock.monotonic() + pause_seconds
                else:
                    self._retry_at.pop(one, None)

    async def _retry_failed(self) -> None:
        while True:
            await self.clock.sleep(_RETRY_SECONDS)
            now = self.clock.monotonic()
            for one in [one for one, at in self._retry_at.items() if at <= now]:
                del self._retry_at[one]
                if self._users.get(one):
                    self._read_soon(one)

    async def _read(self, one: ReferredObject) -> float:
        """Reads an object; returns after which time that is to be tried again, 0: not at all."""
        resource, pause_seconds = RESOURCES[one.kind], 0.0
        namespace = one.namespace if resource.namespaced else None
        try:
            found = await self.hub.get(resource, one.name, namespace)
            if is_large_body(found):
                content = await asyncio.to_thread(_content_of, one, found)
            else:
                content = _content_of(one, found)
        except NotFound:
            content = ReferredContent()
        except HubError as error:
            is_refused = error.status in (401, 403)  # the words of a refusal hold no content
            pause_seconds = _RETRY_REFUSED_SECONDS if is_refused else _RETRY_SECONDS
            if one in self._contents and not is_refused:
                return pause_seconds
            text = f"{one} cannot be read from the hub ({error.status or 'no answer'})"
            if is_refused:
                text += f": the scheduler needs get, list and watch of {resource.plural}"
            content = ReferredContent(problem=text, reason=UNREAD)
        self._take(one, content)
        return pause_seconds

    def _take(self, one: ReferredObject, content: ReferredContent) -> None:
        if not self._users.get(one):
            return
        former, self._contents[one] = self._contents.get(one), content
        if former == content:
            return
        _log.info("%s of namespace %s: %s", one, one.namespace, content.problem or "read")
        self._plan(one)
        self._release(self.workloads_behind(one.order_key))


def _may_refer(key: WorkKey, to: ReferredObject | None = None) -> bool:
    """Whether orders under a key may refer to objects, or to this one: accounts do to Secrets."""
    one = parse_referred_key(key)
    if one is None:
        return True
    return one.kind == "ServiceAccount" and (to is None or to.kind == "Secret")


def _sites_of(
    needs: Mapping[str, frozenset[ReferredObject]], one: ReferredObject
) -> frozenset[str]:
    return frozenset(site for site, needed in needs.items() if one in needed)


def _content_of(one: ReferredObject, body: Object) -> ReferredContent:
    body = {**body, "apiVersion": RESOURCES[one.kind].api_version, "kind": one.kind}
    if one.kind == "Secret" and body.get("type") == _ACCOUNT_TOKEN:
        text = f"{one} is a token of one cluster's ServiceAccount, which no other cluster accepts"
        return ReferredContent(problem=text, reason=REFUSED)
    if (body.get("metadata") or {}).get("deletionTimestamp"):
        return ReferredContent()
    return ReferredContent(packed=pack_referred(body), version=recorded_version(body))


def _problem_of_name(one: ReferredObject) -> str:
    """Why an object never goes along; "" when it may."""
    if one.is_namespaced and one.namespace == NAMESPACE:
        return f"{one} is in namespace {NAMESPACE}, of which nothing goes to sites"
    if not is_referred_name(one.name):
        return (
            f"{one} has no name of an object, or one that is too long to go along: correct it, or,"
            " if the sites have it, name it in annotation kapok.dev/from-site"
        )
    return ""


def _unreadable_text(order_id: str) -> str:
    """Names what a pod template refers to where no object can have such a name."""
    kind, _, name = order_id.split("/", 2)[-1].rpartition("/")[0].partition(":")
    shown = next((each for each in REFERRED_KINDS if each.lower() == kind), kind)
    return (
        f"{shown} {name[:100]!r} is no name of an object, or too long to go along: correct it, or,"
        " if the sites have it, name it in annotation kapok.dev/from-site"
    )


def _missing_text(one: ReferredObject) -> str:
    where = f"namespace {one.namespace} of the hub" if one.is_namespaced else "the hub"
    return (
        f"{one} is not in {where}: create it there, or, if the sites have it, name it in"
        f" annotation kapok.dev/from-site: {one.kind}/{one.name}"
    )


def _wait_for_key(site: str) -> OrderWait:
    return OrderWait(
        SEALING_KEY_UNKNOWN,
        f"waiting for the sealing key of {site}: its agent reports none, or is of a version"
        " before sealed Secrets",
    )
