"""A hub's side of the nonces, for tests: with a fixed identity and secret."""

from typing import Any

from agents.protocol.hub_requests import HigherBoot, HubNonce
from scheduler.mqtt.nonces import NonceBook
from scheduler.mqtt.site_asker import SiteAsker
from scheduler.runtime.clock import Clock
from tests.support.fake_clock import FakeClock


def make_asker(clock: Clock, *, asker: str = "hub-1", **settings: Any) -> SiteAsker:  # noqa: ANN401 - fields of SiteAsker
    """A `SiteAsker` that sends nothing, unless `send` is given."""
    nonces = NonceBook(asker=asker, secret=asker.encode(), clock=clock)
    return SiteAsker(nonces=nonces, clock=clock, **settings)


class SentRequests:
    """Remembers what a `SiteAsker` sends, as `SiteAsker.send`."""

    def __init__(self) -> None:
        self.asker: SiteAsker | None = None
        self.sent: list[tuple[str, HubNonce | None, bool, HigherBoot | None]] = []

    def __call__(self, site: str, wants_report: bool, boot: HigherBoot | None) -> None:  # noqa: FBT001 - a callback
        assert self.asker is not None
        self.sent.append((site, self.asker.nonce_for(site), wants_report, boot))

    def sites(self) -> list[str]:
        """The sites that were asked, in order."""
        return [site for site, *_ in self.sent]


def asker_that_sends(clock: FakeClock, **settings: Any) -> tuple[SiteAsker, SentRequests]:  # noqa: ANN401 - as above
    """A `SiteAsker`, and what it sends."""
    requests = SentRequests()
    asker = make_asker(clock, send=requests, **settings)
    requests.asker = asker
    return asker, requests


def carried(asker: SiteAsker, site: str) -> dict[str, str]:
    """The nonces of an agent that has received the newest one of `asker`."""
    nonce = asker.nonces.newest(site, spread_seconds=0.0)
    return {nonce.asker: nonce.value} if nonce else {}
