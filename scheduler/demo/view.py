"""Shows a demo to its user, on stderr: lines, or live tables on a terminal."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from scheduler.demo.demo_status import DemoSiteStatus, DemoStatus, DemoWorkloadStatus
from scheduler.model.figures import format_readiness
from scheduler.runtime.clock import Clock
from scheduler.runtime.printable import printable

_PHASE_COLOURS = {
    "Running": "green",
    "Completed": "green",
    "Waiting": "yellow",
    "Refused": "magenta",
    "Degraded": "red",
}
_LINE_CHARACTERS = 70


class DemoView(Protocol):
    """Shows a demo. A context manager: it stops redrawing the terminal at the end."""

    def __enter__(self) -> Self:
        """Starts showing."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops showing."""
        ...

    def say(self, line: str) -> None:
        """Shows a line about something that happened."""
        ...

    def show(self, status: DemoStatus) -> None:
        """Shows the current state."""
        ...


def view_for_stderr(clock: Clock) -> DemoView:
    """Live tables if stderr is a terminal, else lines."""
    return LiveTableView(clock) if sys.stderr.isatty() else LineView(clock, sys.stderr.write)


class LineView:
    """Shows one line per change.

    Args:
        clock: measures the seconds since the start, which begin each line.
        write: receives the text, with its newline.
    """

    def __init__(self, clock: Clock, write: Callable[[str], object]) -> None:
        self._clock, self._write = clock, write
        self._started = clock.monotonic()
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Does nothing: lines stay."""

    def say(self, line: str) -> None:
        """Writes one line."""
        self._write(f"{self._clock.monotonic() - self._started:6.1f} s  {printable(line)}\n")

    def show(self, status: DemoStatus) -> None:
        """Writes the summary, if it differs from the last one."""
        line = format_summary(status)
        if line != self._last:
            self._last = line
            self.say(line)


class LiveTableView:
    """Shows two tables that are redrawn in place; lines scroll above them.

    Args:
        clock: measures the seconds since the start, which begin each line.
    """

    def __init__(self, clock: Clock) -> None:
        from rich.console import Console  # noqa: PLC0415 - only for a terminal
        from rich.live import Live as RichLive  # noqa: PLC0415 - see above

        self._console = Console(stderr=True)
        self._live = RichLive(console=self._console, refresh_per_second=4, transient=False)
        self._lines = LineView(
            clock, lambda text: self._console.print(text.rstrip(), highlight=False, markup=False)
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Writes one line above the tables."""
        self._lines.say(line)

    def show(self, status: DemoStatus) -> None:
        """Redraws the tables."""
        self._live.update(build_tables(status))


def format_summary(status: DemoStatus) -> str:
    """One line: sites, phases, power and carbon."""
    phases = ", ".join(f"{count} {phase}" for phase, count in status.phases.items())
    line = (
        f"{status.reporting_count}/{len(status.sites)} sites report; {phases or 'no workload yet'}"
    )
    totals = status.totals
    if not totals.sites_of_known_power:
        return line
    return f"{line}; {totals.power_text}, {totals.carbon_text}"


def build_tables(status: DemoStatus) -> Any:  # noqa: ANN401 - a renderable of rich
    """The tables of sites and workloads, and the summary."""
    from rich.console import Group  # noqa: PLC0415 - only for a terminal
    from rich.table import Table  # noqa: PLC0415 - see above

    sites = Table("SITE", "REPORTS", "FREE CPU", "gCO2/kWh", "kW", box=None, pad_edge=False)
    for site in status.sites:
        sites.add_row(*_site_row(site))
    workloads = Table("WORKLOAD", "PHASE", "WHERE, OR WHY NOT", box=None, pad_edge=False)
    for workload in status.workloads:
        workloads.add_row(*_workload_row(workload))
    return Group(sites, "", workloads, "", format_summary(status))


def _site_row(site: DemoSiteStatus) -> tuple[str, ...]:
    age = "" if site.report_age_seconds is None else f" {site.report_age_seconds:.0f} s"
    reports = f"[green]yes[/]{age}" if site.is_reporting else f"[red]silent[/]{age}"
    watts, intensity = site.figures.watts, site.figures.gco2_per_kwh
    return (
        _cell(site.name),
        reports,
        site.figures.free_cpu or "unknown",
        "unknown" if intensity is None else f"{intensity:.0f}",
        "unknown" if watts is None else f"{watts / 1000:.1f}",
    )


def _workload_row(workload: DemoWorkloadStatus) -> tuple[str, ...]:
    colour = _PHASE_COLOURS.get(workload.phase, "white")
    where = ", ".join(f"{s.name} {format_readiness(s.ready, s.replicas)}" for s in workload.sites)
    return (
        _cell(f"{workload.namespace}/{workload.name}"),
        f"[{colour}]{workload.phase}[/]",
        _cell((where or workload.line)[:_LINE_CHARACTERS]),
    )


def _cell(text: str) -> str:
    """Text of the hub as a cell: no markup, no hidden character."""
    from rich.markup import escape  # noqa: PLC0415 - only for a terminal

    return escape(printable(text))
