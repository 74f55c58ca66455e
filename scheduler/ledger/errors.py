"""Errors of the ledger, by what the caller can do about them."""

from scheduler.control.ports.ledger import NotRecorded


class LedgerError(Exception):
    """The base of all errors of the ledger."""


class LedgerMissingError(LedgerError):
    """The file does not exist. Name another data directory."""


class LedgerUnavailableError(LedgerError, NotRecorded):
    """The disk is full, locked or gone. Nothing was recorded; append again later."""


class LedgerCorruptError(LedgerError):
    """The file is not a ledger that this version can read. Stop, and keep it to inspect."""
