"""The machine that the agent runs on: load, memory, disk, pressure, temperature and power.

An ACPI power meter (hwmon `power1_average`, microwatts) covers the whole machine, so its power is
measured. RAPL (`intel-rapl:N/energy_uj`) covers the processor packages only, so power from it is
estimated. RAPL's counters wrap at `max_energy_range_uj`, and on most kernels only root may read
them; virtual machines have none. Without either, power is unknown, which is not 0.
"""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.protocol.report import ReportedHost, ReportedPower
from agents.runtime.clock import AgentClock
from agents.sensors.sensor import Observation

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "loongarch64": "loong64",
    "armv7l": "arm",
}
_MICRO: Final = 1e6
_MILLI: Final = 1e3
_KIB: Final = 1024
_MAX_THERMOMETERS: Final = 256
_COLDEST, _HOTTEST = -60, 150


@dataclass(slots=True)
class HostSensor:
    """Reads /proc and /sys.

    Attributes:
        clock: monotonic time, to turn energy counters into power.
        version: version of the agent, for the report.
        root: folder that holds `proc` and `sys`; tests have their own.
        disk: a folder on the file system whose size is reported.
        name: slug of the sensor.
    """

    clock: AgentClock
    version: str | None = None
    root: Path = Path("/")
    disk: Path = Path("/")
    name: str = "host"
    _last_counters: "tuple[float, dict[str, int]] | None" = field(default=None, init=False)

    async def observe(self) -> Observation:
        """Observes the machine; leaves out what cannot be read."""
        return Observation(host=self._read_host(), power=self._read_power())

    def _read_host(self) -> ReportedHost:
        machine = platform.machine()
        memory = _read_table(self.root / "proc/meminfo")
        own = _read_table(self.root / "proc/self/status")
        processors = os.cpu_count()
        load = _read_first_number(self.root / "proc/loadavg")
        return ReportedHost(
            hostname=platform.node()[:253] or None,
            architecture=_ARCHITECTURES.get(machine, machine) or None,
            processors=processors,
            load_ratio=None if load is None or not processors else load / processors,
            memory_bytes=memory.get("MemTotal"),
            memory_available_bytes=memory.get("MemAvailable"),
            agent_rss_bytes=own.get("VmRSS"),
            agent_version=self.version,
            cpu_pressure_ratio=self._read_pressure("cpu"),
            memory_pressure_ratio=self._read_pressure("memory"),
            io_pressure_ratio=self._read_pressure("io"),
            temperature_celsius=self._read_temperature(),
            **_read_disk(self.disk),
        )

    def _read_pressure(self, resource: str) -> float | None:
        """Share of the last minute in which some task waited for it (PSI, `some avg60`)."""
        try:
            words = (self.root / "proc/pressure" / resource).read_text().split()
            percent = next(word for word in words if word.startswith("avg60="))
            return min(max(float(percent[6:]) / 100, 0.0), 1.0)
        except (OSError, ValueError, StopIteration):
            return None

    def _read_temperature(self) -> float | None:
        """The hottest of all sensors; zones that report what no machine survives are left out."""
        folder = self.root / "sys/class"
        files = [
            *folder.glob("thermal/thermal_zone*/temp"),
            *folder.glob("hwmon/hwmon*/temp*_input"),
        ]
        values = (_read_first_number(path) for path in files[:_MAX_THERMOMETERS])
        celsius = [round(value / _MILLI) for value in values if value is not None]
        return max((each for each in celsius if _COLDEST <= each <= _HOTTEST), default=None)

    def _read_power(self) -> ReportedPower | None:
        meters = (self.root / "sys/class/hwmon").glob("hwmon*/power1_average")
        watts = [
            value / _MICRO for meter in meters if (value := _read_first_number(meter)) is not None
        ]
        if watts:
            return ReportedPower(watts=sum(watts), origin="measured")
        return self._read_package_power()

    def _read_package_power(self) -> ReportedPower | None:
        """Energy since the last observation over the time since then."""
        now, counters = self.clock.monotonic(), self._read_package_counters()
        last, self._last_counters = self._last_counters, (now, counters)
        if last is None or not counters or counters.keys() != last[1].keys() or now <= last[0]:
            return None
        microjoules = sum(
            self._counter_increase(name, last[1][name], value) for name, value in counters.items()
        )
        return ReportedPower(watts=microjoules / _MICRO / (now - last[0]), origin="estimated")

    def _read_package_counters(self) -> dict[str, int]:
        found = {}
        for folder in (self.root / "sys/class/powercap").glob("intel-rapl:*"):
            energy = _read_first_number(folder / "energy_uj")
            # To count nothing twice: intel-rapl:0:1 is part of intel-rapl:0, psys is their sum.
            if energy is not None and folder.name.count(":") == 1 and not _is_psys(folder):
                found[folder.name] = int(energy)
        return found

    def _counter_increase(self, name: str, before: int, after: int) -> float:
        if after >= before:
            return after - before
        span = _read_first_number(self.root / "sys/class/powercap" / name / "max_energy_range_uj")
        # The counter has wrapped. With an unknown range count from 0, which is never too much.
        return after - before + (span or before)


def resident_bytes(root: Path = Path("/")) -> int | None:
    """Resident memory of this process; None if unknown."""
    return _read_table(root / "proc/self/status").get("VmRSS")


def _read_disk(folder: Path) -> dict[str, int]:
    """Size of a file system, and what of it this process may still write."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return {}
    size = found.f_frsize
    return {"disk_bytes": found.f_blocks * size, "disk_available_bytes": found.f_bavail * size}


def _is_psys(folder: Path) -> bool:
    try:
        return (folder / "name").read_text().strip() == "psys"
    except OSError:
        return False


def _read_table(path: Path) -> dict[str, int]:
    """Reads lines such as `MemTotal:  123 kB`; returns the values in bytes."""
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


def _read_first_number(path: Path) -> float | None:
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
