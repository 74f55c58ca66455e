"""What happens when a site says that it works by a later index than we have published.

That is so after the hub was restored from a backup: its sites refuse every index of the present
epoch. It is also what a hostile site may say at any time. So its word moves nothing. The site is
asked for the index itself, which it keeps as it received it; only one that our own key has signed
for this very site begins a new epoch, the one after it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.control.ports.agents import (
    IndexVersion,
    OrderPublisherPort,
    OrderStatusReport,
    ProofRefused,
    ProvenIndex,
)
from scheduler.control.ports.telemetry import Telemetry
from scheduler.model.kinds.workload import LAST_EPOCH
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class EpochClaims:
    """Checks what sites claim about indexes that are later than ours.

    Attributes:
        publisher: asks sites for proofs, and reads them with our keys.
        clock: for how often a site is asked.
        telemetry: counts every claim by what came of it.
        repeat_seconds: a site is asked, and its answer checked, at most this often.
        on_proven: called with the epoch of an index that is proven and later than ours.
    """

    publisher: OrderPublisherPort
    clock: Clock
    telemetry: Telemetry
    repeat_seconds: float
    on_proven: Callable[[int], None]
    _asked_seconds: dict[str, float] = field(default_factory=dict, init=False)
    _awaited: set[str] = field(default_factory=set, init=False)
    _named: set[str] = field(default_factory=set, init=False)

    def forget(self, site: str) -> None:
        """Drops what is known of a site whose object is gone."""
        self._asked_seconds.pop(site, None)
        self._awaited.discard(site)
        self._named.discard(site)

    def on_status(
        self, report: OrderStatusReport, *, site_uid: str, newest: IndexVersion, digest: str
    ) -> None:
        """Handles a status of a site.

        Args:
            report: the status.
            site_uid: uid of the Site object.
            newest: version of the newest index that we have published for this site; if there is
                none in this epoch, sequence 0 of it.
            digest: digest of that index; "" if there is none.
        """
        if report.index_proof:
            self._on_proof(report, site_uid, newest, digest)
        elif _is_later(report.version, report.digest, newest, digest):
            self.telemetry.count_epoch_claim("unproven")
            self._ask(report.site, report.version, newest)

    def _ask(self, site: str, claimed: IndexVersion | None, newest: IndexVersion) -> None:
        now = self.clock.monotonic()
        if now - self._asked_seconds.get(site, float("-inf")) < self.repeat_seconds:
            return
        if site in self._awaited and site not in self._named:
            self._named.add(site)
            _log.warning(
                "site %s claims to work by index %s; our newest is %s, and it does not prove the"
                " claim by an index that we have signed; if this hub was restored from a backup,"
                " upgrade the agent, or stop the scheduler and run kapok hub adopt --epoch N with"
                " an N above that of the site",
                site,
                claimed,
                newest,
            )
        self._asked_seconds[site] = now
        self._awaited.add(site)
        self.publisher.request_proof(site, newest[0])

    def _on_proof(
        self, report: OrderStatusReport, site_uid: str, newest: IndexVersion, digest: str
    ) -> None:
        """Checks an answer; without a request it is not even read, as that costs time."""
        if report.site not in self._awaited:
            self.telemetry.count_epoch_claim("unasked")
            return
        self._awaited.discard(report.site)
        try:
            proven = self.publisher.read_proof(report.site, site_uid, report.index_proof)
            _check_usable(proven, newest, digest)
        except ProofRefused as refusal:
            self.telemetry.count_epoch_claim(refusal.reason)
            if report.site not in self._named:
                self._named.add(report.site)
                _log.warning("site %s: no proof of a later index: %s", report.site, refusal)
            return
        self.telemetry.count_epoch_claim("proven")
        self.on_proven(proven.version[0])


def _check_usable(proven: ProvenIndex, newest: IndexVersion, digest: str) -> None:
    """Checks that a proven index calls for a later epoch, and that there is one."""
    if not _is_later(proven.version, proven.digest, newest, digest):
        raise ProofRefused("stale", f"index {proven.version} is not later than {newest}")
    if proven.version[0] >= LAST_EPOCH:
        raise ProofRefused(
            "too-large",
            f"epoch {proven.version[0]} is near the end of the counter; stop the scheduler and run"
            " kapok hub adopt --epoch",
        )


def _is_later(
    version: IndexVersion | None, digest: str, newest: IndexVersion, newest_digest: str
) -> bool:
    """Whether an index is not one of ours: a later one, or another of the same version."""
    if version is None:
        return False
    return version > newest or (
        version == newest and bool(newest_digest) and digest != newest_digest
    )
