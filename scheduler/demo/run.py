"""One demo from start to end: start, wait until settled, audit, report, follow actions."""

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
from scheduler.demo.rules_audit import find_silent_violations
from scheduler.demo.view import DemoView
from scheduler.runtime.clock import Clock

_POLL_SECONDS = 0.3
_STABLE_SECONDS = 1.5
"""The state must stay the same for this time before it counts as settled."""


class ResultCallback(Protocol):
    """Receives the result of a demo."""

    def __call__(self, value: dict[str, Any], *, is_good: bool) -> None:
        """Receives the result; called once.

        Args:
            value: the result in its JSON form.
            is_good: whether all workloads settled and no rule was violated.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of a demo.

    Attributes:
        folder: its folder.
        size: a size of configs/demo.yaml, such as small or city.
        exit_when_settled: whether it ends by itself.
        timeout_seconds: time after which it stops waiting until everything has settled.
        export_to: folder for the export; None: no export.
        is_kept: whether its folder stays, to be resumed.
    """

    folder: Path
    size: str
    exit_when_settled: bool
    timeout_seconds: float
    export_to: Path | None
    is_kept: bool


class Demo:
    """Runs one demo.

    Args:
        options: options of the demo.
        view: shows progress and state.
        clock: measures time-outs and pauses.
        on_result: receives the result, when the demo has settled or at the time-out.
    """

    def __init__(
        self, *, options: DemoOptions, view: DemoView, clock: Clock, on_result: ResultCallback
    ) -> None:
        self._options, self._view, self._clock, self._on_result = options, view, clock, on_result
        self._started = clock.monotonic()
        self._actions = DemoActions()

    async def run(self) -> None:
        """Runs until settled with `exit_when_settled`, else until cancelled.

        Raises:
            ChildError: a process did not start.
            HubError: the hub refuses a sample.
            OSError: the export cannot be written.
        """
        folder = DemoFolder(self._options.folder.absolute())
        async with running_environment(
            folder=folder, size=self._options.size, clock=self._clock, say=self._view.say
        ) as environment:
            observer = StatusObserver(environment.hub, folder.hub)
            await self._wait_for_sites(observer)
            self._view.say(f"applying {len(environment.samples.workloads)} workloads")
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
        """The settled state; at the time-out, the last state."""
        last, stable_since = None, self._clock.monotonic()
        while True:
            status = await self._observe(observer)
            now = self._clock.monotonic()
            if status is not None:
                key = [(w.name, w.phase, w.sites) for w in status.workloads]
                if key != last:
                    last, stable_since = key, now
                complete = status.is_settled and len(status.workloads) >= workload_count
                if complete and now - stable_since >= _STABLE_SECONDS:
                    return status
                if self._elapsed_seconds > self._options.timeout_seconds:
                    return status
            await self._clock.sleep(_POLL_SECONDS)

    async def _observe(self, observer: StatusObserver) -> DemoStatus | None:
        """Reads and shows the state; None while the hub is unavailable (it may be restarting)."""
        try:
            status = await observer.observe(self._clock.now())
        except HubError as error:
            self._view.say(f"the hub is not available: {error}")
            return None
        self._view.show(status)
        return status

    async def _conclude(
        self, environment: DemoEnvironment, observer: StatusObserver, status: DemoStatus
    ) -> None:
        """Audits, exports, reports the result, and suggests commands to the user."""
        seconds = self._elapsed_seconds
        hub = await list_objects(environment.hub, HUB_KINDS)
        members = await list_member_objects(environment.folder, environment.samples.clusters)
        now = self._clock.now()
        violations = find_violations(AuditEvidence(hub=hub, members=members, now=now))
        violations += find_silent_violations(hub, now)
        for sentence in violations:
            self._view.say(f"rule violated: {sentence}")
        if self._options.export_to is not None:
            await write_export(self._options.export_to, environment.folder, hub, members)
            self._view.say(f"exported to {self._options.export_to}")
            status = await self._observe(observer) or status
        is_good = status.are_workloads_settled and not violations
        word = "settled" if status.is_settled else "not settled"
        self._view.say(
            f"{word} after {seconds:.1f} s; rules violated: {len(violations)};"
            f" memory of all processes: {environment.processes.memory_bytes() / 2**20:.0f} MiB"
        )
        self._on_result(status.as_json(violations=violations, seconds=seconds), is_good=is_good)
        if not self._options.exit_when_settled:
            for line in suggested_commands(environment.folder, status):
                self._view.say(line)

    async def _follow_actions(self, environment: DemoEnvironment, observer: StatusObserver) -> None:
        """Shows the state and carries out the actions of `kapok demo poke`, until cancelled."""
        while True:
            self._apply_actions(environment, read_actions(environment.folder.actions_file))
            await self._observe(observer)
            await self._clock.sleep(_POLL_SECONDS)

    def _apply_actions(self, environment: DemoEnvironment, actions: DemoActions) -> None:
        """Carries out the difference to the actions that were in force before."""
        before, self._actions = self._actions, actions
        for site in actions.silent_sites ^ before.silent_sites:
            if site in environment.samples.clusters:
                environment.set_silent(site, is_silent=site in actions.silent_sites)
                self._view.say(
                    f"{'stopping' if site in actions.silent_sites else 'starting'} the agent of"
                    f" {site}"
                )
        now, then = dict(actions.grid_intensities), dict(before.grid_intensities)
        for zone in {z for z in now | then if now.get(z) != then.get(z)}:
            value = f"{now[zone]:g} gCO2e per kWh" if zone in now else "the usual value"
            self._view.say(f"setting the carbon intensity of grid {zone} to {value}")
            environment.set_grid_intensity(zone, now.get(zone))


def kapok_command() -> str:
    """How to call this `kapok` in a shell: by name if PATH finds this one, else by its path."""
    beside = Path(sys.executable).with_name("kapok")
    found = shutil.which("kapok")
    if found is not None and Path(found).resolve() == beside.resolve():
        return "kapok"
    try:
        return shlex.quote(str(beside.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(beside))


def suggested_commands(folder: DemoFolder, status: DemoStatus) -> list[str]:
    """Lines with commands to try, which work when pasted into a shell."""
    kapok = kapok_command()
    placed = next((w for w in status.workloads if w.sites), None)
    refused = next((w for w in status.workloads if w.phase == "Refused"), None)
    site = placed.sites[0].name if placed else status.sites[0].name
    where, home = shlex.quote(str(folder.kubeconfig)), shlex.quote(str(folder.hub))
    environment = f"KUBECONFIG={where} KAPOK_DATA_HOME={home}"
    lines = [
        "try these commands in another terminal:",
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
        "Ctrl-C here stops everything.",
    ]


async def run_demo(
    options: DemoOptions, *, view: DemoView, clock: Clock, on_result: ResultCallback
) -> None:
    """Runs a demo, and deletes its folder at the end unless it is to be kept."""
    try:
        with view:
            await Demo(options=options, view=view, clock=clock, on_result=on_result).run()
    finally:
        if not options.is_kept:
            await asyncio.to_thread(shutil.rmtree, options.folder, ignore_errors=True)
