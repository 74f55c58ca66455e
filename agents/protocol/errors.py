"""The one exception of the wire protocol: why a message cannot be used."""

from typing import Final, Literal, get_args

WireErrorReason = Literal[
    "malformed",  # not JSON, not base64, or not of the field's type
    "too-large",  # more bytes, items or characters than allowed, or larger once inflated
    "too-deep",  # nested deeper than allowed
    "algorithm",  # a signature algorithm or encoding that this version does not know
    "unknown-key",  # signed with a key that the reader does not trust, or sealed for another one
    "signature",  # does not match: the message was changed, or is meant for another place
    "wrong-site",  # a valid message of another site
    "stale",  # older than what the reader has already accepted
    "digest",  # content or an index whose digest differs from the one that the hub signed
    "unknown-base",  # a delta of an index that the reader does not have
    "unknown-order",  # a delta that removes an order which its base does not list
]
WIRE_ERROR_REASONS: Final[tuple[WireErrorReason, ...]] = get_args(WireErrorReason)


class WireError(ValueError):
    """A message that cannot be used; the reader counts it by `reason` and continues.

    Attributes:
        reason: a stable slug, one of `WIRE_ERROR_REASONS`.
        path: place in the message, such as `nodeClasses[3].free[0].count`; empty for the whole
            message.
        detail: what was found and what was expected.
    """

    def __init__(self, reason: WireErrorReason, detail: str, path: str = "") -> None:
        super().__init__(detail)
        self.reason: WireErrorReason = reason
        self.detail = detail
        self.path = path

    def with_path_prefix(self, step: str) -> "WireError":
        """Returns the error with `step`, a field name or `[index]`, put before its path."""
        joint = "" if not self.path or self.path.startswith("[") else "."
        return WireError(self.reason, self.detail, f"{step}{joint}{self.path}")

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.detail}"
