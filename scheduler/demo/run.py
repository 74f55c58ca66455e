"""One demo from start to end."""

import asyncio
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scheduler.control.ports.hub import HubError
from scheduler.demo.actions import DemoActions, read_actions
from scheduler.demo.audit import AuditEvidence, find_violations
from scheduler.demo.demo_status import DemoStatus, StatusObserver
from scheduler.demo.environment import DemoEnvironment, running_environment
from scheduler.demo.export import HUB_KINDS, list_member_objects, list_objects, write_export
from scheduler.demo.folder import DemoFolder
from scheduler.demo.view import DemoView
from scheduler.runtime.clock import Clock

_POLL_SECONDS = 0.3
_STABLE_SECONDS = 1.5
"""A picture that stays the same for so long has settled."""


class ResultCallback(Protocol):
    """Takes the answer of a demo."""

    def __call__(self, value: dict[str, Any], *, is_good: bool) -> None:
        """Called once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the demo is asked.

    Attributes:
        folder: where it lives.
        size: small or city.
        exit_when_settled: ends by itself.
        timeout_seconds: to settle.
        export_to: a folder for everything as files.
        is_kept: the folder stays; then it can be resumed.
    """

    folder: Path
    size: str
    exit_when_settled: bool
    timeout_seconds: float
    export_to: Path | None
    is_kept: bool


class Demo:
    """Runs a wish.

    Args:
        wish: what is asked.
        view: shows it.
        clock: for waiting.
        answer: gets the JSON value once, when settled or given up; good means that every workload
            runs, is done or says why not, and that no rule is broken.
    """

    def __init__(
        self, options: DemoOptions, view: DemoView, clock: Clock, on_result: ResultCallback
    ) -> None:
        self._options, self._view, self._clock, self._on_result = options, view, clock, on_result
        self._started = clock.monotonic()
        self._actions = DemoActions()

    async def run(self) -> None:
        """Runs until settled, or until cancelled.

        Raises:
            ChildError: a process did not come up.
            HubError: the hub refuses a sample.
            OSError: the export cannot be written.
        """
        folder = DemoFolder(self._options.folder.absolute())
        async with running_environment(
            folder, self._options.size, self._clock, self._view.say
        ) as environment:
            observer = StatusObserver(environment.hub, folder.hub)
            await self._wait_for_sites(observer)
            self._view.say(f"handing in {len(environment.samples.workloads)} workloads")
            await environment.apply(environment.samples.workloads)
            status = await self._wait_until_settled(observer, len(environment.samples.workloads))
            await self._conclude(environment, observer, status)
            if not self._options.exit_when_settled:
                await self._follow_actions(environment, observer)

    @property
    def _elapsed_seconds(self) -> float:
        return self._clock.monotonic() - self._started

    async def _wait_for_sites(self, observer: StatusObserver) -> None:
        while self._elapsed_seconds < self._options.timeout_seconds:
            status = await self._observe(observer)
            if status and status.sites and status.reporting_count == len(status.sites):
                return
            await self._clock.sleep(_POLL_SECONDS)

    async def _wait_until_settled(
        self, observer: StatusObserver, workload_count: int
    ) -> DemoStatus:
        """The first picture that stays; at the time-out, the last one."""
        last, calm_since = None, self._clock.monotonic()
        while True:
            status = await self._observe(observer)
            now = self._clock.monotonic()
            if status is not None:
                key = [(w.name, w.phase, w.sites) for w in status.workloads]
                if key != last:
                    last, calm_since = key, now
                complete = status.is_settled and len(status.workloads) >= workload_count
                if complete and now - calm_since >= _STABLE_SECONDS:
                    return status
                if self._elapsed_seconds > self._options.timeout_seconds:
                    return status
            await self._clock.sleep(_POLL_SECONDS)

    async def _observe(self, observer: StatusObserver) -> DemoStatus | None:
        """The picture now; None while the hub does not answer (it may be starting again)."""
        try:
            status = await observer.observe(self._clock.now())
        except HubError as error:
            self._view.say(f"the hub does not answer: {error}")
            return None
        self._view.show(status)
        return status

    async def _conclude(
        self, environment: DemoEnvironment, observer: StatusObserver, status: DemoStatus
    ) -> None:
        """Looks for broken rules, exports, answers, and tells people what to try."""
        seconds = self._elapsed_seconds
        hub = await list_objects(environment.hub, HUB_KINDS)
        members = await list_member_objects(environment.folder, environment.samples.clusters)
        broken = find_violations(AuditEvidence(hub, members, self._clock.now()))
        for sentence in broken:
            self._view.say(f"broken rule: {sentence}")
        if self._options.export_to is not None:
            await write_export(self._options.export_to, environment.folder, hub, members)
            self._view.say(f"exported to {self._options.export_to}")
            status = await self._observe(observer) or status
        is_good = status.are_workloads_settled and not broken
        word = "settled" if status.is_settled else "not settled"
        self._view.say(
            f"{word} after {seconds:.1f} s; {len(broken)} broken rules;"
            f" {environment.processes.memory_bytes() / 2**20:.0f} MiB in all processes"
        )
        self._on_result(status.as_json(violations=broken, seconds=seconds), is_good=is_good)
        if not self._options.exit_when_settled:
            for line in suggested_commands(environment.folder, status):
                self._view.say(line)

    async def _follow_actions(self, environment: DemoEnvironment, observer: StatusObserver) -> None:
        """Shows what happens, and does what `kapok demo poke` asks, until cancelled."""
        while True:
            self._apply_actions(environment, read_actions(environment.folder.actions_file))
            await self._observe(observer)
            await self._clock.sleep(_POLL_SECONDS)

    def _apply_actions(self, environment: DemoEnvironment, actions: DemoActions) -> None:
        before, self._actions = self._actions, actions
        for site in actions.silent_sites ^ before.silent_sites:
            if site in environment.samples.clusters:
                environment.set_silent(site, is_silent=site in actions.silent_sites)
                self._view.say(
                    f"{site} {'falls silent' if site in actions.silent_sites else 'is back'}"
                )
        now, then = dict(actions.grid_intensities), dict(before.grid_intensities)
        for zone in {z for z in now | then if now.get(z) != then.get(z)}:
            self._view.say(f"the grid of {zone} has {now.get(zone, 'its usual')} gCO2e per kWh")
            environment.set_grid_intensity(zone, now.get(zone))


