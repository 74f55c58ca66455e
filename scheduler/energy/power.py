"""What one more replica draws.

Decisions use marginal power: what is switched on anyway is not saved by going elsewhere. The watts
per core, gibibyte and card are terms of the decision (`Terms`), the same for every site, because no
public figures exist for the processors that edge rooms use; their origin is `assumed`.
"""

from collections.abc import Mapping

from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.site import Power
from scheduler.model.quantities import CPU, GPU, MILLI_PER_UNIT
from scheduler.model.units import WATTS_PER_KILOWATT

MEMORY = "memory"
_BYTES_PER_GIBIBYTE = 2**30


def marginal_watts(requests: Mapping[str, int], gpu_shares: float, terms: Terms) -> float:
    """The power of what a replica asks, at full use, without the building.

    Args:
        requests: millicores for cpu, bytes for memory, whole cards for nvidia.com/gpu.
        gpu_shares: shared cards in all, in cards.
        terms: watts per core, gibibyte and card.
    """
    cores = requests.get(CPU, 0) / MILLI_PER_UNIT
    gibibytes = requests.get(MEMORY, 0) / _BYTES_PER_GIBIBYTE
    cards = requests.get(GPU, 0) + gpu_shares
    return (
        cores * terms.watts_per_core
        + gibibytes * terms.watts_per_gibibyte
        + cards * terms.watts_per_gpu
    )


def kilowatt_hours_per_hour(watts: float) -> float:
    """Energy of one hour at constant power, before PUE."""
    return watts / WATTS_PER_KILOWATT


def pv_surplus_watts(power: Power | None, pue: float | None) -> float | None:
    """What a site's own solar roof makes beyond what its building draws; None: unknown.

    Args:
        power: what it reported; only what is measured can be given away.
        pue: total power over IT power.
    """
    if power is None or power.watts is None or power.pv_watts is None or pue is None:
        return None
    return power.pv_watts - power.watts * pue if power.origin == "measured" else None
