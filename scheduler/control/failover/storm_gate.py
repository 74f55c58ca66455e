"""The gate of evictions that knows storms: it reads the sites, asks the rule, and keeps the budget.

`scheduler.model.storm` is the rule. Time is that of the monotonic clock alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf

from scheduler.control.failover.freeze_word import FreezeWord
from scheduler.control.sites.sites import Sites
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.fields import Condition
from scheduler.model.kinds.kinds import Site
from scheduler.model.mass_silence import Domain, SiteReading
from scheduler.model.storm import (
    Freeze,
    HeldDomain,
    LinkReading,
    StormLimits,
    StormState,
    after_thaw,
    judge_storm,
)
from scheduler.runtime.clock import Clock

CONDITION = "EvictionsHeld"

_LOOK_SECONDS = 1.0
_STALL_SECONDS = 2.0  # a look this much too late shows that the process stood still
_BURST_SECONDS = 5.0  # what was not evicted in so many seconds may be evicted at once
_ASK_AGAIN_SECONDS = 0.05

_CONDITION_REASONS = {
    "operator": "OperatorFreeze",
    "unread": "FreezeUnknown",
    "session": "LinkInDoubt",
    "quiet": "LinkInDoubt",
    "stalled": "SchedulerStalled",
    "fleet": "ManySitesSilent",
}


@dataclass(slots=True, kw_only=True)
class StormGate:
    """Implements `gate.EvictionGate`.

    Attributes:
        sites: what is known of the sites.
        clock: the time.
        limits: of the settings.
        connected_since_seconds: gives since when there is a session with the broker; None: there
            is none.
        on_change: called with the state before and after each look that changes it.
        state: what holds evictions back, as of the last look.
    """

    sites: Sites
    clock: Clock
    limits: StormLimits
    connected_since_seconds: Callable[[], float | None]
    on_change: Callable[[StormState, StormState], None] = lambda _before, _after: None
    state: StormState = field(default_factory=StormState)
    _word: FreezeWord | None = None
    _word_since_seconds: float = 0.0
    _listening_since_seconds: float | None = None
    _looked_seconds: float = -inf
    _stalled_seconds: float = -inf
    _tokens: float = 0.0
    _filled_seconds: float = -inf
    _domains: dict[str, tuple[Site, tuple[Domain, ...]]] = field(default_factory=dict)

    async def run(self) -> None:
        """Looks once a second; runs until cancelled."""
        while True:
            self.look()
            await self.clock.sleep(_LOOK_SECONDS)

    # ------------------------------------------------------------ the gate

    def why_not(self, site: str) -> str:
        """Why nothing is evicted from this site now; empty: it may be evicted."""
        self._look_if_old()
        freeze = self.state.freeze
        if freeze is not None:
            return f"evictions are frozen since {self.instant(freeze.since_seconds)}: {freeze.why}"
        held = self._holding(site)
        if held is None:
            return ""
        kind, name = held.domain
        if held.until_seconds is None:
            end = f"until {self.limits.min_rest_ratio:.0%} of the other sites report"
        else:
            end = f"until {self.instant(held.until_seconds)}"
        return f"the {kind} {name} fell silent as a whole, and its sites are held {end}"

    def after_ratio(self, site: str) -> float:
        """How many times `afterSeconds` a site must be silent."""
        is_lost = bool(self.state.held) and self.state.is_in_lost_domain(self._domains_of(site))
        return self.limits.loss_after_ratio if is_lost else 1.0

    def take(self, most: int) -> int:
        """How many replacements may start now, at most `most`."""
        self._look_if_old()
        self._fill()
        count = max(0, min(most, int(self._tokens)))
        self._tokens -= count
        return count

    def next_seconds(self) -> float | None:
        """In how many seconds to ask again; None: nothing is held back.

        That is the next look while something is held, or sooner, when a domain is held until then.
        """
        self._fill()
        now = self.clock.monotonic()
        held = [one for one in self.state.held if not one.is_over(now)]
        if self.state.freeze is not None or held:
            ends = [one.until_seconds for one in held if one.until_seconds is not None]
            soonest = min([self._looked_seconds + _LOOK_SECONDS, *ends])
            return max(_ASK_AGAIN_SECONDS, soonest - now)
        if self._tokens >= 1:
            return None
        return max(_ASK_AGAIN_SECONDS, (1 - self._tokens) / self.state.per_second)

    # ------------------------------------------------------------ words and time

    def on_word(self, word: FreezeWord) -> None:
        """Takes in the last word of an operator, as the hub holds it.

        A thaw that was there before this leader began lifts nothing: what it was about is unknown.
        """
        before, self._word = self._word, word
        is_new = before is not None and before != word
        if before is None or is_new:
            self._word_since_seconds = self.clock.monotonic()
        is_thaw = is_new and not word.is_frozen
        self._judge(after_thaw(self.state, self._readings()) if is_thaw else self.state)

    def look(self) -> None:
        """Judges the sites and the link now."""
        self._judge(self.state)

    def _judge(self, former: StormState) -> None:
        now = self.clock.monotonic()
        if self._listening_since_seconds is None:
            self._listening_since_seconds = now
        elif now - self._looked_seconds >= _LOOK_SECONDS + _STALL_SECONDS:
            self._stalled_seconds = now
        self._looked_seconds = now
        self._fill()
        self._set_state(
            judge_storm(
                former,
                self.limits,
                self.sites.health_limits,
                sites=self._readings(),
                link=LinkReading(
                    listening_since_seconds=self._listening_since_seconds,
                    connected_since_seconds=self.connected_since_seconds(),
                    stalled_seconds=self._stalled_seconds,
                ),
                operator=self._operator(),
                now_seconds=now,
            )
        )
        self._fill()

    # ------------------------------------------------------------ what it shows

    def condition_of(self, site: str) -> Condition | None:
        """The condition of a site that does not report and is not evicted; None: it may be."""
        state = self.sites.states.get(site)
        if state is None or not state.health.is_absent:
            return None
        freeze, held = self.state.freeze, self._holding(site)
        if freeze is None and held is None:
            return None
        since = freeze.since_seconds if freeze else held.since_seconds if held else 0.0
        age = timedelta(seconds=max(0.0, self.clock.monotonic() - since))
        return Condition(
            type=CONDITION,
            status="True",
            reason=_CONDITION_REASONS[freeze.reason] if freeze else "DomainLost",
            message=self.why_not(site),
            last_transition_time=(self.clock.now() - age).replace(microsecond=0),
        )

    def shown(self) -> dict[str, object]:
        """The state for /api/v1/evictions and the commands."""
        state, freeze, word = self.state, self.state.freeze, self._word
        is_word = freeze is not None and freeze.reason == "operator" and word is not None
        return {
            "frozen": freeze is not None,
            "reason": freeze.reason if freeze else "",
            "since": _since_of(word, is_word=is_word) or self._instant_of(freeze),
            "why": word.why if is_word and word else freeze.why if freeze else "",
            "by": word.by if is_word and word else "",
            "held": self.shown_domains(),
            "excusedSites": len(state.excused),
            "healthyRatio": round(state.healthy_ratio, 4),
            "evictionsPerSecond": state.per_second,
        }

    def shown_domains(self) -> list[dict[str, str | None]]:
        """The held domains: kind, name, since, and until when; None: until others report."""
        return [self._shown_domain(one) for one in self.state.held]

    @property
    def word(self) -> FreezeWord | None:
        """The last word that was taken in; None: none was read yet."""
        return self._word

    def _shown_domain(self, held: HeldDomain) -> dict[str, str | None]:
        kind, name = held.domain
        until = None if held.until_seconds is None else self.instant(held.until_seconds)
        since = self.instant(held.since_seconds)
        return {"kind": kind, "name": name, "since": since, "until": until}

    def _instant_of(self, freeze: Freeze | None) -> str | None:
        return None if freeze is None else self.instant(freeze.since_seconds)

    def instant(self, seconds: float) -> str:
        """A monotonic time for people, as RFC 3339."""
        ahead = timedelta(seconds=seconds - self.clock.monotonic())
        return format_rfc3339(self.clock.now() + ahead)

    # ------------------------------------------------------------ inside

    def _look_if_old(self) -> None:
        """Looks before it answers, when the session has ended or the last look is old."""
        is_old = self.clock.monotonic() - self._looked_seconds > _LOOK_SECONDS
        if is_old or (self.state.freeze is None and self.connected_since_seconds() is None):
            self.look()

    def _set_state(self, state: StormState) -> None:
        before, self.state = self.state, state
        if state != before:
            self.on_change(before, state)

    def _operator(self) -> Freeze | None:
        word, since = self._word, self._word_since_seconds
        if word is None:
            began = self._listening_since_seconds or 0.0
            why = "the hub has not been read yet, where an operator may have frozen them"
            return Freeze(reason="unread", since_seconds=began, why=why)
        if not word.is_frozen:
            return None
        who = f" ({word.by})" if word.by else ""
        return Freeze(
            reason="operator",
            since_seconds=since,
            why=f"{word.why or 'an operator has frozen them'}{who}",
        )

    def _fill(self) -> None:
        """Adds what may have started since the last time; a freeze takes all away."""
        now, rate = self.clock.monotonic(), self.state.per_second
        seconds, self._filled_seconds = max(0.0, now - self._filled_seconds), now
        if rate <= 0:
            self._tokens = 0.0
        else:
            self._tokens = min(self._tokens + rate * min(seconds, _BURST_SECONDS), self._most(rate))

    def _most(self, rate: float) -> float:
        return max(1.0, rate * _BURST_SECONDS)

    def _holding(self, site: str) -> HeldDomain | None:
        if not self.state.held:
            return None
        return self.state.holding(self._domains_of(site), self.clock.monotonic())

    def _readings(self) -> Sequence[SiteReading]:
        states = self.sites.states
        return [
            SiteReading(name, one.health, self._domains_of(name)) for name, one in states.items()
        ]

    def _domains_of(self, name: str) -> tuple[Domain, ...]:
        site = self.sites.objects.sites.get(name)
        if site is None:
            self._domains.pop(name, None)
            return ()
        known = self._domains.get(name)
        if known is None or known[0] is not site:
            known = self._domains[name] = (site, domains_of_site(site))
        return known[1]


def domains_of_site(site: Site) -> tuple[Domain, ...]:
    """The failure domains of a site; what its object does not name is none."""
    where, found = site.spec.location, list[Domain]()
    if where.province:
        found.append(("province", where.province))
    if where.city:
        found.append(("city", f"{where.province}/{where.city}"))
    if site.spec.provider:
        found.append(("provider", site.spec.provider))
    found += [("failure domain", name) for name in dict.fromkeys(where.failure_domains) if name]
    return tuple(found)


def _since_of(word: FreezeWord | None, *, is_word: bool) -> str:
    return word.since if word is not None and is_word else ""
