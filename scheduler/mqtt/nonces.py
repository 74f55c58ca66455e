"""Nonces: what a site cannot know before the hub has issued it, so a message with it is no older.

A message that carries a nonce was made after that nonce was issued. An agent always carries the
newest, so the message was also made before the next one arrived: its content counts as no younger
than the issue of that next nonce. A broker that withholds messages makes them look older, never
younger. Only this process's monotonic clock is read; no clocks are compared.
"""

import hmac
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.protocol.hub_requests import HubNonce
from scheduler.runtime.clock import Clock

_KEPT_PER_SITE = 64
"""At one in five minutes these are five hours; a message with an older nonce proves nothing."""

_MAX_DIGITS = 16
_MAC_BYTES = 16


def latest_sent_seconds(arrived_seconds: float, next_issued_seconds: float | None) -> float:
    """The latest time at which a message may have been made, on the receiver's monotonic clock.

    Args:
        arrived_seconds: when it arrived.
        next_issued_seconds: when the nonce after the one that it carries was issued; None: it
            carries the newest.
    """
    if next_issued_seconds is None:
        return arrived_seconds
    return min(arrived_seconds, next_issued_seconds)


def observed_seconds_of(sent_seconds: float, claimed_age_seconds: float) -> float:
    """When the content of a message was observed: its age when made comes on top."""
    return sent_seconds - max(0.0, claimed_age_seconds)


@dataclass(slots=True)
class _IssuedNonces:
    """Numbers and issue times of a site's nonces, in order."""

    numbers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class NonceBook:
    """Issues nonces, and reads those that messages carry.

    Attributes:
        asker: identity of this process, under which agents keep its nonces.
        secret: of this process alone, so that no other program can make up a nonce.
        clock: for the times of issue.
    """

    asker: str
    secret: bytes = field(repr=False)
    clock: Clock
    _issued: dict[str, _IssuedNonces] = field(default_factory=dict, init=False)
    _number: int = field(default=0, init=False)

    def issue(self, site: str) -> None:
        """Makes a new nonce for a site; from now on the one before counts as old."""
        self._number += 1  # one count for all sites: it never falls, also for a site that returns
        known = self._issued.setdefault(site, _IssuedNonces())
        known.numbers.append(self._number)
        known.seconds.append(self.clock.monotonic())
        del known.numbers[:-_KEPT_PER_SITE], known.seconds[:-_KEPT_PER_SITE]

    def newest(self, site: str, *, spread_seconds: float) -> HubNonce | None:
        """The newest nonce of a site as it is sent; None before the first one."""
        known = self._issued.get(site)
        if known is None:
            return None
        number = known.numbers[-1]
        return HubNonce(
            asker=self.asker,
            number=number,
            value=self._value_of(site, number),
            spread_seconds=spread_seconds,
            takes_heartbeats=True,
        )

    def newest_issued_seconds(self, site: str) -> float:
        """When the newest nonce of a site was issued; -inf before the first one."""
        known = self._issued.get(site)
        return known.seconds[-1] if known else float("-inf")

    def sent_seconds(self, site: str, nonces: Mapping[str, str]) -> float | None:
        """The latest time at which a message that arrives now may have been made.

        Returns:
            None: it carries none of this process's nonces for the site, and may be of any age.
        """
        number, known = self._number_in(site, nonces.get(self.asker, "")), self._issued.get(site)
        if number is None or known is None or number not in known.numbers:
            return None
        after = bisect_right(known.numbers, number)
        next_seconds = known.seconds[after] if after < len(known.seconds) else None
        return latest_sent_seconds(self.clock.monotonic(), next_seconds)

    def carries_newest(self, site: str, nonces: Mapping[str, str] | None) -> bool:
        """Whether a message was made after the newest nonce of the site was issued."""
        known = self._issued.get(site)
        if known is None or not nonces:
            return False
        return self._number_in(site, nonces.get(self.asker, "")) == known.numbers[-1]

    def forget(self, site: str) -> None:
        """Drops the nonces of a site that is gone."""
        self._issued.pop(site, None)

    def _number_in(self, site: str, value: str) -> int | None:
        """The number of a nonce of ours; None for any other text."""
        text = value.partition(".")[0]
        if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
            return None
        number = int(text)
        expected = self._value_of(site, number).encode()
        return number if hmac.compare_digest(value.encode(), expected) else None

    def _value_of(self, site: str, number: int) -> str:
        # Derived, so that only numbers and times are kept of each site.
        mac = hmac.digest(self.secret, f"{number} {site}".encode(), "sha256")
        return f"{number}.{mac[:_MAC_BYTES].hex()}"
