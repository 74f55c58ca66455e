"""Records decisions together with the fleet that they were based on.

The content of a record is `{"demand", "terms", "decision", "fleet", "spec"}`: values of the model
as canonical JSON, and the digests of the fleet's state and of the workload's spec. For a workload
that was not accepted it is `{"workload", "refusal", "fleet", "spec"}`. `replay` needs nothing else.
There is a scarcity price for each resource at each site, and many decisions share the list: it is
stored once, under its digest, which is `terms.scarcityVersion`.

A file that cannot be written (a full disk, a lock) ends nothing: nothing is recorded, so nothing is
decided, until it can be written again.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from scheduler.control.ports.ledger import AcceptedSpec, RecordReference
from scheduler.ledger.blobs import Blob, blob_of
from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.fleet import FleetTree
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import LedgerEntry, Receipt, Record
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

DECISION_KIND = "decision"
REFUSAL_KIND = "refusal"
BATCH_KIND = "batch"
BATCHES_SUBJECT = "batches"
"""The subject of records of batches, which are about no single workload."""
_CHECK_INTERVAL_SECONDS = 1.0


class LedgerRecorder:
    """Implements `scheduler.control.ports.ledger.DecisionRecorder`.

    Attributes:
        problem: why nothing can be recorded now; "" while records are written. Until `watch` finds
            that the file can be written again, records fail at once.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._fleet_tree = FleetTree()
        self._stored_scarcity_version = ""
        self._failed = asyncio.Event()
        self.problem = ""

    async def watch(
        self, clock: Clock, *, on_failure: Callable[[], None], on_recovery: Callable[[], None]
    ) -> None:
        """After a failure, checks the file until it can be written again; runs until cancelled."""
        while True:
            await self._failed.wait()
            on_failure()
            _log.error("nothing is decided until the ledger can be written: %s", self.problem)
            while self.problem:
                await clock.sleep(_CHECK_INTERVAL_SECONDS)
                try:
                    await self._ledger.check_writable()
                    self.problem = ""
                except LedgerUnavailableError as error:
                    self.problem = str(error)
            self._failed.clear()
            _log.info("the ledger can be written again")
            on_recovery()

    async def _append(self, entry: LedgerEntry) -> Receipt:
        if self.problem:
            raise LedgerUnavailableError(self.problem)
        try:
            return await self._ledger.append(entry)
        except LedgerUnavailableError as error:
            self.problem = str(error)
            self._failed.set()
            raise

    def update_facts(self, site: str, facts: SiteFacts | None) -> None:
        """Sets the facts of a site; None removes it."""
        if facts is None:
            self._fleet_tree.remove(site)
        else:
            self._fleet_tree.put(site, facts)

    async def record(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        content: dict[str, Any],
        spec: WorkloadSpec,
    ) -> RecordReference:
        """Appends a decision or a refusal; returns when it is durable.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        state = self._fleet_tree.current_state()
        spec_blob = blob_of(spec)
        terms = content.get("terms")
        version, prices = "", tuple[Blob, ...]()
        if isinstance(terms, Terms) and terms.scarcity:
            version, prices = terms.scarcity_version, await self._price_blobs(terms)
            content = {**content, "terms": msgspec.structs.replace(terms, scarcity=())}
        entry = LedgerEntry(
            kind=DECISION_KIND if "decision" in content else REFUSAL_KIND,
            subject=subject,
            epoch=epoch,
            at=at,
            content={**content, "fleet": state.digest, "spec": spec_blob.digest},
            refs=[state.digest, spec_blob.digest, *([version] if version else ())],
            blobs=(*state.blobs, spec_blob, *prices),
        )
        receipt = await self._append(entry)
        self._fleet_tree.mark_stored(state)
        self._stored_scarcity_version = version or self._stored_scarcity_version
        return RecordReference(receipt.id, receipt.hash)

    async def record_batch(
        self, *, epoch: int, at: datetime, terms: Terms, content: dict[str, Any]
    ) -> RecordReference:
        """Appends the result of a batch, with its prices.

        Raises:
            LedgerUnavailableError: the file cannot be written; nothing was recorded.
        """
        prices = await self._price_blobs(terms) if terms.scarcity else ()
        version = terms.scarcity_version if terms.scarcity else ""
        entry = LedgerEntry(
            kind=BATCH_KIND,
            subject=BATCHES_SUBJECT,
            epoch=epoch,
            at=at,
            content={**content, "scarcityVersion": version},
            refs=[version] if version else [],
            blobs=prices,
        )
        receipt = await self._append(entry)
        self._stored_scarcity_version = version or self._stored_scarcity_version
        return RecordReference(receipt.id, receipt.hash)

    async def _price_blobs(self, terms: Terms) -> tuple[Blob, ...]:
        """The price list as a blob, packed on another thread; empty if it is stored already."""
        if terms.scarcity_version == self._stored_scarcity_version:
            return ()
        blob = await asyncio.to_thread(blob_of, terms.scarcity)
        if blob.digest != terms.scarcity_version:
            raise ValueError("terms.scarcityVersion is not the digest of the scarcity prices")
        return (blob,)

    def last_accepted(self, subject: str) -> AcceptedSpec | None:
        """The spec and demand of the newest decision about a workload; None when there is none.

        Raises:
            LedgerCorruptError: the record cannot be read.
        """
        after = 0
        found: Record | None = None
        while records := self._ledger.records(after, subject=subject):
            after = records[-1].seq
            decisions = [r for r in records if r.kind == DECISION_KIND and r.content.get("spec")]
            found = decisions[-1] if decisions else found
        if found is None:
            return None
        spec = msgspec.convert(self._ledger.blob(str(found.content["spec"])), WorkloadSpec)
        demand = msgspec.json.encode(found.content.get("demand"))
        return AcceptedSpec(spec, msgspec.json.decode(demand, type=Demand))
