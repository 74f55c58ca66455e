"""A link that loses a fifth of all messages makes no site silent, and a dead site still is."""

import random
from math import inf

import pytest

from scheduler.model.site_health import (
    HealthLimits,
    HealthState,
    on_admitted,
    on_other_message,
    on_report,
    on_time,
)

LIMITS = HealthLimits()
INTERVAL_SECONDS = 10.0
LOSS_RATIO = 0.2
INTERVALS_PER_HOUR = 360


def _falls_in(hours: int, *, seed: int, stated: float | None) -> tuple[int, HealthState, float]:
    """How often a site fell silent; each interval has a report and a status, lost one by one."""
    chance, now, falls = random.Random(seed), 0.0, 0  # noqa: S311 - simulated chance
    health = on_admitted(LIMITS, now, was_known=True)
    for _ in range(hours * INTERVALS_PER_HOUR):
        now += INTERVAL_SECONDS * (1 + chance.uniform(-0.05, 0.05))
        if health.look_seconds <= now:
            was_present = health.is_present
            health = on_time(health, LIMITS, now_seconds=now)
            falls += was_present and health.is_absent
        if chance.random() >= LOSS_RATIO:
            health = on_report(
                health,
                LIMITS,
                made_seconds=now,
                now_seconds=now,
                interval_seconds=stated,
            )
        if chance.random() >= LOSS_RATIO:
            health = on_other_message(health, LIMITS, made_seconds=now)
    return falls, health, now


def _check(hours: int, seed: int, stated: float | None) -> None:
    falls, health, now = _falls_in(hours, seed=seed, stated=stated)
    assert falls == 0
    assert health.look_seconds < inf
    dead = now
    while not health.is_absent:
        dead += 1.0
        health = on_time(health, LIMITS, now_seconds=dead)
    assert dead - now < 3 * LIMITS.silent_after_seconds, "a dead site is found all the same"


@pytest.mark.parametrize("stated", [None, INTERVAL_SECONDS])
def test_a_link_that_loses_a_fifth_makes_no_site_silent(stated: float | None) -> None:
    _check(50, seed=1, stated=stated)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stated", [None, INTERVAL_SECONDS])
def test_not_in_thousands_of_hours_either(stated: float | None) -> None:
    for seed in range(10):
        _check(200, seed=seed, stated=stated)
