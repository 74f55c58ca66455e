"""Official emission factors of mainland China's grids, by province, 2021 to 2023.

Announcements of the Ministry of Ecology and Environment (MEE) and the National Bureau of
Statistics: 2024 No. 12 (2021), 2024 No. 33 (2022), 2025 No. 47 (2023, published 2025-12-31).
Location-based annual averages of CO2 at generation, with transfers between provinces; direct, not
life-cycle. Inner Mongolia is one figure, although its east belongs to another grid. Nothing is
published for Tibet, Hong Kong, Macao and Taiwan: they are unknown here, and unknown is never green.
"""

from scheduler.energy.factors.factor import EmissionFactor

_YEARS = (2021, 2022, 2023)
_DOCUMENTS = {2021: "2024 No. 12", 2022: "2024 No. 33", 2023: "2025 No. 47"}

_PROVINCES: dict[str, tuple[float, float, float]] = {
    "CN-AH": (707.5, 678.2, 655.3),
    "CN-BJ": (568.8, 558.0, 555.4),
    "CN-CQ": (474.3, 522.7, 558.1),
    "CN-FJ": (471.1, 409.2, 421.1),
    "CN-GD": (471.5, 440.3, 441.9),
    "CN-GS": (495.5, 477.2, 447.1),
    "CN-GX": (515.4, 404.4, 447.6),
    "CN-GZ": (518.2, 498.9, 568.3),
    "CN-HA": (636.9, 605.8, 589.7),
    "CN-HB": (367.2, 436.4, 404.4),
    "CN-HE": (790.1, 725.2, 651.6),
    "CN-HI": (452.4, 418.4, 364.8),
    "CN-HL": (634.2, 536.8, 522.9),
    "CN-HN": (513.8, 490.0, 497.6),
    "CN-JL": (562.9, 493.2, 467.1),
    "CN-JS": (645.1, 597.8, 582.7),
    "CN-JX": (583.5, 575.2, 583.6),
    "CN-LN": (587.6, 562.6, 487.8),
    "CN-NM": (702.5, 684.9, 647.9),
    "CN-NX": (654.6, 642.3, 618.7),
    "CN-QH": (132.6, 156.7, 179.6),
    "CN-SC": (125.5, 140.4, 156.4),
    "CN-SD": (683.8, 641.0, 619.1),
    "CN-SH": (583.4, 584.9, 573.7),
    "CN-SN": (633.6, 655.8, 633.5),
    "CN-SX": (722.2, 709.6, 663.4),
    "CN-TJ": (735.5, 704.1, 679.6),
    "CN-XJ": (657.7, 623.1, 602.1),
    "CN-YN": (123.5, 107.3, 133.3),
    "CN-ZJ": (542.2, 515.3, 497.4),
}
"""Grams of CO2 per kWh by ISO 3166-2 code, for each of `_YEARS`."""

_NATIONAL_MEAN = (556.8, 536.6, 530.6)
_NATIONAL_RESIDUAL = (594.2, 585.6, 609.6)
"""Without the non-fossil electricity that is traded in markets: what remains for all who hold no
evidence of their own."""

_MAINLAND = "CN"


def official_factor(zone: str, *, year: int) -> EmissionFactor | None:
    """The location-based factor that is in force for a year; None: none is published.

    Factors are published about two years later, so the newest one up to that year counts.

    Args:
        zone: ISO 3166-2 code of the province, as `CN-GD`; `CN` for the national mean.
        year: the year in which electricity is used.
    """
    figures = _NATIONAL_MEAN if zone == _MAINLAND else _PROVINCES.get(zone)
    return None if figures is None else _of_year(figures, year, zone)


def residual_factor(zone: str, *, year: int) -> EmissionFactor | None:
    """The factor of electricity without evidence, for the market ledger; None: none is published.

    Args:
        zone: ISO 3166-2 code of the province.
        year: the year in which electricity is used.
    """
    if zone != _MAINLAND and zone not in _PROVINCES:
        return None
    return _of_year(_NATIONAL_RESIDUAL, year, "CN residual")


def known_zones() -> frozenset[str]:
    """The zones with an official factor."""
    return frozenset(_PROVINCES) | {_MAINLAND}


def _of_year(figures: tuple[float, float, float], year: int, what: str) -> EmissionFactor | None:
    published = [each for each in _YEARS if each <= year]
    if not published:
        return None
    newest = published[-1]
    return EmissionFactor(
        gco2_per_kwh=figures[_YEARS.index(newest)],
        origin="yearly",
        boundary="direct",
        source=f"MEE {_DOCUMENTS[newest]}, {what}, {newest}",
        year=newest,
    )
