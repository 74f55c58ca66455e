"""Routes messages from the broker; counts those that cannot be used, by reason.

This is the edge at which messages arrive. One on which the agent fails is not tried again for a
while, and nothing else waits for it; another message on the same topic is handled as ever.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from agents.metrics.counters import Counters
from agents.orders.intake import Intake
from agents.orders.journal import JournalError
from agents.protocol.diagnosis.question import Question
from agents.protocol.envelope import unseal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import (
    FETCH_ORDERS,
    HUB_REQUEST,
    WANT_FULL_REPORT,
    WANT_INDEX_PROOF,
    WANT_LEDGER_HEADS,
    WANT_STATUS,
    HigherBoot,
    HubNonce,
)
from agents.protocol.hub_trust.key_set import HubKeySet
from agents.protocol.topics import Topic, parse_topic, site_topic
from agents.runtime.faults import AgentFaults

_log = logging.getLogger(__name__)

_ANSWERS: Final = frozenset({WANT_FULL_REPORT, WANT_STATUS})
"""What a request with a nonce has answered together with the nonce."""

_REQUESTS: Final = frozenset(
    {WANT_FULL_REPORT, WANT_STATUS, WANT_INDEX_PROOF, WANT_LEDGER_HEADS, FETCH_ORDERS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRouter:
    """Routes messages by topic.

    Attributes:
        site: name of the site.
        agent: name of the agent within the site.
        intake: accepts indexes and contents.
        counters: counts messages.
        on_index: called when a newer index was accepted.
        on_order_content: called when a content is complete.
        on_order_part: called when a part of a content has arrived.
        on_hub_request: called with a word of `hub_requests.py` that the hub asks for.
        on_nonce: called with a nonce of the hub, and whether it wants a full report; returns
            whether the nonce is one to answer.
        on_higher_boot: called when the hub says that this boot's number was used before.
        on_base_missing: called when a delta of the index came that needs the whole index.
        on_index_held_back: called when an index came that may be old; the hub's next one counts.
        on_hub_keys: called with the set of keys that sign for the hub; may raise `WireError`.
        on_question: called with the epoch of the leader that asks and its question about an order;
            may raise `WireError`.
        faults: the barrier around each message.
    """

    site: str
    agent: str
    intake: Intake
    counters: Counters
    on_index: Callable[[], None]
    on_order_content: Callable[[], None]
    on_order_part: Callable[[], None]
    on_hub_request: Callable[[str], None]
    on_nonce: Callable[[HubNonce, bool], bool] = lambda _nonce, _full: False
    on_higher_boot: Callable[[HigherBoot], None] = lambda _boot: None
    on_base_missing: Callable[[], None] = lambda: None
    on_index_held_back: Callable[[], None] = lambda: None
    on_hub_keys: Callable[[HubKeySet], None] = lambda _keys: None
    on_question: Callable[[int, Question], None] = lambda _epoch, _question: None
    faults: AgentFaults = field(default_factory=AgentFaults)

    def handle(self, topic_name: str, payload: bytes, *, is_retained: bool = False) -> None:
        """Handles one message; never raises, whatever the message is.

        Args:
            topic_name: its topic.
            payload: the message.
            is_retained: the broker had kept it, so it may be of any age.
        """
        offender = f"{topic_name[:300]} {sha256(payload).hexdigest()[:16]}"
        if self.faults.is_quarantined("message", offender):
            return
        with self.faults.guard("message", offender):
            try:
                self._route(parse_topic(topic_name), payload, is_retained=is_retained)
            except JournalError as error:
                self.counters.add("journal_errors_total")
                self.faults.record("journal", error)
            except WireError as error:
                self.counters.add("bad_messages_total", reason=error.reason)
                self._log_bad_message(topic_name, error)

    def _log_bad_message(self, topic_name: str, error: WireError) -> None:
        """Logs the first of a kind; a broker that sends thousands must not fill the disk."""
        if self.faults.may_log(f"bad message: {error.reason}"):
            _log.warning(
                "message on %s ignored: %s: %s; further ones of this kind are only counted",
                ascii(topic_name[:300]),
                error.reason,
                ascii(str(error)[:300]),
            )

    def _route(self, parsed_topic: Topic, payload: bytes, *, is_retained: bool) -> None:
        if parsed_topic.site != self.site:
            raise WireError("wrong-site", f"the topic is of site {parsed_topic.site!r}")
        if not payload:
            self.counters.add("empty_messages_total")
        elif parsed_topic.kind == "desired":
            self.counters.add("messages_total", kind="desired")
            self._handle_index(payload, is_retained=is_retained)
        elif parsed_topic.kind == "desired/delta":
            self.counters.add("messages_total", kind="desired/delta")
            self._handle_delta(payload, is_retained=is_retained)
        elif parsed_topic.kind == "orders":
            self.counters.add("messages_total", kind="orders")
            content = self.intake.accept_part(parsed_topic, payload)
            self.on_order_part()
            if content is not None:
                self.on_order_content()
        elif parsed_topic.kind == "hub":
            self._handle_request(payload)
        else:
            raise WireError("malformed", f"{parsed_topic.kind} messages are for the hub")

    def _handle_index(self, payload: bytes, *, is_retained: bool) -> None:
        if self.intake.accept_index(payload, is_retained=is_retained):
            self.on_index()
        elif self.intake.is_holding_back:
            self.on_index_held_back()

    def _handle_delta(self, payload: bytes, *, is_retained: bool) -> None:
        try:
            if self.intake.accept_delta(payload, is_retained=is_retained):
                self.on_index()
            elif self.intake.is_holding_back:
                self.on_index_held_back()
        except WireError:
            if self.intake.wants_full_index:
                self.on_base_missing()
            raise

    def _handle_request(self, payload: bytes) -> None:
        topic_name = site_topic(self.site, "hub")
        request = HUB_REQUEST.decode(
            unseal(payload, topic=topic_name, trusted=self.intake.trusted_keys)
        )
        if request.site != self.site:
            raise WireError("wrong-site", f"the request is for site {request.site!r}")
        self.counters.add("messages_total", kind="hub")
        if request.hub_keys is not None:
            self.on_hub_keys(request.hub_keys)
        if request.agent not in (None, self.agent):
            return
        if request.higher_boot is not None:
            self.on_higher_boot(request.higher_boot)
        wants = _REQUESTS.intersection(request.wants)
        is_all_wanted = not wants.isdisjoint(_ANSWERS)
        if request.nonce is not None and self.on_nonce(request.nonce, is_all_wanted):
            wants -= _ANSWERS
        for request_word in request.wants:
            if request_word in wants:
                self.on_hub_request(request_word)
        # Of several agents one alone is asked.
        if request.question is not None and request.agent == self.agent:
            self.on_question(request.epoch, request.question)
