"""The machine that the agent runs on: cpu, memory, and its power where the kernel tells it.

Power: an ACPI power meter (hwmon `power1_average`, microwatts) sees the whole machine and counts as
measured; RAPL (`intel-rapl:N/energy_uj`) sees the processor packages only, so it is an estimate.
RAPL's counters wrap at `max_energy_range_uj` and are readable by root alone on most kernels;
virtual machines have none. Without either, power is unknown, which is not 0.
"""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.protocol.report import Host, Power
from agents.runtime.clock import Clock
from agents.sensors.sensor import Look

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "loongarch64": "loong64",
    "armv7l": "arm",
}
_MICRO: Final = 1e6
_KIB: Final = 1024


@dataclass(slots=True)
class HostSensor:
    """Looks at /proc and /sys.

    Attributes:
        clock: for power from energy counters.
        version: of the agent, told along.
        root: where /proc and /sys are; tests have their own.
    """

    clock: Clock
    version: str | None = None
    root: Path = Path("/")
    name: str = "host"
    _last: "tuple[float, dict[str, int]] | None" = field(default=None, init=False)

    async def look(self) -> Look:
        """Looks once; what cannot be read is left out."""
        return Look(host=self._host(), power=self._power())

    def _host(self) -> Host:
        machine = platform.machine()
        memory = _table(self.root / "proc/meminfo")
        own = _table(self.root / "proc/self/status")
        processors = os.cpu_count()
        load = _first_number(self.root / "proc/loadavg")
        return Host(
            hostname=platform.node()[:253] or None,
            architecture=_ARCHITECTURES.get(machine, machine) or None,
            processors=processors,
            load_ratio=None if load is None or not processors else load / processors,
            memory_bytes=memory.get("MemTotal"),
            memory_available_bytes=memory.get("MemAvailable"),
            agent_rss_bytes=own.get("VmRSS"),
            agent_version=self.version,
        )

    def _power(self) -> Power | None:
        meters = (self.root / "sys/class/hwmon").glob("hwmon*/power1_average")
        watts = [value / _MICRO for meter in meters if (value := _first_number(meter)) is not None]
        if watts:
            return Power(watts=sum(watts), origin="measured")
        return self._package_power()

    def _package_power(self) -> Power | None:
        """Energy since the last look over the time since then."""
        now, counters = self.clock.monotonic(), self._packages()
        last, self._last = self._last, (now, counters)
        if last is None or not counters or counters.keys() != last[1].keys() or now <= last[0]:
            return None
        microjoules = sum(
            self._grown(name, last[1][name], value) for name, value in counters.items()
        )
        return Power(watts=microjoules / _MICRO / (now - last[0]), origin="estimated")

    def _packages(self) -> dict[str, int]:
        found = {}
        for folder in (self.root / "sys/class/powercap").glob("intel-rapl:*"):
            energy = _first_number(folder / "energy_uj")
            # intel-rapl:0:1 is part of intel-rapl:0, and psys contains all packages.
            if energy is not None and folder.name.count(":") == 1 and not _is_psys(folder):
                found[folder.name] = int(energy)
        return found

    def _grown(self, name: str, before: int, now: int) -> float:
        if now >= before:
            return now - before
        span = _first_number(self.root / "sys/class/powercap" / name / "max_energy_range_uj")
        return now - before + (span or before)


def resident_bytes(root: Path = Path("/")) -> int | None:
    """This process's resident memory."""
    return _table(root / "proc/self/status").get("VmRSS")


def _is_psys(folder: Path) -> bool:
    try:
        return (folder / "name").read_text().strip() == "psys"
    except OSError:
        return False


def _table(path: Path) -> dict[str, int]:
    """`Name:  123 kB` lines, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    rows = (line.partition(":")[::2] for line in lines)
    found = {}
    for name, rest in rows:
        words = rest.split()
        if len(words) == 2 and words[0].isdigit() and words[1] == "kB":  # noqa: PLR2004 - number, unit
            found[name] = int(words[0]) * _KIB
    return found


def _first_number(path: Path) -> float | None:
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
