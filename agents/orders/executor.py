"""Brings the member to what the index says, object by object, and keeps every order's status.

One pass: look at what is ours, apply what is new or drifted, withdraw what no order asks for. A
pass runs in a thread of its own (the member's API blocks) and is repeated when something is
announced or after the resync time. Whatever a pass cannot do now, the next one tries again; nothing
is remembered as done that the member did not answer.
"""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.member.api import ApiError
from agents.member.discovery import Discovery, Kind, Kinds
from agents.orders.applier import Applied, Applier
from agents.orders.intake import Intake
from agents.orders.inventory import Seen, View, look
from agents.orders.journal import Journal
from agents.orders.plan import Held, must_apply, refresh, status_of, surplus
from agents.orders.policy import refusals
from agents.orders.readiness import Standing
from agents.orders.run_once import NAMESPACE, UNSEEN, RunOnce
from agents.protocol.index import IndexEntry
from agents.protocol.orders import OrderContent
from agents.protocol.status import Finish, OrderStatus
from agents.protocol.topics import order_token
from agents.runtime.backoff import Backoff
from agents.runtime.clock import Clock

_log = logging.getLogger(__name__)

_FULL_LOOK_SECONDS: Final = 600.0
_FIRST_RETRY_SECONDS: Final = 1.0
_LAST_RETRY_SECONDS: Final = 60.0


