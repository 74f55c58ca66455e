"""What the hub asks of an agent besides orders.

Not retained, and harmless when lost or repeated: it only asks now for what comes anyway.
A module of its own, because every message type has one.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from agents.protocol.bounds import AgentName, AtMost, Epoch, SiteName, Word
from agents.protocol.codec import Codec

WANT_FULL_REPORT: Final = "full-report"
"""Send a full report: the hub does not have the report that the deltas build on."""

WANT_STATUS: Final = "status"
"""Send a status now instead of at the next interval."""

WANT_INDEX_PROOF: Final = "index-proof"
"""Send a status with the whole envelope of the index that it echoes (`index_proof`): the hub knows
of no index so new, and believes nothing but its own signature."""

WANT_LEDGER_HEADS: Final = "ledger-heads"
"""Send a status with the heads of the hub's ledger that you hold (`ledger_heads`)."""

FETCH_ORDERS: Final = "fetch"
"""Fetch the contents that the status listed as missing: the hub has published them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRequest:
    """A request to the agents of one site; an agent ignores words that it does not know.

    Attributes:
        site: name of the site; the same as in the topic.
        epoch: epoch of the hub's leader that asks.
        agent: the agent that is asked; None asks all agents of the site.
        wants: what is asked for: the constants of this module.
    """

    site: SiteName
    epoch: Epoch
    agent: AgentName | None = None
    wants: Annotated[tuple[Word, ...], AtMost(16)] = ()


HUB_REQUEST: Final = Codec(HubRequest)
