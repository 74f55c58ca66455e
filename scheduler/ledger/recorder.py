"""The ledger as the loops' port: decisions with the fleet that they stood on.

A record's content is `{"demand", "terms", "decision", "fleet"}`, values of the model as canonical
JSON holds them and the digest of the fleet state; or `{"workload", "refusal", "fleet"}` for a
workload that could not be decided on. `replay` needs nothing else.
"""

from datetime import datetime
from typing import Any

from scheduler.control.recorder import Recorded
from scheduler.ledger.fleet import FleetImage
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import Entry
from scheduler.model.facts import SiteFacts

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
        self, *, subject: str, epoch: int, at: datetime, content: dict[str, Any]
    ) -> Recorded:
        """Appends a decision; returns when it is durable.

        Raises:
            LedgerUnavailableError: the disk refuses; nothing was recorded.
        """
        state = self._image.state()
        entry = Entry(
            kind=DECISION if "decision" in content else REFUSAL,
            subject=subject,
            epoch=epoch,
            at=at,
            content={**content, "fleet": state.digest},
            refs=[state.digest],
            blobs=state.blobs,
        )
        receipt = await self._ledger.append(entry)
        self._image.stored(state)
        return Recorded(receipt.id, receipt.hash)
