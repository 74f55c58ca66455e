"""One agent per site executes: whoever holds a Lease in the member's own API (coordination.k8s.io).

As client-go's leader election: a lease counts as expired when *we* have not seen it change for its
duration, by our monotonic clock; the times written in it are for people. The holder stops acting
after four fifths of the duration without a renewal, so that clocks may differ in speed by that
much.
"""

from dataclasses import dataclass, field
from typing import Final

from agents.member.api import ApiError, MemberApi, Tree
from agents.orders.run_once import NAMESPACE
from agents.runtime.clock import Clock

_NAME: Final = "kapok-agent"
_COLLECTION: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
_PATH: Final = f"{_COLLECTION}/{_NAME}"
_SAFE_RATIO: Final = 0.8
_CONFLICT: Final = 409


@dataclass(slots=True)
class LocalLease:
    """The site's lease as this agent sees it.

    Attributes:
        api: the member's.
        holder: who we are; the same after a restart, so that we go on at once.
        seconds: how long a renewal holds.
        clock: monotonic for deciding, wall clock for what people read in it.
    """

    api: MemberApi
    holder: str
    seconds: float
    clock: Clock
    _held_until: float = field(default=-1.0, init=False)
    _seen: tuple[str, float] | None = field(default=None, init=False)

    def is_held(self) -> bool:
        """Whether this agent may act now."""
        return self.clock.monotonic() < self._held_until

    def renew(self) -> bool:
        """Takes the lease, keeps it, or finds that another agent has it. Blocking.

        Returns:
            Whether it is ours now.

        Raises:
            ApiError: the member does not answer; what we hold runs out by itself.
        """
        started = self.clock.monotonic()
        lease = self.api.find(_PATH)
        try:
            if lease is None:
                self.api.create(_COLLECTION, self._lease({}, started_anew=True))
            elif self._is_ours(lease):
                self.api.update(_PATH, self._lease(lease, started_anew=False))
            elif self._has_expired(lease):
                self.api.update(_PATH, self._lease(lease, started_anew=True))
            else:
                return False
        except ApiError as error:
            if error.code != _CONFLICT:
                raise
            return False  # another agent was quicker
        self._held_until = started + self.seconds * _SAFE_RATIO
        return True

    def release(self) -> None:
        """Gives the lease back, so that another agent need not wait. Blocking; raises ApiError."""
        if not self.is_held():
            return
        self._held_until = -1.0
        lease = self.api.find(_PATH)
        if lease is not None and self._is_ours(lease):
            lease["spec"]["holderIdentity"] = ""
            self.api.update(_PATH, lease)

    def _is_ours(self, lease: Tree) -> bool:
        return bool((lease.get("spec") or {}).get("holderIdentity") == self.holder)

    def _has_expired(self, lease: Tree) -> bool:
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity"):
            return True
        version = str((lease.get("metadata") or {}).get("resourceVersion"))
        now = self.clock.monotonic()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
            return False
        duration = spec.get("leaseDurationSeconds")
        seconds = float(duration) if isinstance(duration, int) else self.seconds
        return now - self._seen[1] >= seconds

    def _lease(self, lease: Tree, *, started_anew: bool) -> Tree:
        spec = dict(lease.get("spec") or {})
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if started_anew:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + bool(lease)
        spec |= {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": max(1, round(self.seconds)),
            "renewTime": now,
        }
        metadata = lease.get("metadata") or {"name": _NAME, "namespace": NAMESPACE}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }
