"""What the hub asks of an agent besides orders.

Not retained, and harmless when lost or repeated: it asks now for what comes anyway, or it has a
question, which is answered once. A module of its own, because every message type has one.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from agents.protocol.bounds import (
    MAX_ANSWER_SPREAD_SECONDS,
    AgentName,
    AtMost,
    Between,
    BootId,
    Counter,
    Epoch,
    Nonce,
    SiteName,
    Word,
)
from agents.protocol.codec import Codec
from agents.protocol.diagnosis.question import Question
from agents.protocol.hub_trust.key_set import HubKeySet

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
class HubNonce:
    """A number used once: a message that carries it was made after it was issued.

    An agent answers with a report and a status, and puts the newest nonce of each scheduler into
    every later message.

    Attributes:
        asker: identity of the scheduler's process; several may ask a site at the same time.
        number: grows with every nonce of this scheduler for this site; an older one is ignored.
        value: the nonce; no other program can guess it before it is issued.
        spread_seconds: the answer comes after a random part of this time, so that the answers of
            many sites do not arrive together; absent: the longest.
        takes_heartbeats: this scheduler takes heartbeats in place of reports that say the same as
            the one before; without this word an agent sends it none.
    """

    asker: Word
    number: Counter
    value: Nonce
    spread_seconds: Annotated[float, Between(0, MAX_ANSWER_SPREAD_SECONDS)] | None = None
    takes_heartbeats: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HigherBoot:
    """Says that a boot number was used before: the agent's disk has lost its count of starts.

    The agent goes on with a number above, so that the hub accepts its messages again.

    Attributes:
        agent: the agent that is meant.
        boot_id: the boot that is meant; another boot of the agent ignores this.
        above: the highest number that the hub knows of this agent.
    """

    agent: AgentName
    boot_id: BootId
    above: Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRequest:
    """A request to the agents of one site; an agent ignores words that it does not know.

    Attributes:
        site: name of the site; the same as in the topic.
        epoch: epoch of the hub's leader that asks.
        agent: the agent that is asked; None asks all agents of the site.
        wants: what is asked for: the constants of this module.
        nonce: asks for an answer that proves when it was made.
        higher_boot: asks an agent to count its boots from a higher number.
        hub_keys: the keys that sign for the hub, where they change. Agents of versions before
            ignore it; what their status says shows that (`trusted_hub_keys`).
        question: asks the agent about one order. Agents of versions before do not know it; what
            their status says shows that (`answers_questions`).
    """

    site: SiteName
    epoch: Epoch
    agent: AgentName | None = None
    wants: Annotated[tuple[Word, ...], AtMost(16)] = ()
    nonce: HubNonce | None = None
    higher_boot: HigherBoot | None = None
    question: Question | None = None
    hub_keys: HubKeySet | None = None


HUB_REQUEST: Final = Codec(HubRequest)
