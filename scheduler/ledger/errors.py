"""What can go wrong with the ledger, by what the caller can do about it."""


class LedgerError(Exception):
    """Any trouble with the ledger."""


class LedgerMissingError(LedgerError):
    """There is no ledger at this place. Name another data directory."""


class LedgerUnavailableError(LedgerError):
    """The disk refused (full, locked, gone). Nothing was recorded; append again later."""


class LedgerCorruptError(LedgerError):
    """The file is not a ledger that this version can read. Stop, keep the file, and look."""
