"""Why a decision does not count, apart from the port, so that its readers import no model."""


class NotRecorded(Exception):
    """The ledger cannot be written now, so the decision does not count; make it again later."""