def kapok_command() -> str:
    """How `kapok` is typed here: by name when it is on PATH, else by its path."""
    beside = Path(sys.executable).with_name("kapok")
    found = shutil.which("kapok")
    if found is not None and Path(found).resolve() == beside.resolve():
        return "kapok"
    try:
        return shlex.quote(str(beside.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(beside))


def suggested_commands(folder: DemoFolder, status: DemoStatus) -> list[str]:
    """Commands that work when pasted, each with what it shows."""
    kapok = kapok_command()
    placed = next((w for w in status.workloads if w.sites), None)
    refused = next((w for w in status.workloads if w.phase == "Refused"), None)
    site = placed.sites[0].name if placed else status.sites[0].name
    where, home = shlex.quote(str(folder.kubeconfig)), shlex.quote(str(folder.hub))
    environment = f"KUBECONFIG={where} KAPOK_DATA_HOME={home}"
    lines = [
        "now, in another terminal:",
        f"  export {environment}",
        f"  {kapok} kubectl get sites",
        f"  {kapok} kubectl get kw -A",
        f"  {kapok} kubectl --context {site} get pods -A",
    ]
    if placed:
        lines.append(f"  {kapok} explain {placed.namespace}/{placed.name}")
        lines.append(f"  {kapok} replay {placed.decision}")
    if refused:
        lines.append(f"  {kapok} kubectl describe kw -n {refused.namespace} {refused.name}")
    return [
        *lines,
        f"  {kapok} ledger verify",
        f"  {kapok} demo poke silence {site}",
        f"  {kapok} demo poke return {site}",
        "Ctrl-C ends everything.",
    ]


async def run_demo(
    options: DemoOptions, view: DemoView, clock: Clock, on_result: ResultCallback
) -> None:
    """Runs a demo, and takes its folder away when it is not to be kept."""
    try:
        with view:
            await Demo(options, view, clock, on_result).run()
    finally:
        if not options.is_kept:
            await asyncio.to_thread(shutil.rmtree, options.folder, ignore_errors=True)
