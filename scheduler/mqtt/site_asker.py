"""Asks sites for proof that what they send is fresh, and judges what they send by it.

A site is asked when it is taken in, when a session with the broker begins, when it falls silent,
and every few minutes. What carries an old nonce is asked about again, because the request may have
been lost. Agents of the version before carry no nonces: they count as fresh when they arrive, and
are named, unless the settings require nonces.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isinf

from agents.protocol.bounds import MAX_ANSWER_SPREAD_SECONDS
from agents.protocol.errors import WireError
from agents.protocol.hub_requests import HigherBoot, HubNonce
from agents.protocol.report import MessageHeader
from scheduler.mqtt.nonces import NonceBook
from scheduler.runtime.clock import Clock

_TICK_SECONDS = 0.2
_ASKED_PER_TICK = 128  # each is signed, which takes about 0.1 ms
_ASK_AGAIN_SECONDS = 0.5  # an agent that has just connected is asked almost at once
_SITES_PER_SPREAD_SECOND = 50.0
"""One site answers at once; a hundred and more spread their answers over two seconds."""

_LACKING_SECONDS = 15.0
"""A site whose heartbeats lack their report is asked no more often: anyone may have sent them."""

_MAX_BOOTS_ASKED = 1024


@dataclass(slots=True)
class _AskedSite:
    """When a site was asked and reported, in monotonic seconds.

    Attributes:
        due_seconds: when it is asked for the next nonce.
        asked_seconds: when it was last asked, with a new nonce or again.
        sent_seconds: when its newest message was made, at the latest.
        is_silence_asked: it was asked since it fell silent.
        without_nonce: agents whose last message shows that they know no nonces.
    """

    due_seconds: float = float("-inf")
    asked_seconds: float = float("-inf")
    sent_seconds: float = float("-inf")
    is_silence_asked: bool = False
    without_nonce: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class SiteAsker:
    """Keeps a current nonce with every site.

    Attributes:
        nonces: issues and reads nonces.
        clock: for the times of asking.
        interval_seconds: time from one nonce of a site to the next.
        silent_after_seconds: a site that sent nothing for so long gets a new nonce.
        requires_nonce: what carries no nonce is refused.
        send: publishes a request: site, whether a full report is wanted, boot to correct. It asks
            `nonce_for` for the nonce.
    """

    nonces: NonceBook
    clock: Clock
    interval_seconds: float = 300.0
    silent_after_seconds: float = 45.0
    requires_nonce: bool = False
    send: Callable[[str, bool, HigherBoot | None], None] = lambda _site, _full, _boot: None
    _sites: dict[str, _AskedSite] = field(default_factory=dict, init=False)
    _again: dict[str, bool] = field(default_factory=dict, init=False)
    _boots: dict[str, HigherBoot] = field(default_factory=dict, init=False)

    def admit(self, site: str) -> None:
        """Asks a site from now on."""
        self._sites.setdefault(site, _AskedSite())

    def forget(self, site: str) -> None:
        """Asks a site no longer, because it is gone."""
        for known in (self._sites, self._again, self._boots):
            known.pop(site, None)
        self.nonces.forget(site)

    # ------------------------------------------------------------ asking

    def nonce_for(self, site: str) -> HubNonce | None:
        """The nonce to send now: a new one, unless the newest is too young to be improved on."""
        known = self._sites.get(site)
        if known is None:
            return None
        now = self.clock.monotonic()
        age = now - self.nonces.newest_issued_seconds(site)
        # Not a new one each time: the answer to one that was just sent would look old.
        if now >= known.due_seconds or age >= self.silent_after_seconds:
            self.nonces.issue(site)
            known.due_seconds = now + self.interval_seconds
        known.asked_seconds = now
        spread = min(MAX_ANSWER_SPREAD_SECONDS, len(self._sites) / _SITES_PER_SPREAD_SECOND)
        return self.nonces.newest(site, spread_seconds=spread)

    def ask_now(self, site: str, *, wants_report: bool = False) -> None:
        """Asks a site with a new nonce at the next tick."""
        known = self._sites.get(site)
        if known is not None:
            known.due_seconds = float("-inf")
            self._again[site] = self._again.get(site, False) or wants_report

    def ask_lacking(self, site: str) -> None:
        """Asks a site whose report or status did not arrive, as its heartbeats show."""
        known = self._sites.get(site)
        if known and self.clock.monotonic() - known.asked_seconds >= _LACKING_SECONDS:
            self._again[site] = True  # of what it has sent, all is sent again

    async def run(self) -> None:
        """Asks what is due, a few sites at a time, until cancelled."""
        while True:
            self.ask_due()
            await self.clock.sleep(_TICK_SECONDS)

    def ask_due(self) -> None:
        """Asks the sites that are due, at most as many as do not hold the event loop."""
        now, left = self.clock.monotonic(), _ASKED_PER_TICK
        for site, known in self._sites.items():
            is_due = now >= known.due_seconds or self._is_silent_unasked(known, now)
            is_again = site in self._again or site in self._boots
            if is_due or (is_again and now - known.asked_seconds >= _ASK_AGAIN_SECONDS):
                if self._is_silent_unasked(known, now):
                    known.is_silence_asked, known.due_seconds = True, float("-inf")
                wants_report = self._again.pop(site, False) or isinf(known.sent_seconds)
                self.send(site, wants_report, self._boots.pop(site, None))
                left -= 1
            if not left:
                return

    def _is_silent_unasked(self, known: _AskedSite, now: float) -> bool:
        return not known.is_silence_asked and (known.sent_seconds < now - self.silent_after_seconds)

    # ------------------------------------------------------------ judging

    def sent_seconds(self, site: str, message: MessageHeader) -> float:
        """The latest time at which a message that arrives now may have been made.

        Raises:
            WireError: "stale": it proves nothing, and the site is asked again.
        """
        known = self._sites.setdefault(site, _AskedSite())
        if message.nonces is None:
            return self._sent_without_nonce(known, message.agent)
        known.without_nonce.discard(message.agent)
        sent = self.nonces.sent_seconds(site, message.nonces)
        if not self.nonces.carries_newest(site, message.nonces):
            self._again.setdefault(site, False)
        if sent is None:
            raise WireError("stale", "a message without a nonce of this hub; it is asked for one")
        self._note_sent(known, sent)
        return sent

    def _sent_without_nonce(self, known: _AskedSite, agent: str) -> float:
        known.without_nonce.add(agent)
        if self.requires_nonce:
            raise WireError("stale", "freshness.require_nonce is set, and the agent knows no nonce")
        self._note_sent(known, self.clock.monotonic())
        return known.sent_seconds

    def _note_sent(self, known: _AskedSite, sent_seconds: float) -> None:
        known.sent_seconds = max(known.sent_seconds, sent_seconds)
        if known.sent_seconds >= self.clock.monotonic() - self.silent_after_seconds:
            known.is_silence_asked = False

    def on_stale_boot(self, site: str, message: MessageHeader, *, newest_boot: int) -> bool:
        """Handles a message whose boot number was used before.

        Only an agent that is there now carries the newest nonce; it has lost its count, and gets
        the number. All else may be an old message, and the site is asked.

        Returns:
            Whether the agent is there now.
        """
        if message.nonces is None:
            return False
        if not self.nonces.carries_newest(site, message.nonces):
            self._again.setdefault(site, False)
            return False
        if len(self._boots) < _MAX_BOOTS_ASKED:
            self._boots[site] = HigherBoot(
                agent=message.agent, boot_id=message.boot_id, above=newest_boot
            )
        return True

    def ask_to_begin_again(self, site: str, message: MessageHeader) -> None:
        """Asks an agent that is there now to count as a later boot, and its energy from 0."""
        if message.nonces is not None and len(self._boots) < _MAX_BOOTS_ASKED:
            self._boots[site] = HigherBoot(
                agent=message.agent, boot_id=message.boot_id, above=message.boot_number
            )

    def agents_without_nonce(self, site: str) -> list[str]:
        """Agents of a site that know no nonces, by their last message; in order of name."""
        known = self._sites.get(site)
        return sorted(known.without_nonce) if known else []
