"""Modelled round trips between sites, for a demo, where none can be measured.

theory = 2 x great-circle distance / 200 km per ms (light in glass runs at two thirds of c);
planning = 2 x theory, since no fibre runs straight, + 1 ms up to 150 km or + 2 ms beyond for
equipment. The results agree with the planning columns of the public table of China's data-centre
hubs.
"""

from collections.abc import Mapping
from math import asin, cos, radians, sin, sqrt
from typing import Any

_EARTH_KM = 6371.0
_KM_PER_MS = 200.0
_NEAR_KM = 150.0
_NEAR_MS, _FAR_MS = 1.0, 2.0


def great_circle_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance between two places (degrees north, degrees east) on a sphere, by haversine; km."""
    north_a, east_a, north_b, east_b = map(radians, (*a, *b))
    half = sin((north_b - north_a) / 2) ** 2
    half += cos(north_a) * cos(north_b) * sin((east_b - east_a) / 2) ** 2
    return 2 * _EARTH_KM * asin(sqrt(half))


def modelled_milliseconds(km: float) -> float:
    """The modelled round trip over a distance, ms."""
    equipment = _NEAR_MS if km <= _NEAR_KM else _FAR_MS
    return round(2 * (2 * km / _KM_PER_MS) + equipment, 1)


def round_trips(sites: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, float]:
    """Modelled round trips from one site to every other site, ms.

    Args:
        sites: Site objects by name.
        name: the site to measure from.
    """
    here = _coordinates(sites[name])
    return {
        other: modelled_milliseconds(great_circle_km(here, _coordinates(site)))
        for other, site in sites.items()
        if other != name
    }


def _coordinates(site: Mapping[str, Any]) -> tuple[float, float]:
    location = site["spec"]["location"]
    return location["latitude"], location["longitude"]
