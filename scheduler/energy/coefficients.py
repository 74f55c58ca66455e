"""Watts per hardware thread by microarchitecture, and where each figure comes from.

SPECpower_ssj2008 as Cloud Carbon Footprint derives it: watts of a whole server per thread at 0 and
100 % load. What one more busy core draws is the difference of the two. No figure is published for
Kunpeng, Phytium, Hygon and Loongson: they get the documented default, marked `assumed`, until the
site measures a curve of its own, which always comes first.
"""

from scheduler.model.kinds.fields import Origin, Part

SPECPOWER = "SPECpower_ssj2008, Cloud Carbon Footprint coefficients dda7621"


class CorePower(Part, frozen=True, kw_only=True):
    """The power of one hardware thread, in watts before PUE.

    Attributes:
        idle_watts: the server's share at no load.
        busy_watts: at full load.
        origin: how the figures were obtained.
        source: who published them.
    """

    idle_watts: float
    busy_watts: float
    origin: Origin
    source: str

    @property
    def marginal_watts(self) -> float:
        """What one more busy thread draws on a server that runs anyway."""
        return self.busy_watts - self.idle_watts


_MEASURED: dict[str, tuple[float, float]] = {
    "sandy-bridge": (2.17, 8.58),
    "ivy-bridge": (3.04, 8.25),
    "haswell": (1.90, 6.01),
    "broadwell": (0.71, 3.69),
    "skylake": (0.64, 4.19),
    "cascade-lake": (0.64, 3.97),
    "coffee-lake": (1.14, 5.42),
    "epyc-1": (0.82, 2.55),
    "epyc-2": (0.47, 1.69),
    "epyc-3": (0.45, 2.02),
}
DEFAULT_CORE_POWER = CorePower(
    idle_watts=0.64, busy_watts=3.97, origin="assumed", source=f"as cascade-lake; {SPECPOWER}"
)
"""A core whose make is not known, or for which no figure is published."""


def core_power_of(microarchitecture: str) -> CorePower:
    """The power of a core; the default, marked `assumed`, where none is published.

    Args:
        microarchitecture: a key of the table, such as `cascade-lake`, or any other word.
    """
    found = _MEASURED.get(microarchitecture.strip().lower().replace(" ", "-"))
    if found is None:
        return DEFAULT_CORE_POWER
    return CorePower(idle_watts=found[0], busy_watts=found[1], origin="modelled", source=SPECPOWER)


def listed_microarchitectures() -> tuple[str, ...]:
    """The microarchitectures with figures, in order of their names."""
    return tuple(sorted(_MEASURED))