@dataclass(slots=True)
class Executor:
    """Executes orders at one member.

    Attributes:
        discovery: the member's API and its kinds.
        intake: what is desired.
        journal: what survives a restart.
        clock: its monotonic side, for retries.
        jitter: chance, as an input.
        is_allowed: whether this agent may act now (it holds the local lease); asked before every
            act.
        bound: pods that hold room, by order id, from the last look of the sensor.
        passed_at: monotonic seconds when the last whole pass began; None before the first.
    """

    discovery: Discovery
    intake: Intake
    journal: Journal
    clock: Clock
    jitter: random.Random
    is_allowed: Callable[[], bool]
    bound: Callable[[], Mapping[str, int]]
    passed_at: float | None = field(default=None, init=False)
    _once: RunOnce = field(init=False)
    _applier: Applier = field(init=False)
    _held: dict[str, Held] = field(default_factory=dict, init=False)
    _leaving: dict[str, OrderStatus] = field(default_factory=dict, init=False)
    _backoffs: dict[str, Backoff] = field(default_factory=dict, init=False)
    _found: set[tuple[str, str]] = field(default_factory=set, init=False)
    _looked_at_all: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._once = RunOnce(self.discovery.api)
        self._applier = Applier(self.discovery.api, self.journal, self._once, self._is_desired)

    def prepare(self) -> bool:
        """Makes the namespace that the lease and the marks of ended jobs lie in. Blocking.

        Raises:
            ApiError: the member does not answer, or does not allow it.
        """
        self._applier.ensure_namespace(NAMESPACE)
        return True

    def run_once(self) -> bool:
        """One pass. Blocking.

        Returns:
            Whether there is news, so that a status is worth sending at once.

        Raises:
            ApiError: the member does not answer; try again later.
        """
        if not self.is_allowed():
            return False
        started, is_first = self.clock.monotonic(), self.passed_at is None
        self._applier.forget_namespaces()
        kinds = self.discovery.kinds()
        view = look(self.discovery.api, self._kinds_to_look_at(kinds))
        self._found |= {seen.key.group_kind for seen in view.objects.values()}
        self._note_ended(view)
        changed = False
        for entry in self._entries():
            if not self.is_allowed():
                return changed
            changed = self._bring(entry, kinds, view) or changed
        changed = self._withdraw(view, kinds) or changed
        self.passed_at = started
        return changed or is_first

    def statuses(self) -> tuple[OrderStatus, ...]:
        """How every order stands, by the last pass; listed ones first, then those that leave."""
        bound, applied = self.bound(), self.journal.applied()
        listed = [
            status_of(
                entry,
                self._held.get(order_token(entry.id)),
                bound=bound.get(entry.id),
                applied_generation=applied.get(entry.id),
            )
            for entry in self._entries()
        ]
        return (*listed, *self._not_listed(applied))

    def _not_listed(self, applied: Mapping[str, int]) -> list[OrderStatus]:
        """Orders that the index no longer lists; also before the first pass has dealt with them."""
        listed = {entry.id for entry in self._entries()}
        known = {
            order_id: _leaving(order_id, generation, [], self.bound().get(order_id, 0))
            for order_id, generation in applied.items()
        } | self._leaving
        return [known[order_id] for order_id in sorted(known) if order_id not in listed]

    # ------------------------------------------------------------ applying

    def _bring(self, entry: IndexEntry, kinds: Kinds, view: View) -> bool:
        """Applies one order if it needs it."""
        token = order_token(entry.id)
        held = self._held.get(token)
        if not must_apply(held, entry, view, self.clock.monotonic()):
            if held is not None:
                refresh(held, view)
            return False
        content = self.intake.content(entry)
        if content is None:
            return False
        self._held[token] = self._applied(entry, content, kinds, view)
        return True

    def _applied(self, entry: IndexEntry, content: OrderContent, kinds: Kinds, view: View) -> Held:
        held = Held(entry.digest, entry.generation, len(content.manifests))
        held.refusals = refusals(content, lambda version, kind: _scope(kinds, version, kind))
        if held.refusals:
            _log.warning("order %s: refused: %s", entry.id, "; ".join(held.refusals))
            return held
        held.applied = self._applier.apply(content, kinds, view)
        self._add_ended(content.id, held.applied)
        if held.applied.is_whole:
            self.journal.set_applied(entry.id, entry.generation)
            self._backoffs.pop(entry.id, None)
            _log.info("order %s generation %d: applied", entry.id, entry.generation)
        else:
            held.retry_at = self.clock.monotonic() + self._pause(entry.id)
            if held.applied.unserved:
                self.discovery.forget()
        return held

    def _pause(self, order_id: str) -> float:
        if order_id not in self._backoffs:
            self._backoffs[order_id] = Backoff(
                _FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, self.jitter
            )
        return self._backoffs[order_id].next_seconds()

    def _add_ended(self, order_id: str, applied: Applied) -> None:
        """Jobs that ended before stand as they ended, though the member may have lost them."""
        outcomes = self.journal.finished(order_id)
        for name in applied.ended:
            outcome = outcomes.get((name[1], name[2], name[3]), UNSEEN)
            finish: Finish | None = None
            if outcome != UNSEEN:
                finish = "Failed" if outcome == "Failed" else "Succeeded"
            applied.standings[name] = Standing(
                is_ready=False, desired=0 if finish else None, finished=finish
            )

    def _note_ended(self, view: View) -> None:
        """Writes down every job that has ended, before anything else can make it vanish."""
        for seen in view.objects.values():
            finished = seen.standing.finished
            if finished is None or seen.order_id is None:
                continue
            name = (seen.key.kind, seen.key.namespace, seen.key.name)
            if name not in self.journal.finished(seen.order_id) and self._is_desired(seen.token):
                self._mark_ended(seen, seen.order_id, finished)
                self.journal.set_finished(seen.order_id, seen.key, finished)

    def _mark_ended(self, seen: Seen, order_id: str, finished: Finish) -> None:
        try:
            self._once.end(order_id, seen.key, finished)
        except ApiError as error:
            if error.code == 0:
                raise
            _log.warning("%s has ended; the mark in the cluster failed: %s", seen.key, error)

    # ------------------------------------------------------------ withdrawing

    def _withdraw(self, view: View, kinds: Kinds) -> bool:
        """Deletes what no order asks for, and forgets orders of which nothing is left."""
        index = self.intake.index
        if index is None:  # a lost disk: nothing is known to be unwanted
            return False
        desired = frozenset(order_token(entry.id) for entry in index.orders)
        self._held = {token: held for token, held in self._held.items() if token in desired}
        gone = surplus(view, self._held, desired)
        for seen in gone:
            if not self.is_allowed():
                return True
            self._delete(seen, kinds)
        self._settle(view, desired)
        return bool(gone)

    def _delete(self, seen: Seen, kinds: Kinds) -> None:
        kind = kinds.find(seen.key.api_version, seen.key.kind)
        if kind is None:
            return
        try:
            self.discovery.api.delete(kind.path(seen.key.namespace, seen.key.name), uid=seen.uid)
            _log.info("%s of %s: withdrawn", seen.key, seen.order_id)
        except ApiError as error:
            if error.code == 0:
                raise
            _log.warning("%s of %s: cannot be withdrawn: %s", seen.key, seen.order_id, error)

    def _settle(self, view: View, desired: frozenset[str]) -> None:
        """What is reported of orders that are not listed: withdrawing, until nothing is left."""
        objects: dict[str, list[Seen]] = {}
        for seen in view.objects.values():
            if seen.order_id is not None and seen.token not in desired:
                objects.setdefault(seen.order_id, []).append(seen)
        bound, applied, made = self.bound(), self.journal.applied(), self.journal.made()
        known = {*applied, *made, *objects, *bound}
        leaving: dict[str, OrderStatus] = {}
        for order_id in sorted(known):
            if order_token(order_id) in desired:
                continue
            left, pods = objects.get(order_id, []), bound.get(order_id, 0)
            unseen = [k for k in made.get(order_id, ()) if k.group_kind not in view.visible]
            if left or pods or unseen:
                leaving[order_id] = _leaving(order_id, applied.get(order_id, 0), left, pods)
            else:
                self._forget(order_id)
        self._leaving = leaving

    def _forget(self, order_id: str) -> None:
        try:
            self._once.forget(order_id)
        except ApiError as error:
            if error.code == 0:
                raise
            _log.warning("order %s: its marks of ended jobs stay behind: %s", order_id, error)
        self.journal.forget_order(order_id)
        _log.info("order %s: gone", order_id)

    # ------------------------------------------------------------ kinds

    def _kinds_to_look_at(self, kinds: Kinds) -> list[Kind]:
        """Kinds of which something was made; now and then all, for what a lost journal made."""
        now = self.clock.monotonic()
        if self._looked_at_all is None or now - self._looked_at_all > _FULL_LOOK_SECONDS:
            self._looked_at_all = now
            return list(kinds.prunable())
        made = {key.group_kind for keys in self.journal.made().values() for key in keys}
        wanted = made | self._found
        return [kind for kind in kinds.prunable() if (kind.group, kind.kind) in wanted]

    def _entries(self) -> tuple[IndexEntry, ...]:
        return self.intake.index.orders if self.intake.index else ()

    def _is_desired(self, token: str) -> bool:
        return any(order_token(entry.id) == token for entry in self._entries())


def _scope(kinds: Kinds, api_version: str, kind: str) -> bool | None:
    found = kinds.find(api_version, kind)
    return None if found is None else found.is_namespaced


def _leaving(order_id: str, generation: int, left: list[Seen], pods: int) -> OrderStatus:
    return OrderStatus(
        id=order_id,
        generation=generation,
        phase="Withdrawing",
        bound=pods,
        message=f"{len(left)} objects and {pods} bound pods are left" if left or pods else None,
    )
