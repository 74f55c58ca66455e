"""Takes messages from the broker in: each is used, or counted by what is wrong with it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from agents.metrics.counters import Counters
from agents.orders.intake import Intake
from agents.orders.journal import JournalError
from agents.protocol.envelope import unseal
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import (
    FETCH_ORDERS,
    HUB_REQUEST,
    WANT_FULL_REPORT,
    WANT_STATUS,
)
from agents.protocol.topics import Topic, parse_topic, site_topic

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRouter:
    """Where messages go.

    Attributes:
        site: ours.
        agent: our name within it.
        intake: takes indexes and contents.
        counters: of good and bad messages.
        on_index: a newer index was accepted.
        on_order_content: a content is whole.
        on_order_part: something that was asked for came.
        on_hub_request: the hub asks; one of the words of `hub_requests`.
    """

    site: str
    agent: str
    intake: Intake
    counters: Counters
    on_index: Callable[[], None]
    on_order_content: Callable[[], None]
    on_order_part: Callable[[], None]
    on_hub_request: Callable[[str], None]

    def handle(self, topic_name: str, payload: bytes) -> None:
        """Takes one message in."""
        try:
            self._route(parse_topic(topic_name), payload)
        except JournalError as error:
            self.counters.add("journal_errors_total")
            _log.error("message on %s is not taken: %s", topic_name[:300], error)
        except WireError as error:
            self.counters.add("bad_messages_total", reason=error.reason)
            _log.warning("message on %s is not used: %s: %s", topic_name[:300], error.reason, error)

    def _route(self, parsed_topic: Topic, payload: bytes) -> None:
        if parsed_topic.site != self.site:
            raise WireError("wrong-site", f"topic of site {parsed_topic.site!r}")
        if not payload:
            self.counters.add("empty_messages_total")
        elif parsed_topic.kind == "desired":
            self.counters.add("messages_total", kind="desired")
            if self.intake.accept_index(payload):
                self.on_index()
        elif parsed_topic.kind == "orders":
            self.counters.add("messages_total", kind="orders")
            content = self.intake.accept_part(parsed_topic, payload)
            self.on_order_part()
            if content is not None:
                self.on_order_content()
        elif parsed_topic.kind == "hub":
            self._handle_request(payload)
        else:
            raise WireError("malformed", f"{parsed_topic.kind} goes up, not down")

    def _handle_request(self, payload: bytes) -> None:
        topic_name = site_topic(self.site, "hub")
        request = HUB_REQUEST.decode(
            unseal(payload, topic=topic_name, trusted=self.intake.trusted_keys)
        )
        if request.site != self.site:
            raise WireError("wrong-site", f"asks site {request.site!r}")
        self.counters.add("messages_total", kind="hub")
        if request.agent not in (None, self.agent):
            return
        for request_word in request.wants:
            if request_word in (WANT_FULL_REPORT, WANT_STATUS, FETCH_ORDERS):
                self.on_hub_request(request_word)
