"""What the hub asks of an agent between orders; not retained, and harmless when repeated."""

from dataclasses import dataclass
from typing import Annotated, Final

from agents.protocol.codec import Codec
from agents.protocol.report import Count
from agents.protocol.shapes import AtMost

WANT_FULL_REPORT: Final = "full-report"
"""The delta's base is not known at the hub."""

WANT_STATUS: Final = "status"
"""Send a status now instead of at the next interval."""

FETCH_ORDERS: Final = "fetch"
"""What `missing` named has been published again: fetch it now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRequest:
    """Asks now for what would come anyway; words that an agent does not know it ignores.

    Attributes:
        site: whose; must be the topic's.
        epoch: of the asking leader.
        agent: whom of the site's agents; None asks all.
        wants: words of this module.
    """

    site: Annotated[str, AtMost(253)]
    epoch: Count
    agent: Annotated[str, AtMost(64)] | None = None
    wants: Annotated[tuple[Annotated[str, AtMost(64)], ...], AtMost(16)] = ()


HUB_REQUEST: Final = Codec(HubRequest)
