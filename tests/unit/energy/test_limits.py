"""Limits of an authority: dates, the strictest one, and figures that are measured or declared."""

from datetime import UTC, datetime

import msgspec
import pytest

from scheduler.energy.limits import (
    first_broken,
    limit_boundaries,
    limit_sentence,
    limits_in_force,
    verdicts_of,
)
from scheduler.energy.site_supply import Figure, inspected_at, pue_of, renewable_share_of, wue_of
from scheduler.model.kinds.energy import EnergyLimit
from scheduler.model.kinds.rights import SiteGrantSpec
from scheduler.model.kinds.site import SiteEnergy

_MAY = datetime(2025, 5, 31, tzinfo=UTC).timestamp()
_JUNE = datetime(2025, 6, 1, tzinfo=UTC).timestamp()


def _limit(**fields: object) -> EnergyLimit:
    return msgspec.convert({"measure": "pue", "limit": 1.3, **fields}, EnergyLimit)


def _energy(**fields: object) -> SiteEnergy:
    return msgspec.convert(fields, SiteEnergy)


def _measured(
    measure: str, value: float, by: str = "节能监察中心", day: int = 1
) -> dict[str, object]:
    at = f"2026-10-{day:02}T00:00:00Z"
    return {"measure": measure, "value": value, "measuredBy": by, "observedAt": at}


_TIGHTENING = (
    _limit(limit=1.5, until="2025-06-01T00:00:00Z"),
    _limit(**{"from": "2025-06-01T00:00:00Z"}, document="财库 2023-7"),
)


def test_a_limit_tightens_on_its_day() -> None:
    energy = _energy(pue=1.4, pueOrigin="assumed")

    assert first_broken(energy, "edge", limits_in_force(_TIGHTENING, _MAY)) is None
    assert first_broken(energy, "edge", limits_in_force(_TIGHTENING, _JUNE)) is not None
    assert limit_boundaries(_TIGHTENING) == [datetime(2025, 6, 1, tzinfo=UTC)]


def test_of_several_limits_in_force_the_strictest_counts() -> None:
    in_force = (_limit(limit=1.5), _limit(limit=1.25), _limit(limit=1.4))

    (verdict,) = verdicts_of(_energy(pue=1.3), "edge", in_force)

    assert (verdict.limit.limit, verdict.is_kept) == (1.25, False)
    shares = (
        _limit(measure="renewable-share", limit=0.3),
        _limit(measure="renewable-share", limit=0.8),
    )
    (verdict,) = verdicts_of(_energy(), "edge", shares)
    assert verdict.limit.limit == 0.8


def test_a_limit_is_for_its_tiers() -> None:
    limit = (_limit(tiers=["central"]),)

    assert first_broken(_energy(pue=1.6), "edge", limit) is None
    assert first_broken(_energy(pue=1.6), "central", limit) is not None


@pytest.mark.parametrize("measure", ["pue", "wue", "renewable-share"])
def test_a_figure_that_is_not_known_keeps_to_no_limit(measure: str) -> None:
    broken = first_broken(_energy(), "edge", (_limit(measure=measure, limit=0.5),))

    assert broken is not None
    assert "is unknown" in limit_sentence("gz-core", "edge", broken)


def test_measured_beats_declared_and_the_newest_measurement_counts() -> None:
    energy = _energy(
        pue=1.2,
        pueOrigin="assumed",
        measurements=[_measured("pue", 1.28, day=3), _measured("pue", 1.42, day=9)],
    )

    assert pue_of(energy) == Figure(1.42, "measured", "节能监察中心")
    broken = first_broken(energy, "edge", _TIGHTENING[1:])
    assert broken is not None
    assert limit_sentence("gz-core", "edge", broken) == (
        "gz-core has a PUE of 1.42 (measured by 节能监察中心); at most 1.3 is asked of edge sites"
        " since 2025-06-01T00:00:00Z (财库 2023-7)"
    )


def test_an_agent_that_measures_beats_what_is_declared_and_not_an_inspector() -> None:
    agent = Figure(1.35, "measured", "agent of m1")
    energy = _energy(pue=1.2, pueOrigin="assumed")

    assert pue_of(energy, agent) == agent
    assert pue_of(energy, Figure(1.1, "assumed", "agent of m1")).value == 1.2
    inspected = _energy(pue=1.2, measurements=[_measured("pue", 1.5)])
    assert pue_of(inspected, agent).value == 1.5


@pytest.mark.parametrize("value", [0.0, 0.9, 12.0])
def test_a_measured_pue_that_cannot_be_is_unknown_and_gives_no_way_to_the_brochure(
    value: float,
) -> None:
    energy = _energy(pue=1.2, measurements=[_measured("pue", value)])

    assert pue_of(energy).value is None


def test_what_the_authority_measured_comes_before_all_that_operators_write() -> None:
    grant = msgspec.convert(
        {
            "sites": ["m1", "m2"],
            "measurements": [
                {**_measured("pue", 1.44), "site": "m1"},
                {**_measured("pue", 1.10), "site": "m2"},
            ],
        },
        SiteGrantSpec,
    )
    energy = _energy(pue=1.2, measurements=[_measured("pue", 1.15, by="operator", day=28)])

    inspected = inspected_at("m1", [grant])

    assert pue_of(energy, inspected=inspected).value == 1.44
    assert first_broken(energy, "edge", _TIGHTENING[1:], inspected) is not None
    assert first_broken(energy, "edge", _TIGHTENING[1:]) is None
    assert inspected_at("m3", [grant]) == ()


def test_a_green_share_counts_with_evidence_only_and_never_in_percent() -> None:
    assert renewable_share_of(_energy(greenShare=0.9)).value is None
    assert renewable_share_of(_energy(greenShare=0.9, greenEvidence=" ")).value is None
    assert renewable_share_of(_energy(greenShare=0.9, greenEvidence="GEC 1")).value == 0.9
    percent = _energy(measurements=[_measured("renewable-share", 40.0)])
    assert renewable_share_of(percent).value is None


def test_a_site_at_the_limit_keeps_to_it() -> None:
    limits = (
        _limit(),
        _limit(measure="wue", limit=2.5),
        _limit(measure="renewable-share", limit=0.3),
    )
    energy = _energy(pue=1.3, wueLitresPerKwh=2.5, greenShare=0.3, greenEvidence="GEC")

    assert first_broken(energy, "edge", limits) is None
    assert wue_of(energy).origin == "assumed"
