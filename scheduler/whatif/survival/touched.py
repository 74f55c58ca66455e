"""Which proved losses a change has touched: all others keep their plan, and are not proved again.

A plan of a loss stays a proof while all that it was made from stays as it was: the lost sites, the
work there with all its rules, and the sites that the plan uses, with their room. Their digest says
so. What else happens in the fleet may offer a cheaper plan, and takes none away. Figures of cost
are left out of the digest: no plan breaks a rule because a price has changed. Rules that depend on
the time are looked at again by a whole judgement now and then, which the asker decides.

A loss that is not proved survived is proved again after every change: room anywhere may help it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.tenant import Budget
from scheduler.model.kinds.workload import Workload
from scheduler.whatif.demands import DemandReader
from scheduler.whatif.fleet_copy import FleetCopy

MAX_KNOWN: Final = 20_000
_MAX_TARGETS: Final = 20_000

_encode = msgspec.json.Encoder(order="deterministic").encode


class KnownLoss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A loss that was proved survived.

    Attributes:
        of: as the answer names it.
        digest: of all that its plan was made from.
        targets: the sites that the plan uses.
    """

    of: Annotated[str, Meta(max_length=300)]
    digest: Annotated[str, Meta(max_length=64)]
    targets: Annotated[
        tuple[Annotated[str, Meta(max_length=253)], ...], Meta(max_length=_MAX_TARGETS)
    ] = ()


class LossDigests:
    """Digests of losses of one copy; each site and each workload is encoded once.

    Args:
        copy: the fleet.
        demands: of all its workloads, as they are judged.
        reader: says which tenant a workload belongs to.
    """

    def __init__(
        self,
        copy: FleetCopy,
        demands: Mapping[str, Demand | NotAccepted],
        reader: DemandReader,
    ) -> None:
        self._copy, self._demands, self._reader = copy, demands, reader
        self._facts = {one.name: one for one in copy.facts}
        self._workloads = {one.metadata.key: one for one in copy.workloads}
        self._sites: dict[str, bytes] = {}
        self._work: dict[str, bytes] = {}
        self._tenants: dict[str, bytes] = {}
        scheme = copy.objects.scheme
        self._is_energy_limited = scheme is not None and bool(scheme.spec.energy_limits)
        objects = copy.objects
        common = (objects.terms, objects.is_failover_enabled, scheme)
        self._common = _encode(common)

    def of(self, sites: Iterable[str], work: Iterable[str], targets: Iterable[str]) -> str:
        """The digest of a loss with its plan, as hexadecimal text.

        Args:
            sites: what is lost.
            work: the workloads with replicas there.
            targets: the sites where the plan starts replicas.
        """
        total = hashlib.blake2b(self._common, digest_size=32)
        for site in sorted(sites):
            total.update(self._site(site))
        total.update(b"/")
        for site in sorted(set(targets)):
            total.update(self._site(site))
        total.update(b"/")
        for key in sorted(work):
            total.update(self._work_of(key))
        return total.hexdigest()

    def _site(self, name: str) -> bytes:
        known = self._sites.get(name)
        if known is None:
            facts = self._facts.get(name)
            text = name.encode() if facts is None else _encode(self._judged(facts))
            known = self._sites[name] = _digest(text)
        return known

    def _judged(self, facts: SiteFacts) -> tuple[bool, SiteFacts]:
        """What rules and room depend on; dates and prices are left out."""
        age = timedelta(seconds=self._copy.objects.terms.report_stale_seconds)
        at = facts.observed_at
        is_stale = at is None or self._copy.objects.now - at > age
        volatile = {"observed_at": None, "report_age": "", "free_cpu": "", "current_intensity": ""}
        if not self._is_energy_limited:
            volatile |= {"intensity": None, "power": None}
        conditions = tuple(
            msgspec.structs.replace(one, message="", last_transition_time=None)
            for one in facts.status.conditions
        )
        status = msgspec.structs.replace(facts.status, **volatile, conditions=conditions)
        kept = msgspec.structs.replace(facts, status=status, p90={}, kept_forecast=None)
        return is_stale, kept

    def _work_of(self, key: str) -> bytes:
        known = self._work.get(key)
        if known is None:
            known = self._work[key] = _digest(self._text_of(key))
        return known

    def _text_of(self, key: str) -> bytes:
        workload = self._workloads[key]
        text = self._plain_text(key, workload)
        tenant = self._reader.tenant_of(workload)
        if tenant is not None and tenant.spec.budget != Budget():
            # What others of its tenant spend decides which sites its budget affords.
            text += self._spenders(tenant.metadata.name)
        return text

    def _plain_text(self, key: str, workload: Workload) -> bytes:
        created, spec = workload.metadata.creation_timestamp, workload.spec
        return _encode((key, self._demands[key], spec.priority, created))

    def _spenders(self, tenant: str) -> bytes:
        if not self._tenants:
            found: dict[str, list[str]] = defaultdict(list)
            for key, workload in self._workloads.items():
                owner = self._reader.tenant_of(workload)
                if owner is not None:
                    found[owner.metadata.name].append(key)
            for name, keys in found.items():
                texts = (self._plain_text(key, self._workloads[key]) for key in sorted(keys))
                self._tenants[name] = _digest(b"".join(texts))
        return self._tenants.get(tenant, b"")


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()
