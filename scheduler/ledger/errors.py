"""Errors of the ledger, by what the caller can do about them."""

from scheduler.control.ports.not_recorded import NotRecorded


class LedgerError(Exception):
    """The base of all errors of the ledger."""


class LedgerMissingError(LedgerError):
    """The file or the tables do not exist. Name another data directory or database."""


class LedgerUnavailableError(LedgerError, NotRecorded):
    """The disk is full, locked or gone. Nothing was recorded; append again later."""


class LedgerDeposedError(LedgerError, NotRecorded):
    """A later leader has the ledger. Nothing was recorded; stop deciding."""


class CommitInDoubt(LedgerError):
    """The connection broke while a transaction took effect: look whether it did."""


class LedgerCorruptError(LedgerError):
    """The file is not a ledger that this version can read. Stop, and keep it to inspect."""


class RecordForbidden(LedgerError):
    """The reader has no right to the records that it asks for."""
