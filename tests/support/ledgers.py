"""Ledgers for tests: entries, a filled ledger, and a process that appends until it is killed."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from scheduler.ledger.blobs import Blob
from scheduler.ledger.fleet import FleetTree
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.record import LedgerEntry, Receipt
from scheduler.ledger.segments import HeadKey
from scheduler.ledger.storage.postgres_url import PostgresUrl

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def entry(
    number: int,
    *,
    epoch: int = 7,
    content: Mapping[str, object] | None = None,
    refs: Sequence[str] = (),
    blobs: Sequence[Blob] = (),
) -> LedgerEntry:
    """A small decision; another `number` gives another decision."""
    default = {"decision": {"line": f"placed on m{number}"}, "number": number}
    return LedgerEntry(
        kind="decision",
        subject=f"health/work-{number % 5}",
        epoch=epoch,
        at=NOON,
        content=default if content is None else content,
        refs=refs,
        blobs=blobs,
    )


def facts(number: int) -> dict[str, object]:
    """Facts about a site, as from a report."""
    return {"name": f"site-{number}", "free": [{"count": 3, "cpu": str(number)}]}


async def fill(
    data_dir: Path,
    count: int,
    *,
    key: HeadKey | None = None,
    start: int = 1,
    url: PostgresUrl | None = None,
) -> list[Receipt]:
    """Appends `count` decisions, each on a fleet of three sites of which one changes each time."""
    image = FleetTree()
    for site in range(3):
        image.put(f"site-{site}", facts(site))
    receipts = []
    async with Ledger(data_dir, key=key, url=url) as ledger:
        await ledger.begin_term(7)
        for number in range(start, start + count):
            image.put(f"site-{number % 3}", facts(number * 10))
            state = image.current_state()
            receipts.append(
                await ledger.append(entry(number, refs=[state.digest], blobs=state.blobs))
            )
            image.mark_stored(state)
    return receipts


async def _append_for_ever(data_dir: Path) -> None:
    """Appends records until killed; prints the anchor of each once it is durable."""
    async with Ledger(data_dir) as ledger:

        async def work(worker: int) -> None:
            image = FleetTree()
            for number in range(1 << 30):
                image.put(f"site-{worker}", facts(number))
                state = image.current_state()
                receipt = await ledger.append(entry(number, refs=[state.digest], blobs=state.blobs))
                image.mark_stored(state)
                sys.stdout.write(receipt.anchor + "\n")
                sys.stdout.flush()

        async with asyncio.TaskGroup() as group:
            for worker in range(8):
                group.create_task(work(worker))


if __name__ == "__main__":
    asyncio.run(_append_for_ever(Path(sys.argv[1])))
