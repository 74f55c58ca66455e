"""The site's lease: only the agent that holds it executes orders (coordination.k8s.io Lease).

It works like client-go's leader election: a lease has expired when this agent has not seen it
change for its duration, by its own monotonic clock; the times in the Lease object are for people.
The holder stops acting after 80 % of the duration without a renewal, so that the rates of two
clocks may differ by that much.
"""

from dataclasses import dataclass, field
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.trees import integer_at, map_at, text_at
from agents.orders.labels import SYSTEM_NAMESPACE
from agents.runtime.clock import AgentClock

_LEASE_NAME: Final = "kapok-agent"
_COLLECTION: Final = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases"
_PATH: Final = f"{_COLLECTION}/{_LEASE_NAME}"
_RENEW_DEADLINE_RATIO: Final = 0.8
_CONFLICT: Final = 409
_MAX_FOREIGN_SECONDS: Final = 3600.0
"""A lease of another holder that is not renewed for so long has expired, whatever it says."""


@dataclass(slots=True, kw_only=True)
class LocalLease:
    """The site's lease as this agent sees it.

    Attributes:
        api: API of the member.
        holder: identity of this agent; the same after a restart, so that it continues at once.
        duration_seconds: time after which an unrenewed lease expires.
        clock: monotonic time for expiry, wall clock for the times in the Lease object.
    """

    api: MemberApi
    holder: str
    duration_seconds: float
    clock: AgentClock
    _held_until: float = field(default=-1.0, init=False)
    _last_seen_version: tuple[str, float] | None = field(default=None, init=False)

    def is_held(self) -> bool:
        """Whether this agent may act now."""
        return self.clock.monotonic() < self._held_until

    def renew(self) -> bool:
        """Takes or renews the lease, unless another agent holds it. Blocking.

        Returns:
            Whether this agent holds the lease now.

        Raises:
            MemberApiError: the member does not answer; a lease that is held expires by itself.
        """
        started = self.clock.monotonic()
        lease = self.api.find(_PATH)
        try:
            if lease is None:
                self.api.create(_COLLECTION, self._lease_object({}, is_new_holder=True))
            elif self._is_held_by_us(lease):
                self.api.update(_PATH, self._lease_object(lease, is_new_holder=False))
            elif self._has_expired(lease):
                self.api.update(_PATH, self._lease_object(lease, is_new_holder=True))
            else:
                return False
        except MemberApiError as error:
            if error.code != _CONFLICT:
                raise
            return False  # another agent changed the Lease first
        self._held_until = started + self.duration_seconds * _RENEW_DEADLINE_RATIO
        return True

    def release(self) -> None:
        """Releases the lease, so that another agent need not wait. Blocking.

        Raises:
            MemberApiError: the member does not answer; the lease expires by itself.
        """
        if not self.is_held():
            return
        self._held_until = -1.0
        lease = self.api.find(_PATH)
        if lease is not None and self._is_held_by_us(lease):
            lease["spec"] = {**map_at(lease, "spec"), "holderIdentity": ""}
            self.api.update(_PATH, lease)

    def _is_held_by_us(self, lease: Tree) -> bool:
        return text_at(map_at(lease, "spec"), "holderIdentity") == self.holder

    def _has_expired(self, lease: Tree) -> bool:
        spec = map_at(lease, "spec")
        if not text_at(spec, "holderIdentity"):
            return True
        version = text_at(map_at(lease, "metadata"), "resourceVersion")
        now = self.clock.monotonic()
        if self._last_seen_version is None or self._last_seen_version[0] != version:
            self._last_seen_version = (version, now)
            return False
        seconds = integer_at(spec, "leaseDurationSeconds", 0) or self.duration_seconds
        return now - self._last_seen_version[1] >= min(seconds, _MAX_FOREIGN_SECONDS)

    def _lease_object(self, lease: Tree, *, is_new_holder: bool) -> Tree:
        spec = dict(map_at(lease, "spec"))
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if is_new_holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (
                integer_at(spec, "leaseTransitions", 0) + bool(lease)
            ) % 2**31
        spec |= {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": max(1, round(self.duration_seconds)),
            "renewTime": now,
        }
        metadata = map_at(lease, "metadata") or {
            "name": _LEASE_NAME,
            "namespace": SYSTEM_NAMESPACE,
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }
