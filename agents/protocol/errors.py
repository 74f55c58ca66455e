"""The one exception of the wire: what arrived cannot be used, and why."""

from typing import Final, Literal

WireErrorReason = Literal[
    "malformed",  # not JSON, not base64, not the type that the field has
    "too-large",  # beyond a stated bound: bytes, items, characters, unpacked size
    "too-deep",  # nested deeper than any message of ours
    "algorithm",  # signed or packed in a way that this version does not know
    "unknown-key",  # signed by nobody whom the reader trusts
    "signature",  # does not fit: changed on the way, or meant for another topic
    "wrong-site",  # a good message of another site
    "stale",  # older than what the reader has already accepted
    "digest",  # content that is not what the signed index names
]
WIRE_ERROR_REASONS: Final[tuple[WireErrorReason, ...]] = (
    "malformed",
    "too-large",
    "too-deep",
    "algorithm",
    "unknown-key",
    "signature",
    "wrong-site",
    "stale",
    "digest",
)


class WireError(ValueError):
    """A message that cannot be used; the reader counts it by `reason` and goes on.

    Attributes:
        reason: a stable slug, one of `WIRE_ERROR_REASONS`.
        path: where in the message, as `nodeClasses[3].free[0].count`; empty for the whole message.
        detail: what was found and what was expected.
    """

    def __init__(self, reason: WireErrorReason, detail: str, path: str = "") -> None:
        super().__init__(detail)
        self.reason: WireErrorReason = reason
        self.detail = detail
        self.path = path

    def with_path_prefix(self, step: str) -> "WireError":
        """The same error seen from one level further out; `step` is a field name or `[index]`."""
        joint = "" if not self.path or self.path.startswith("[") else "."
        return WireError(self.reason, self.detail, f"{step}{joint}{self.path}")

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.detail}"
