"""The ledger as the loops' port: decisions with the fleet that they stood on.

A record's content is `{"demand", "terms", "decision", "fleet"}`, values of the model as canonical
JSON holds them and the digest of the fleet state; or `{"workload", "refusal", "fleet"}` for a
workload that could not be decided on. `replay` needs nothing else.
"""

from datetime import datetime
from typing import Any

import msgspec

from scheduler.control.recorder import Accepted, Recorded
from scheduler.ledger.blobs import blob_of
from scheduler.ledger.fleet import FleetImage
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import Entry, Record
from scheduler.model.demand import Demand
from scheduler.model.facts import SiteFacts
from scheduler.model.workload import WorkloadSpec

DECISION = "decision"
REFUSAL = "refusal"


class LedgerRecorder:
    """Implements `scheduler.control.recorder.Recorder`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._image = FleetImage()

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
        entry = Entry(
            kind=DECISION if "decision" in content else REFUSAL,
            subject=subject,
            epoch=epoch,
            at=at,
            content={**content, "fleet": state.digest, "spec": asked.digest},
            refs=[state.digest, asked.digest],
            blobs=(*state.blobs, asked),
        )
        receipt = await self._ledger.append(entry)
        self._image.stored(state)
        return Recorded(receipt.id, receipt.hash)

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
