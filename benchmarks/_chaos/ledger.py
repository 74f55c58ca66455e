"""A real ledger in a file, written on the event loop: with a thread no seed repeats itself."""

from pathlib import Path

from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.writer import GroupWriter


class _WriterOnLoop(GroupWriter):
    """Does each job at once, in the thread that hands it in."""

    def _put(self, job: object) -> None:
        if self._is_closed:
            raise LedgerUnavailableError(f"{self.database.name}: the ledger is closed")
        if hasattr(job, "entry"):
            self._write_batch([job])  # type: ignore[list-item]  # the writer's own types
        else:
            done, run = job.done, job.run  # type: ignore[attr-defined]
            try:
                done.set_result(run())
            except Exception as error:  # noqa: BLE001 - the caller learns why
                done.set_exception(error)


class LedgerOnLoop(Ledger):
    """A ledger without a thread; several may have one file open, as leaders one after another."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._writer.close()
        self._writer = _WriterOnLoop(self.place)
