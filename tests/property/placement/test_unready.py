"""Days of replicas that are not ready: a broken image stays, moves are rare and never repeat."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from msgspec.structs import replace

from scheduler.model.kinds.failover import UnreadyMove, UnreadyReason
from scheduler.placement.failover.unready import (
    MAX_FAILED_MOVES,
    SITE_REASONS,
    TRY_AGAIN_SECONDS,
    UnreadyCandidate,
    UnreadyEviction,
    UnreadySite,
    UnreadySpell,
    plan_unready,
    with_unready_move,
)
from tests.support.counts import seeds

START = datetime(2026, 11, 30, tzinfo=UTC)
SITES = tuple(f"s{n}" for n in range(8))
STEP_SECONDS, AFTER_SECONDS = 60, 600.0
OF_CONTENT: tuple[UnreadyReason, ...] = ("crash-loop", "image-pull", "probe", "other")


@dataclass
class Life:
    """One workload over days, by the rules alone: no room is ever short.

    Attributes:
        random: chance.
        replicas: of each site.
        broken: why the replicas of a site are not ready; other sites run the content.
        content: names the manifests.
        moves: what the status remembers.
        log: (time, eviction, target, content) of every move.
        visited: sites that had replicas of the present content.
    """

    random: Random
    replicas: dict[str, int]
    broken: dict[str, UnreadyReason]
    content: str = "c0"
    moves: tuple[UnreadyMove, ...] = ()
    log: list[tuple[datetime, UnreadyEviction, str, str]] = field(default_factory=list)
    visited: set[str] = field(default_factory=set)
    _since: dict[str, datetime] = field(default_factory=dict)

    def step(self, now: datetime) -> None:
        self.visited |= {site for site, count in self.replicas.items() if count}
        current = next((one for one in self.moves if self._is_open(one)), None)
        if current is not None:
            self._end(current, now)
            return
        plan = plan_unready([self._candidate(now)], now=now)
        for _, eviction in plan.due:
            self._move(eviction, now)

    def _is_open(self, move: UnreadyMove) -> bool:
        return bool(move.to) and self._open == (move.site, move.to[0], move.at)

    _open: tuple[str, str, datetime | None] = ("", "", None)

    def _candidate(self, now: datetime) -> UnreadyCandidate:
        return UnreadyCandidate(
            key=("ns", "app"),
            priority=0,
            created_at_seconds=0.0,
            mode="Automatic",
            after_seconds=AFTER_SECONDS,
            content=self.content,
            sites=tuple(self._sites(now)),
            moves=self.moves,
        )

    def _sites(self, now: datetime) -> Iterator[UnreadySite]:
        for site, count in sorted(self.replicas.items()):
            if not count:
                continue
            reason = self.broken.get(site)
            spells: tuple[UnreadySpell, ...] = ()
            if reason is None:
                self._since.pop(site, None)
            else:
                lasted = (now - self._since.setdefault(site, now)).total_seconds()
                spells = (UnreadySpell(reason=reason, replicas=count, seconds=lasted),)
            yield UnreadySite(
                site=site,
                replicas=count,
                is_proven=reason is None,
                has_started=True,
                spells=spells,
            )

    def _move(self, one: UnreadyEviction, now: datetime) -> None:
        able = [site for site in one.only or SITES if site not in {*one.never, one.site}]
        if not able:
            return
        target = self.random.choice(able)
        self.log.append((now, one, target, self.content))
        made = UnreadyMove(
            site=one.site,
            replicas=one.replicas,
            to=(target,),
            reason=one.reason,
            content=one.content,
            at=now,
        )
        self.moves = with_unready_move(self.moves, made, now)
        self.replicas[one.site] -= one.replicas
        self.replicas[target] = self.replicas.get(target, 0) + one.replicas
        self._open = (one.site, target, now)

    def _end(self, move: UnreadyMove, now: datetime) -> None:
        """The replacement is ready, or it is taken back after the time."""
        target = move.to[0]
        if target not in self.broken:
            self._open = ("", "", None)
        elif move.at is not None and (now - move.at).total_seconds() >= AFTER_SECONDS:
            self._open = ("", "", None)
            self.replicas[target] -= move.replicas
            self.replicas[move.site] = self.replicas.get(move.site, 0) + move.replicas
            failed = replace(move, failed=True)
            self.moves = tuple(failed if one is move else one for one in self.moves)


def days(life: Life, hours: int, change: float, reasons: tuple[UnreadyReason, ...]) -> None:
    """Time passes; now and then a site breaks, recovers, or the manifests change."""
    now = START
    for _ in range(hours * 3600 // STEP_SECONDS):
        if life.random.random() < change:
            site = life.random.choice(SITES)
            if life.broken.pop(site, None) is None:
                life.broken[site] = life.random.choice(reasons)
        life.step(now)
        now += timedelta(seconds=STEP_SECONDS)


def check(life: Life) -> None:
    last: dict[str, datetime] = {}
    failed: dict[str, set[str]] = {}
    for at, eviction, target, content in life.log:
        before = last.get(eviction.site)
        assert before is None or (at - before).total_seconds() >= TRY_AGAIN_SECONDS
        last[eviction.site] = last[target] = at
        assert target not in failed.get(content, set()), "never where it failed before"
        if any(one.failed and one.at == at and one.content == content for one in life.moves):
            failed.setdefault(content, set()).add(target)
        if eviction.reason not in SITE_REASONS:
            assert target in eviction.only, "only where it is proven"
    assert all(len(one) <= MAX_FAILED_MOVES for one in failed.values())
    assert all(count >= 0 for count in life.replicas.values())
    assert sum(life.replicas.values()) == 6, "nothing is lost and nothing doubled"


@pytest.mark.parametrize("seed", seeds(20, gate=5))
def test_a_broken_image_never_visits_more_than_its_first_sites(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a story, not a secret
    first = random.sample(SITES, random.randint(1, 3))
    life = Life(random, dict.fromkeys(first, 6 // len(first)), {})
    for site in SITES:
        life.broken[site] = random.choice(OF_CONTENT)
    days(life, 24, 0.0, OF_CONTENT)
    assert life.log == []
    assert life.visited == set(first)


@pytest.mark.parametrize("seed", seeds(10, gate=3))
def test_what_is_stuck_everywhere_tours_three_sites_and_stays(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a story, not a secret
    life = Life(random, {"s0": 6}, dict.fromkeys(SITES, "stuck"))
    days(life, 48, 0.0, OF_CONTENT)
    check(life)
    assert len(life.log) == MAX_FAILED_MOVES
    assert life.replicas["s0"] == 6


@pytest.mark.parametrize("seed", seeds(20, gate=5))
def test_at_most_one_move_per_site_and_hour(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a story, not a secret
    life = Life(random, {"s0": 3, "s1": 3}, {})
    days(life, 72, 0.02, (*OF_CONTENT, *sorted(SITE_REASONS)))
    check(life)


def test_the_stories_have_moves_that_succeed_and_that_are_taken_back() -> None:
    moves: list[UnreadyMove] = []
    for seed in range(10):
        life = Life(Random(seed), {"s0": 3, "s1": 3}, {})  # noqa: S311 - a story, not a secret
        days(life, 72, 0.02, (*OF_CONTENT, *sorted(SITE_REASONS)))
        moves.extend(life.moves)
    assert any(one.failed for one in moves)
    assert any(not one.failed for one in moves)
