"""What each tenant's placed replicas draw at a site, by the model of power."""

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.control.state.objects import HubObjects
from scheduler.control.state.usage import SiteUsage
from scheduler.energy.accounts.attribution import SITE_ITSELF
from scheduler.energy.accounts.figures import hardware_of
from scheduler.energy.placement_power import Hardware, marginal_watts_per_core
from scheduler.model.quantities import CPU, GPU, MEMORY, MILLI_PER_UNIT

_BYTES_PER_GIBIBYTE = 2**30
_HALF_LOAD = 0.5
"""Requests are not load: that half of what is requested is used is assumed. Where the meter says
less than the model, the meter counts."""


@dataclass(slots=True, kw_only=True)
class TenantWatts:
    """Sums the model's watts by tenant.

    Attributes:
        objects: knows the tenant of a namespace.
        usage: what placed replicas request.
    """

    objects: HubObjects
    usage: SiteUsage

    def at(self, site: str) -> Mapping[str, float]:
        """Watts at the equipment by tenant; replicas of no tenant belong to the site itself."""
        known = self.objects.sites.get(site)
        hardware = hardware_of(known.spec.energy) if known else Hardware()
        found: dict[str, float] = {}
        for (namespace, _), amounts in self.usage.by_workload.get(site, {}).items():
            tenant = self.objects.tenant_of(namespace)
            name = tenant.metadata.name if tenant else SITE_ITSELF
            found[name] = found.get(name, 0.0) + modelled_watts(amounts, hardware)
        return found


def modelled_watts(amounts: Mapping[str, int], hardware: Hardware) -> float:
    """What requests draw at the equipment, by the model.

    Args:
        amounts: millicores for cpu, bytes for memory, whole cards for nvidia.com/gpu.
        hardware: the machines.
    """
    cores = amounts.get(CPU, 0) / MILLI_PER_UNIT
    gibibytes = amounts.get(MEMORY, 0) / _BYTES_PER_GIBIBYTE
    cards = amounts.get(GPU, 0)
    return (
        cores * marginal_watts_per_core(hardware) * _HALF_LOAD
        + gibibytes * hardware.watts_per_gibibyte
        + cards * hardware.watts_per_card * _HALF_LOAD
    )
