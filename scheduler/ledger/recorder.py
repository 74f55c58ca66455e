"""The ledger as the loops' port: decisions with the fleet that they stood on.

A record's content is `{"demand", "terms", "decision", "fleet"}`, values of the model as canonical
JSON holds them and the digest of the fleet state; or `{"workload", "refusal", "fleet"}` for a
workload that could not be decided on. `replay` needs nothing else. Scarcity prices are as many as
sites times resources and stay the same for many decisions: they are stored once, under the digest
that `terms.scarcityVersion` is.
"""

import asyncio
from datetime import datetime
from typing import Any

import msgspec

from scheduler.control.ports.ledger import Accepted, Recorded
from scheduler.ledger.blobs import Blob, blob_of
from scheduler.ledger.fleet import FleetImage
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import Entry, Record
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import WorkloadSpec

DECISION = "decision"
REFUSAL = "refusal"
BATCH = "batch"
BATCHES = "batches"
"""The subject of records of batches, which are about no single workload."""


class LedgerRecorder:
    """Implements `scheduler.control.ports.ledger.Recorder`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._image = FleetImage()
        self._prices_stored = ""

    def facts(self, site: str, facts: SiteFacts | None) -> None:
        """The newest facts of a site; None: the site is gone."""
        if facts is None:
            self._image.remove(site)
        else:
            self._image.put(site, facts)

    async def record(
        self,
        *,
        subject: str,
        epoch: int,
        at: datetime,
        content: dict[str, Any],
        spec: WorkloadSpec,
    ) -> Recorded:
        """Appends a decision; returns when it is durable.

        Raises:
            LedgerUnavailableError: the disk refuses; nothing was recorded.
        """
        state = self._image.state()
        asked = blob_of(spec)
        terms = content.get("terms")
        version, prices = "", tuple[Blob, ...]()
        if isinstance(terms, Terms) and terms.scarcity:
            version, prices = terms.scarcity_version, await self._prices(terms)
            content = {**content, "terms": msgspec.structs.replace(terms, scarcity=())}
        entry = Entry(
            kind=DECISION if "decision" in content else REFUSAL,
            subject=subject,
            epoch=epoch,
            at=at,
            content={**content, "fleet": state.digest, "spec": asked.digest},
            refs=[state.digest, asked.digest, *([version] if version else ())],
            blobs=(*state.blobs, asked, *prices),
        )
        receipt = await self._ledger.append(entry)
        self._image.stored(state)
        self._prices_stored = version or self._prices_stored
        return Recorded(receipt.id, receipt.hash)

    async def record_batch(
        self, *, epoch: int, at: datetime, terms: Terms, content: dict[str, Any]
    ) -> Recorded:
        """Appends what a batch came to, with its prices.

        Raises:
            LedgerUnavailableError: the disk refuses; nothing was recorded.
        """
        prices = await self._prices(terms) if terms.scarcity else ()
        version = terms.scarcity_version if terms.scarcity else ""
        entry = Entry(
            kind=BATCH,
            subject=BATCHES,
            epoch=epoch,
            at=at,
            content={**content, "scarcityVersion": version},
            refs=[version] if version else [],
            blobs=prices,
        )
        receipt = await self._ledger.append(entry)
        self._prices_stored = version or self._prices_stored
        return Recorded(receipt.id, receipt.hash)

    async def _prices(self, terms: Terms) -> tuple[Blob, ...]:
        """The price list as a blob, until it is stored; packed beside the loop."""
        if terms.scarcity_version == self._prices_stored:
            return ()
        blob = await asyncio.to_thread(blob_of, terms.scarcity)
        if blob.digest != terms.scarcity_version:
            raise ValueError("the version of scarcity prices is not the digest of the list")
        return (blob,)

    def last_accepted(self, subject: str) -> Accepted | None:
        """What the newest decision about a workload was made on; None when there is none.

        Raises:
            LedgerCorruptError: it cannot be read.
        """
        after = 0
        found: Record | None = None
        while records := self._ledger.records(after, subject=subject):
            after = records[-1].seq
            told = [r for r in records if r.kind == DECISION and r.content.get("spec")]
            found = told[-1] if told else found
        if found is None:
            return None
        spec = msgspec.convert(self._ledger.blob(str(found.content["spec"])), WorkloadSpec)
        demand = msgspec.json.encode(found.content.get("demand"))
        return Accepted(spec, msgspec.json.decode(demand, type=Demand))
