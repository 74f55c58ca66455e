"""What goes wrong with requests to the member's API; knows no HTTP client.

The loops name these errors, also in an agent without a cluster, which loads no client.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

_PERMANENT_ERROR_TEXTS: Final = ("failed to create typed patch object", "request is too large")
_TERMINATING_TEXT: Final = "because it is being terminated"


class MemberApiError(Exception):
    """A request to the member's API failed.

    Attributes:
        code: HTTP status; 0 if there was no response.
        reason: reason of the Status object, such as `NotFound`, `Conflict` or `Invalid`.
        field_conflicts: who owns each field that server-side apply would take, in the server's
            words.
        invalid_fields: the fields that the server refuses, each with its words.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        field_conflicts: Mapping[str, tuple[str, ...]] | None = None,
        invalid_fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.invalid_fields = invalid_fields
        self.field_conflicts = field_conflicts or {}
        self.code = code
        self.reason = reason

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later.

        A real API server answers server-side apply with 500 and no reason when a manifest has an
        unknown field or a wrong type, or is too large for etcd: these errors do not pass. A 404 or
        403 in a namespace that is being deleted passes once the namespace has been created again.
        """
        if any(words in str(self) for words in _PERMANENT_ERROR_TEXTS):
            return False
        return (
            self.code in (0, 404, 408, 409, 429)
            or self.code >= 500  # noqa: PLR2004 - RFC 9110
            or _TERMINATING_TEXT in str(self)
        )

    @property
    def is_refusal(self) -> bool:
        """Whether the server has certainly not done what was asked.

        After a time-out or an internal error it may have.
        """
        return self.code in (501, 503) or (400 <= self.code < 500 and self.code != 408)  # noqa: PLR2004 - RFC 9110


class Unreachable(MemberApiError):
    """There was no response: the server or the network is down."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class UnusableResponse(MemberApiError):
    """The server answers, but not with something that can be read: too large, or not an object."""

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.BAD_GATEWAY, "UnusableResponse", message)
