"""The power that one more replica draws.

Decisions use marginal power: placing a replica elsewhere does not save the power that the equipment
draws anyway. The watts per core, gibibyte and card are terms of the decision (`Terms`), equal for
all sites, because no public figures exist for the processors used at the edge; their origin is
`assumed`.
"""

from collections.abc import Mapping

from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.site import Power
from scheduler.model.quantities import CPU, GPU, MEMORY, MILLI_PER_UNIT
from scheduler.model.units import WATTS_PER_KILOWATT

_BYTES_PER_GIBIBYTE = 2**30


def marginal_watts(requests: Mapping[str, int], gpu_shares: float, terms: Terms) -> float:
    """The power of a replica's requests at full use, before PUE.

    Args:
        requests: millicores for cpu, bytes for memory, whole cards for nvidia.com/gpu.
        gpu_shares: the sum of its shares of shared cards, in cards.
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
    """The energy of one hour at constant power, in kWh."""
    return watts / WATTS_PER_KILOWATT


def pv_surplus_watts(power: Power | None, pue: float | None) -> float | None:
    """The solar power that a site generates beyond what it draws itself; None: unknown.

    Args:
        power: the reported power; the surplus is known only if it is measured.
        pue: total power over IT power.
    """
    if power is None or power.watts is None or power.pv_watts is None or pue is None:
        return None
    return power.pv_watts - power.watts * pue if power.origin == "measured" else None
