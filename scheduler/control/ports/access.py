"""Questions to the hub about what the holder of a token may see, and its answers. Pure.

The web server asks them with the holder's own token, so that one list of rights, the hub's, says
what the page, `kapok explain` and the API show.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple

AccessAnswer = Literal["allowed", "denied", "unauthenticated", "unanswered"]
"""`unauthenticated`: the hub does not know the token. `unanswered`: the hub did not answer, which
says nothing of the right."""


class AccessQuestion(NamedTuple):
    """May the holder of a token read something?

    Attributes:
        resource: the plural of a kind of kapok.dev.
        namespace: whose objects are read, one by one (`get`); "": those of all namespaces or of
            the cluster (`list`).
        subresource: of the resource, such as `log`; "": the objects themselves.
    """

    resource: str = "workloads"
    namespace: str = ""
    subresource: str = ""

    @property
    def verb(self) -> str:
        """The verb that is asked about."""
        return "get" if self.namespace else "list"

    @property
    def right(self) -> str:
        """The right for people: `list workloads.kapok.dev in all namespaces`."""
        name = f"{self.resource}.kapok.dev" + (f"/{self.subresource}" if self.subresource else "")
        if self.namespace:
            return f"{self.verb} {name} in namespace {self.namespace}"
        where = " in all namespaces" if self.resource == "workloads" else ""
        return f"{self.verb} {name}{where}"


ALL_WORKLOADS: Final = AccessQuestion()
"""The right to everything of workloads; who has it sees the figures of the whole fleet."""

ALL_SITES: Final = AccessQuestion(resource="sites")
ALL_GRANTS: Final = AccessQuestion(resource="sitegrants")

AccessReviewer = Callable[[str, AccessQuestion], Awaitable[AccessAnswer]]
"""Asks the hub a question for the holder of a token."""
